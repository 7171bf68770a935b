#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-serve.sh BUILD [short]: the server by its sockets, signals and files; "short" for sanitizer builds.
# Each script says "N passed, N failed"; the last line is their sum.
here=$(cd "$(dirname "$0")" && pwd)
build=$1
passed=0
failed=0
# Beside other work: kit.py.
export CAB_SLACK="${CAB_SLACK:-5}"
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:exitcode=99" TSAN_OPTIONS="${TSAN_OPTIONS:-}:exitcode=99"

# run SECONDS SCRIPT.py ARGUMENTS...; script: one of the shell
run() { count python3 "$@"; }
script() { count sh "$@"; }
count() {
    with=$1; seconds=$2; script=$3; shift 3
    out=$(timeout -k 5 "$seconds" "$with" "$here/$script" "$build" "$@" 2>&1 </dev/null)
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
    run 120 registry.py
    run 120 smuggling.py
    run 120 slow.py 300
    run 150 limits.py short
    run 120 flags.py
    run 60 log.py
    run 150 coded.py
    run 150 streams.py
    run 150 restart.py 4
    run 120 systemd.py
    run 120 swap.py 6
    run 120 leak.py 20 2000
    run 120 canary.py
    run 120 large.py 4
else
    run 120 rest.py
    run 120 registry.py
    run 60 doc.py
    run 120 client.py
    run 120 smuggling.py
    run 120 slow.py
    run 150 limits.py
    run 60 flags.py
    run 60 log.py
    run 120 coded.py
    run 120 streams.py
    run 150 restart.py
    run 120 systemd.py
    run 120 swap.py
    run 120 leak.py
    run 120 canary.py
    run 120 large.py
    run 120 overload.py
    run 120 kill-registry.py 30
    script 300 check-clients.sh
    script 60 ../../samples/serve/run.sh
fi
echo "the server: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
