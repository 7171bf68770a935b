#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-custom.sh: custom operators from a shared library and functions from a file, through the
# commands.  Run by make check in the build folder.
. "$srcdir/tests/check-kit.sh"
lib=$tmp/swirl.so m=$tmp/swirl.onnx
ok "write the models" ./tests/test_custom --write "$tmp"
ok "build the library" ${CC:-cc} -std=c11 -shared -fPIC -I"$srcdir" -o "$lib" "$srcdir/tests/swirl.c"
for mode in "" --naive; do
    mkdir -p "$tmp/jit$mode" "$tmp/rt$mode"
    ok "run $mode" ./cab run "$m" --custom "$lib" --dim N=3 --output-dir "$tmp/jit$mode" $mode
    ok "compile $mode" ./cab compile "$m" --custom "$lib" -o "$tmp/m.cab" $mode
    says 77 "needs the custom operator acme::Swirl" ./cab-rt "$tmp/m.cab"
    says 1 "an input is missing" ./cab-rt "$tmp/m.cab" --custom "$lib"
done
ok "both ways agree" cmp "$tmp/jit/output_1.pb" "$tmp/jit--naive/output_1.pb"
ok "check" ./cab check "$m" --custom "$lib"
says 0 "acme::Swirl, node swirl" ./cab inspect "$tmp/m.cab" --custom "$lib"
ok "bench" ./cab bench "$m" --custom "$lib" --dim N=3 --runs 5 --layers
says 77 "register it as a custom operator" ./cab check "$m"
says 2 "./none.so" ./cab check "$m" --custom none.so
says 2 "No such file" ./cab check "$m" --functions "$tmp/none.onnx"
ok "functions" ./cab run "$tmp/twice.onnx" --functions "$tmp/functions.onnx"
ok "functions, check" ./cab check "$tmp/twice.onnx" --functions "$tmp/functions.onnx"
says 77 "operator 'Twice' of domain 'acme' is not known" ./cab run "$tmp/twice.onnx"
exit $bad
