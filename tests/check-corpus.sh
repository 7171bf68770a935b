#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-corpus.sh BUILD SHARED CORPUS [quick]: every model of the corpus against its reference outputs,
# optimised and naive, and greedy decoding of a language model; artifacts beside cab run.
# quick: optimised, first data set; artifacts of the models that compile fast.
build=$1 shared=$2 corpus=$3 quick=${4:-}
tests=$(cd "$(dirname "$0")" && pwd)
python=$corpus/.venv/bin/python
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
add() {         # add NAME LOG
    p=$(sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1/p' "$2" | tail -1)
    f=$(sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\2/p' "$2" | tail -1)
    passed=$((passed + ${p:-0})); failed=$((failed + ${f:-1}))
    [ -n "$quick" ] || grep -E '^(passed|failed|skipped) ' "$2"
    echo "$1: $(tail -1 "$2")"
    grep '^failed' "$2"
}
run="$build/cab run {model} {inputs} --output-dir {outdir} --threads 2"
"$python" "$shared/models/check.py" "$corpus" ${quick:+--sets 0} --min-pass 23 --cmd "$run" >"$tmp/opt" 2>&1
add "corpus, optimised" "$tmp/opt"
if [ -z "$quick" ]; then
    "$python" "$shared/models/check.py" "$corpus" --cmd "$run --naive" --timeout 900 >"$tmp/naive" 2>&1
    add "corpus, naive" "$tmp/naive"
fi
"$python" "$tests/smollm2_greedy.py" "$build" "$corpus" >"$tmp/greedy" 2>&1
add "greedy decoding" "$tmp/greedy"
"$python" "$tests/carried_state.py" "$build" "$corpus" >"$tmp/state" 2>&1
add "carried state" "$tmp/state"
some=
[ -z "$quick" ] || some="basic_pitch densenet121 digits_cnn_int8 gru_tagger magika minilm_l3_dynint8 ppocr_det recsys
    shufflenet silero_vad silero_vad_ifless squeezenet unet"
sh "$tests/check-artifact.sh" "$build" "$corpus" $some >"$tmp/artifact" 2>&1
[ -n "$quick" ] || grep '^same' "$tmp/artifact"
grep '^FAILED' "$tmp/artifact"
add "artifacts" "$tmp/artifact"
echo "corpus: $passed passed, $failed failed"
[ $failed = 0 ]
