#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-samples.sh BUILD: the programs of samples/ that host authors copy from do what their comments
# say, and refuse bad calls in words.  (check-sample.sh is about samples/digits in every mode.)
build=$1
top=$(cd "$(dirname "$0")/.." && pwd)
s=$top/samples
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
is() {          # is NAME COMMAND...: the command succeeds
    name=$1; shift
    if "$@" >"$tmp/log" 2>&1; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "FAILED: $name"; tail -5 "$tmp/log"; fi
}
says() { is "$1" grep -q "$2" "$tmp/out"; }     # says NAME PATTERN: the last `run` or `refused` printed it
run() {         # run NAME COMMAND...: the command succeeds; what it prints is kept
    is "$@"
    cp "$tmp/log" "$tmp/out"
}
refused() {     # refused NAME COMMAND...: exit status 1 or 2 and words, no signal, no sanitizer
    name=$1; shift
    "$@" >"$tmp/log" 2>&1; got=$?
    cp "$tmp/log" "$tmp/out"
    if [ $got -ge 1 ] && [ $got -le 2 ] && [ -s "$tmp/log" ] && ! grep -qE 'Sanitizer|runtime error' "$tmp/log"
    then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "FAILED: $name: exit $got"; tail -5 "$tmp/log"; fi
}
cab=$tmp/digits.cab
is "compile" "$build/cab" compile "$s/digits/digits.onnx" -o "$cab"
head -c 5000 "$cab" >"$tmp/cut.cab"
head -c 5000 "$s/digits/digits.onnx" >"$tmp/cut.onnx"

run "hello" "$build/samples/hello/hello" "$cab"
says "hello reads a one" '^1: [01]\.[5-9]\|^1: 1'
refused "hello: no file" "$build/samples/hello/hello" "$tmp/none.cab"
refused "hello: cut file" "$build/samples/hello/hello" "$tmp/cut.cab"
refused "hello: usage" "$build/samples/hello/hello"
sed -n '/^#include/,$p' "$s/hello/hello.c" >"$tmp/hello.code"
is "hello: 20 lines" [ "$(grep -c . "$tmp/hello.code")" -le 20 ]
sed -n '/^#include <cab_rt.h>/,/^```/p' "$top/README.md" | sed '/^```/d' >"$tmp/readme.code"
is "hello: as in README.md" cmp "$tmp/hello.code" "$tmp/readme.code"

run "explained" "$build/samples/hello/explained" "$cab" 3
says "explained: shape" 'output .probability.: dtype 1 \[N, 10\]'
says "explained: estimate" '^needs [0-9]* bytes inside and 120 for results'
refused "explained: cut file" "$build/samples/hello/explained" "$tmp/cut.cab"
refused "explained: batch" "$build/samples/hello/explained" "$cab" 0
is "custom model" "$build/samples/custom_op/custom_op" "$s/custom_op/rownorm.onnx" "$tmp/rownorm.cab"
refused "explained: operator missing" "$build/samples/hello/explained" "$tmp/rownorm.cab"

cache=$tmp/cache
run "jit" "$build/samples/jit/jit" "$s/digits/digits.onnx" "$cache"
says "jit: all batch sizes" 'batch 16: result of 640 bytes'
says "jit: fixed size" 'fixed to 4'
ls "$cache" >"$tmp/before"
is "jit: four artifacts in the cache" [ "$(find "$cache" -name '*.cab' | wc -l)" = 4 ]
is "jit: again" "$build/samples/jit/jit" "$s/digits/digits.onnx" "$cache"
ls "$cache" >"$tmp/after"
is "jit: again from the cache" cmp "$tmp/before" "$tmp/after"
refused "jit: cut model" "$build/samples/jit/jit" "$tmp/cut.onnx" "$cache"
says "jit: report" '^error: invalid model'

run "threads" "$build/samples/threads/threads" "$cab"
says "threads: alike" 'thread 1: 50 of 50'
says "threads: callback" 'called back, the same bytes'
refused "threads: cut file" "$build/samples/threads/threads" "$tmp/cut.cab"

run "custom_op" "$build/samples/custom_op/custom_op" "$s/custom_op/rownorm.onnx" "$tmp/own.cab"
says "custom_op: compiled" 'compiled here: row 0 has length 5'
says "custom_op: from the file" 'from the file: row 0 has length 5'
says "custom_op: refused by name" 'without the kernel: .*RowNorm'
refused "custom_op: other folder" "$build/samples/custom_op/custom_op" "$s/custom_op/rownorm.onnx" "$tmp/none/x.cab"

if [ -x "$build/samples/cpp/hello" ]; then
    run "C++" "$build/samples/cpp/hello" "$cab"
    says "C++: reads a one" 'image 0: 1 '
    says "C++: results that grow" '^batch 2: 20 numbers'
    says "C++: exception" '^refused, code 9: '
    refused "C++: cut file" "$build/samples/cpp/hello" "$tmp/cut.cab"
fi

if [ -x "$build/samples/classify/classify" ]; then
    c=$build/samples/classify/classify
    run "classify" "$c" "$cab" "$s/classify/digits.txt" "$s/classify/seven.jpg" --std 0.0625
    is "classify: reads a seven" [ "$(head -1 "$tmp/out" | sed 's/.* //')" = seven ]
    head -c 420 "$s/classify/seven.jpg" >"$tmp/cut.jpg"
    head -c 100 "$s/classify/seven.jpg" >"$tmp/head.jpg"
    is "classify: a damaged end is a picture" "$c" "$cab" "$s/classify/digits.txt" "$tmp/cut.jpg"
    refused "classify: half a header" "$c" "$cab" "$s/classify/digits.txt" "$tmp/head.jpg"
    refused "classify: no picture" "$c" "$cab" "$s/classify/digits.txt" "$s/classify/digits.txt"
    refused "classify: no labels" "$c" "$cab" "$tmp/none.txt" "$s/classify/seven.jpg"
    refused "classify: std 0" "$c" "$cab" "$s/classify/digits.txt" "$s/classify/seven.jpg" --std 0
    refused "classify: two means" "$c" "$cab" "$s/classify/digits.txt" "$s/classify/seven.jpg" --mean 1,2
    refused "classify: other model" "$c" "$tmp/own.cab" "$s/classify/digits.txt" "$s/classify/seven.jpg"
fi
echo "samples: $passed passed, $failed failed"
[ $failed = 0 ]
