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
echo "node tests under sanitizers: $(tail -1 "$tmp/log")"
