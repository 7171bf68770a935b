#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-clients.sh BUILD: the server through tritonclient, KServe's clients and curl, then schemathesis over its
# OpenAPI document; "N passed, N failed".  The clients come from PyPI into ${XDG_CACHE_HOME:-~/.cache}/cabochon.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$1
env=${XDG_CACHE_HOME:-$HOME/.cache}/cabochon/serve-clients
want="tritonclient 2.73.0, kserve 0.21.0, schemathesis 4.32.5"
if [ "$(cat "$env/installed" 2>/dev/null)" != "$want" ]; then
    { python3 -m venv "$env" &&
      "$env/bin/pip" install -q 'tritonclient[all]==2.73.0' 'schemathesis==4.32.5' &&
      "$env/bin/pip" install -q 'kserve==0.21.0' &&
      printf '%s' "$want" >"$env/installed"; } >&2 || { echo "check-clients: 0 passed, 1 failed"; exit 1; }
fi
passed=0
failed=0
for test in clients.py openapi.py; do
    out=$("$env/bin/python" "$here/$test" "$build" 2>&1)
    printf '%s\n' "$out"
    p=$(printf '%s\n' "$out" | sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1/p' | tail -1)
    f=$(printf '%s\n' "$out" | sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\2/p' | tail -1)
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-1}))
done
echo "check-clients: $passed passed, $failed failed"
[ "$failed" = 0 ]
