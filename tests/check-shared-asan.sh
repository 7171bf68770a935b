#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-shared-asan.sh BUILD SHARED CACHE: every fifth node test and the small model under
# AddressSanitizer and UndefinedBehaviorSanitizer: no finding, so no crash and no error.
build=$1 shared=$2 cache=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python=$cache/corpus/.venv/bin/python
mkdir "$tmp/suite"
n=0
for t in "$cache"/suite-1.23.2/node/*/; do
    n=$((n + 1))
    [ $((n % 5)) = 0 ] && ln -s "$t" "$tmp/suite/"
done
"$python" "$shared/conformance/run_node_tests.py" "$tmp/suite" --server --cmd "$build/cab run --lines" \
    -j2 --timeout 120 --list-failures >"$tmp/log" 2>&1
grep -E '^(mismatch|crash|timeout|error) ' "$tmp/log" | head -20
"$python" "$(dirname "$0")/late_sizes.py" "$build" --rounds 4 --no-c >"$tmp/late" 2>&1 || tail -5 "$tmp/late"
count() { sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\'"$2"'/p' "$1" | tail -1; }
f=$(count "$tmp/log" 2) g=$(count "$tmp/late" 2) p=$(count "$tmp/log" 1) q=$(count "$tmp/late" 1)
echo "node tests and late sizes under sanitizers: $((${p:-0} + ${q:-0})) passed, $((${f:-1} + ${g:-1})) failed"
