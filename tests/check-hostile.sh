#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-hostile.sh BUILD SHARED CACHE [N]: hand-made hostile files and N seeded mutations of three
# real models (default 300 in all), one after another through one `cab run --lines`.
#   CAB_HOSTILE_RSS=0   no limit of memory (sanitizer builds)
build=$1 shared=$2 cache=$3 n=${4:-300}
tests=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make_models() {
    python3 "$shared/conformance/hostile_models.py" "$@" ||
        { echo "the hostile files could not be made: 0 passed, 1 failed"; exit 1; }
}

make_models "$tmp/made"
set -- digits_cnn magika silero_vad
seed=1
for m in "$@"; do
    make_models "$tmp/$m" --mutate "$cache/corpus/$m/model.onnx" --count $((n / 3)) --seed $seed
    ln -s "$cache/corpus/$m/test_data_set_0" "$tmp/$m/feeds"
    seed=$((seed + 1))
done
python3 "$tests/hostile.py" "$build/cab" "$tmp"
