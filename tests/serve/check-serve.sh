#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-serve.sh BUILD [short]: the server by its sockets, signals and files; "short" for sanitizer builds.
# Each script says "N passed, N failed"; the last line is their sum.
here=$(cd "$(dirname "$0")" && pwd)
build=$1
passed=0
failed=0
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:exitcode=99" TSAN_OPTIONS="${TSAN_OPTIONS:-}:exitcode=99"

# run SECONDS SCRIPT ARGUMENTS...
run() {
    seconds=$1; script=$2; shift 2
    out=$(timeout -k 5 "$seconds" python3 "$here/$script" "$build" "$@" 2>&1 </dev/null)
    status=$?
    printf '%s\n' "$out" | tail -30
    p=$(printf '%s\n' "$out" | sed -n 's/.*: \([0-9][0-9]*\) passed, [0-9][0-9]* failed$/\1/p' | tail -1)
    f=$(printf '%s\n' "$out" | sed -n 's/.* passed, \([0-9][0-9]*\) failed$/\1/p' | tail -1)
    if [ -z "$p" ] || { [ "$status" != 0 ] && [ "$f" = 0 ]; }; then
        echo "FAILED: $script (status $status)"
        f=$((${f:-0} + 1))
    fi
    passed=$((passed + ${p:-0}))
    failed=$((failed + f))
}

if [ "$2" = short ]; then
    run 120 rest.py
    run 120 smuggling.py
    run 120 slow.py 300
    run 150 limits.py short
    run 150 restart.py 4
    run 120 swap.py 6
    run 120 leak.py 20 2000
    run 120 canary.py
    run 120 large.py 4
else
    run 120 rest.py
    run 120 smuggling.py
    run 120 slow.py
    run 150 limits.py
    run 150 restart.py
    run 120 swap.py
    run 120 leak.py
    run 120 canary.py
    run 120 large.py
fi
echo "the server: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
