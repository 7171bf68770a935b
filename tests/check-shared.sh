#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-shared.sh BUILD SHARED CACHE: official node tests with the ratchet, and real models.
build=$1 shared=$2 cache=$3
tests=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
add() {         # add NAME LOG STATUS
    p=$(sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1/p' "$2" | tail -1)
    f=$(sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\2/p' "$2" | tail -1)
    passed=$((passed + ${p:-0})); failed=$((failed + ${f:-1}))
    if [ "$3" != 0 ] && [ "${f:-1}" = 0 ]; then failed=$((failed + 1)); fi
    echo "$1: $(tail -1 "$2")"
    [ "$3" = 0 ] || grep -E '^(mismatch|crash|timeout|error|failed|FAILED|REGRESSION)' "$2" | head -20
}

mkdir -p "$cache"
corpus=$cache/corpus
python=$corpus/.venv/bin/python
if ! "$python" "$shared/models/fetch.py" --out "$corpus" >"$tmp/fetch" 2>&1 &&
   ! python3 "$shared/models/fetch.py" --out "$corpus" >"$tmp/fetch" 2>&1; then
    tail -5 "$tmp/fetch"
    echo "the corpus could not be made: 0 passed, 1 failed"
    exit 1
fi
suite=$cache/suite-1.23.2
if [ ! -f "$suite/.done" ]; then
    venv=$cache/venv-onnx1232
    { [ -x "$venv/bin/python" ] || python3 -m venv "$venv"; } &&
    "$venv/bin/pip" install -q onnx==1.23.2 numpy==2.4.6 &&
    "$venv/bin/python" "$shared/conformance/gen_node_tests.py" "$suite" --kinds node >"$tmp/gen" 2>&1 &&
    touch "$suite/.done"
fi

node() {        # node NAME FLAGS MIN: nothing may be wrong; what does not pass says unsupported
    "$python" "$shared/conformance/run_node_tests.py" "$suite/node" --server --cmd "$build/cab run --lines $2" \
        -j2 --timeout 60 --list-failures --min-pass "$3" --expect "$tests/ratchet-$1.txt" --json "$tmp/$1.json" >"$tmp/$1.log" 2>&1
    add "node tests, $1" "$tmp/$1.log" $?
}
node optimised "" 450
"$python" "$tests/misses.py" "$tmp/optimised.json" >"$tmp/misses"
if diff "$tests/../docs/conformance-misses.txt" "$tmp/misses" >"$tmp/stale"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1)); echo "docs/conformance-misses.txt is stale (docs/conformance.md):"; head -5 "$tmp/stale"
fi
node naive "--naive" 450

# The same without value_info and without the extents of outputs: not one test less passes.
if "$python" "$tests/strip_shapes.py" "$suite/node" "$tmp/stripped" >"$tmp/strip.log" 2>&1; then
    "$python" "$shared/conformance/run_node_tests.py" "$tmp/stripped" --server --cmd "$build/cab run --lines" \
        -j2 --timeout 60 --list-failures --min-pass 450 --expect "$tests/ratchet-optimised.txt" >"$tmp/s.log" 2>&1
    add "node tests, declared shapes stripped" "$tmp/s.log" $?
else
    failed=$((failed + 1)); tail -3 "$tmp/strip.log"
fi
rm -rf "$tmp/stripped"

# Every 12th node test through an artifact and through C text; what `cab run` passes must pass (C text: but for
# sizes that data decides, c-text-misses.txt).
mkdir "$tmp/some"
i=0
for t in "$suite"/node/*/; do
    i=$((i + 1))
    [ $((i % 12)) = 0 ] && ln -s "$t" "$tmp/some/"
done
ls "$tmp/some" | grep -Fxf "$tests/ratchet-optimised.txt" >"$tmp/some.txt"
grep -Fvxf "$tests/c-text-misses.txt" "$tmp/some.txt" >"$tmp/some-c.txt"
some() {        # some NAME COMMAND EXPECTED
    "$python" "$shared/conformance/run_node_tests.py" "$tmp/some" --server --cmd "$2" \
        -j2 --timeout 120 --list-failures --min-pass 100 --expect "$3" >"$tmp/c.log" 2>&1
    add "node tests, $1" "$tmp/c.log" $?
}
some artifact "python3 $tests/artifact_run.py $build" "$tmp/some.txt"
some "C text" "python3 $tests/emit_c_run.py $build" "$tmp/some-c.txt"

# Sizes that only the run knows: the artifact is compiled without input values.
mkdir "$tmp/late"
for t in "$suite"/node/*/; do
    n=$(basename "$t")
    echo "$n" | grep -qE '^test_(reshape|slice|.*pad_|constant_pad|tile|expand|range|resize|top_k|onehot|constantofshape|split|nonzero|compress|unique|nonmaxsupp|center_crop|tri[lu]|hann|hamming|blackman|upsample|maxunpool|if|loop|scan[0-9_]|sequence|optional|identity_(opt|seq))' &&
        grep -qFx "$n" "$tests/ratchet-optimised.txt" && ln -s "$t" "$tmp/late/"
