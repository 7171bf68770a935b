#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-models.sh BUILD CORPUS: JIT and artifact, 1 and 2 threads give the same bytes; so do a target of
# an artifact for several and that target's own artifact, as far as this machine runs them; minilm_l3 at
# other lengths and batches agrees with onnxruntime; no allocation once a shape was seen.
build=$1 corpus=$2
tests=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
is() {
    name=$1; shift
    if "$@" >"$tmp/log" 2>&1; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "FAILED: $name"; tail -5 "$tmp/log"; fi
}
inputs() { for f in "$1"/input_*.pb; do printf ' --input %s' "$f"; done; }
same() {        # same DIR DIR: all outputs equal
    [ -f "$1/output_0.pb" ] || return 1
    for f in "$1"/output_*.pb; do cmp "$f" "$2/$(basename "$f")" || return 1; done
}
for m in digits_cnn minilm_l3 resnet50; do
    model=$corpus/$m/model.onnx
    is "$m: compile" "$build/cab" compile "$model" -o "$tmp/$m.cab"
    for set in "$corpus/$m"/test_data_set_*; do
        a=$tmp/$m-$(basename "$set"); mkdir -p "$a-1" "$a-2" "$a-rt"
        in=$(inputs "$set")
        is "$m: 1 thread" "$build/cab" run "$model" $in --threads 1 --output-dir "$a-1"
        is "$m: 2 threads" "$build/cab" run "$model" $in --threads 2 --output-dir "$a-2"
        is "$m: cab-rt" "$build/cab-rt" "$tmp/$m.cab" $in --threads 2 --output-dir "$a-rt"
        is "$m: bytes of 1 = 2 threads" same "$a-1" "$a-2"
        is "$m: bytes of JIT = artifact" same "$a-1" "$a-rt"
    done
done
for m in digits_cnn minilm_l3; do
    model=$corpus/$m/model.onnx in=$(inputs "$corpus/$m/test_data_set_0") n=0
    is "$m: three levels" "$build/cab" compile "$model" --target x86-64-v2,x86-64-v3,x86-64-v4 -o "$tmp/all.cab"
    for t in v4 v3 v2; do
        is "$m: without the better levels" python3 "$tests/lower_level.py" "$tmp/all.cab" $n "$tmp/level.cab"
        n=$((n + 1))
        is "$m: $t" "$build/cab" compile "$model" --target x86-64-$t -o "$tmp/own.cab"
        "$build/cab" inspect "$tmp/own.cab" | grep -q '^loads on this' || continue
        mkdir -p "$tmp/$m-$t" "$tmp/$m-$t-own"
        is "$m: $t of three" "$build/cab-rt" "$tmp/level.cab" $in --verify=full --output-dir "$tmp/$m-$t"
        is "$m: $t alone" "$build/cab-rt" "$tmp/own.cab" $in --verify=full --output-dir "$tmp/$m-$t-own"
        is "$m: bytes of $t" same "$tmp/$m-$t" "$tmp/$m-$t-own"
    done
done
"$corpus/.venv/bin/python" "$tests/minilm_lengths.py" "$build/cab-rt" "$tmp/minilm_l3.cab" \
    "$corpus/minilm_l3/model.onnx" >"$tmp/lengths" 2>&1
is "minilm_l3 at other lengths" grep -q ' 0 failed' "$tmp/lengths"
cat "$tmp/lengths"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
