#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz-long.sh SOURCE BUILD SECONDS: builds with clang, libFuzzer and sanitizers, then runs every
# target that long.  Ends with "N passed, N failed"; inputs with findings stay in BUILD.
# CAB_FUZZ_TARGETS picks some.  CAB_CLANG names the compiler (default clang-22, else clang).  Kernels carry no mark of their type,
# which -fsanitize=function would look for.
top=$1 build=$2 seconds=$3
clang=${CAB_CLANG:-$(command -v clang-22 || command -v clang)}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cabochon
[ -n "$clang" ] || { echo "no clang: apt-get install clang-22 libclang-rt-22-dev"; exit 1; }
mkdir -p "$build" && cd "$build" || exit 1
[ -f Makefile ] ||
    "$top/configure" -q --enable-sanitizers CC="$clang" CFLAGS='-O1 -g -fsanitize=fuzzer-no-link -fno-sanitize=function' || exit 1
targets=${CAB_FUZZ_TARGETS:-onnx cir rules artifact graphs http1 json infer config h2 registry grpc}
{ make -s -j"$(nproc)" && make -s -j"$(nproc)" $(printf 'tests/fuzz/fuzz_%s.lib ' $targets); } >build.log 2>&1 ||
    { grep -E 'error|undefined' build.log | head; exit 1; }

# seeds DIR PREFIX FILES...: a corpus to start from
seeds() {
    mkdir -p "$1"
    n=0
    to=$1; shift
    for f in "$@"; do [ -f "$f" ] && n=$((n + 1)) && cp "$f" "$to/seed$n"; done
}
seeds corpus-onnx "$top"/samples/digits/digits.onnx "$cache"/suite-1.23.2/node/*[05]*/model.onnx
seeds corpus-cir "$top"/tests/ir/*.cir "$top"/tests/lower/*.cir "$top"/tests/passes/*.cir
seeds corpus-rules "$top"/passes/*.rules
seeds corpus-artifact
seeds corpus-graphs
mkdir -p rows-http1 && python3 "$top/tests/serve/http1_table.py" rows-http1
seeds corpus-http1 rows-http1/row*
seeds corpus-json "$top"/tests/fuzz/json/*.json
seeds corpus-infer "$top"/tests/fuzz/infer/*
seeds corpus-config "$top"/tests/fuzz/config/*
seeds corpus-h2 "$top"/tests/fuzz/h2/*
seeds corpus-registry
seeds corpus-grpc "$top"/tests/fuzz/grpc/*
passed=0 failed=0
for t in $targets; do
    if "tests/fuzz/fuzz_$t.lib" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 \
        -max_len=65536 -artifact_prefix="finding-$t-" "corpus-$t" >"$t.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        grep -E '^(finding|==|SUMMARY|SCARINESS)|runtime error' "$t.log" | head
    fi
    echo "$t: $(tail -1 "$t.log")"
done
echo "fuzz-long: $passed passed, $failed failed"
[ $failed = 0 ]