done
ls "$tmp/late" >"$tmp/some.txt"
"$python" "$shared/conformance/run_node_tests.py" "$tmp/late" --server --cmd "python3 $tests/artifact_run.py $build --no-values" \
    -j2 --timeout 120 --list-failures --min-pass 225 --expect "$tmp/some.txt" >"$tmp/c.log" 2>&1
add "node tests, sizes of the run" "$tmp/c.log" $?
"$python" "$tests/late_sizes.py" "$build" >"$tmp/late.log" 2>&1
add "sizes of the run, random data" "$tmp/late.log" $?

models() {      # models NAME COMMAND MIN
    "$python" "$shared/models/check.py" "$corpus" --only digits_cnn,minilm_l3,resnet50 --cmd "$2" \
        --min-pass 4 >"$tmp/models" 2>&1
    add "models, $1" "$tmp/models" $?
}
run="$build/cab run {model} {inputs} --output-dir {outdir}"
models "JIT, 1 thread" "$run --threads 1"
models "JIT, 2 threads" "$run --threads 2"
models "naive" "$run --naive --threads 2"
rt="sh $tests/compile-and-run.sh $build {model} {outdir} {inputs}"
models "artifact" "$rt"
models "artifact, three levels" "env CAB_COMPILE_FLAGS=--target=x86-64-v2,x86-64-v3,x86-64-v4 $rt"
models "artifact, x86-64-v2" "env CAB_COMPILE_FLAGS=--target=x86-64-v2 $rt"

"$python" "$tests/bad_calls.py" "$build" >"$tmp/bad" 2>&1
add "wrong models and wrong calls" "$tmp/bad" $?
sh "$tests/check-hostile.sh" "$build" "$shared" "$cache" 300 >"$tmp/hostile" 2>&1
add "hostile models and mutations" "$tmp/hostile" $?
python3 "$shared/conformance/hostile_models.py" "$tmp/hostile-models" &&
    python3 "$tests/serve/hostile-build.py" "$build/cab-build" "$tmp/hostile-models" >"$tmp/hostile-build" 2>&1
add "hostile models through the compile child" "$tmp/hostile-build" $?
rm -rf "$tmp/hostile-models"
"$python" "$tests/seq_models.py" "$build" >"$tmp/seq" 2>&1
add "sequences and optionals" "$tmp/seq" $?
"$python" "$tests/flow_models.py" "$build" >"$tmp/flow" 2>&1
add "If, Loop and Scan beside onnxruntime" "$tmp/flow" $?
"$python" "$tests/windows.py" "$build" >"$tmp/windows" 2>&1
add "windows of convolutions" "$tmp/windows" $?
"$python" "$tests/winograd.py" "$build" >"$tmp/wino" 2>&1
add "convolutions by tiles" "$tmp/wino" $?
"$python" "$tests/tables.py" "$build" >"$tmp/tables" 2>&1
add "one-hot products and tables beside onnxruntime" "$tmp/tables" $?
"$python" "$tests/turned.py" "$build" >"$tmp/turned" 2>&1
add "transposed convolutions" "$tmp/turned" $?
"$python" "$tests/ms_ops.py" "$build" >"$tmp/ms" 2>&1
add "contrib operators beside onnxruntime" "$tmp/ms" $?
sh "$tests/check-models.sh" "$build" "$corpus" >"$tmp/same" 2>&1
add "same bytes, other lengths" "$tmp/same" $?
sh "$tests/check-corpus.sh" "$build" "$shared" "$corpus" quick >"$tmp/corpus" 2>&1
add "every model of the corpus" "$tmp/corpus" $?
echo "shared: $passed passed, $failed failed"
[ $failed = 0 ]
