#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-models.sh BUILD CORPUS: JIT and artifact, 1 and 2 threads give the same bytes; minilm_l3 at
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
"$corpus/.venv/bin/python" "$tests/minilm_lengths.py" "$build/cab-rt" "$tmp/minilm_l3.cab" \
    "$corpus/minilm_l3/model.onnx" >"$tmp/lengths" 2>&1
is "minilm_l3 at other lengths" grep -q ' 0 failed' "$tmp/lengths"
cat "$tmp/lengths"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
