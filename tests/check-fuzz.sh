#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-fuzz.sh BUILD CACHE [SECONDS] [SEED]: every fuzz target for some seconds (default 5) by the
# seeded loop.  Inputs with findings stay in BUILD/findings.
build=$(cd "$1" && pwd) cache=$2 seconds=${3:-5} seed=${4:-1}
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$build/findings" && cd "$build/findings" || exit 1
passed=0 failed=0
fuzz() {        # fuzz TARGET SEED-FILES...
    target=$1; shift
    if "$build/tests/fuzz/$target" -t "$seconds" -s "$seed" "$@" >"$target.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        grep -v '^    #' "$target.log" | head -30
    fi
    tail -1 "$target.log"
}
fuzz fuzz_onnx "$top"/samples/digits/digits.onnx "$cache"/suite-1.23.2/node/*[05]*/model.onnx
fuzz fuzz_cir "$top"/tests/ir/*.cir "$top"/tests/lower/*.cir "$top"/tests/passes/*.cir
fuzz fuzz_rules "$top"/passes/*.rules
fuzz fuzz_artifact
fuzz fuzz_graphs
mkdir -p http1 && python3 "$top/tests/serve/http1_table.py" http1
fuzz fuzz_http1 http1/row*
fuzz fuzz_json "$top"/tests/fuzz/json/*.json
fuzz fuzz_infer "$top"/tests/fuzz/infer/*
fuzz fuzz_config "$top"/tests/fuzz/config/*
fuzz fuzz_h2 "$top"/tests/fuzz/h2/*
fuzz fuzz_registry
fuzz fuzz_grpc "$top"/tests/fuzz/grpc/*
echo "fuzz targets: $passed passed, $failed failed"
[ $failed = 0 ]
