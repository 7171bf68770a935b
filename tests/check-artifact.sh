#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-artifact.sh BUILD CORPUS [MODEL]...: cab run and cab compile + cab-rt write the same bytes, with
# 1 and 2 threads, for the first data set of these models (all of them when none is named).
build=$1 corpus=$2
shift 2
[ $# -gt 0 ] || set -- $(cd "$corpus" && ls -d */meta.json | xargs -n1 dirname)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
inputs() { for f in "$1"/input_*.pb; do [ -f "$f" ] && printf ' --input %s' "$f"; done; }
same() {        # same DIR DIR: the same outputs, equal
    [ "$(ls "$1")" = "$(ls "$2")" ] && [ -f "$1/output_0.pb" ] || return 1
    for f in "$1"/*; do cmp -s "$f" "$2/$(basename "$f")" || return 1; done
}
now() { date +%s%N; }
timed() {       # timed COMMAND...: leaves milliseconds in $ms
    t=$(now)
    "$@" >>"$tmp/log" 2>&1
    rc=$?
    ms=$(( ($(now) - t) / 1000000 ))
    return $rc
}
one() {         # one MODEL: a row
    model=$corpus/$1/model.onnx set=$corpus/$1/test_data_set_0 out=$tmp/$1
    in=$(inputs "$set")
    mkdir -p "$out/j1" "$out/j2" "$out/r1" "$out/r2"
    timed "$build/cab" compile "$model" $in -o "$out/m.cab" || { why="compile"; return 1; }
    row="compile $ms ms"
    for n in 1 2; do
        timed "$build/cab" run "$model" $in --threads $n --output-dir "$out/j$n" || { why="run $n"; return 1; }
        row="$row, run $ms ms"
        timed "$build/cab-rt" "$out/m.cab" $in --threads $n --output-dir "$out/r$n" --verify=full ||
            { why="cab-rt $n"; return 1; }
        row="$row, cab-rt $ms ms"
    done
    why="bytes"
    same "$out/j1" "$out/r1" && same "$out/j1" "$out/j2" && same "$out/j1" "$out/r2"
}
for m in "$@"; do
    : >"$tmp/log"
    row=
    if one "$m"; then
        passed=$((passed + 1)); echo "same $m: $row, $(ls "$out/j1" | wc -l) outputs, $(stat -c %s "$out/m.cab") bytes"
    else
        failed=$((failed + 1)); echo "FAILED: $m: $why"; tail -3 "$tmp/log"
    fi
    rm -rf "$out"
done
echo "JIT and artifact write the same bytes: $passed passed, $failed failed"
[ $failed = 0 ]
