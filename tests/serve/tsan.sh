#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tsan.sh SOURCE BUILD [PIECE...]: the server under ThreadSanitizer, built in BUILD (a folder of its own; "san" in
# its name gives the scripts more time).  Pieces: build, units, a unit test's or a script's name; none: all of them.
# Ends with "N passed, N failed"; a report of a race fails what it came in.
top=$(cd "$1" && pwd) build=$2
shift 2
units="test_bytes test_http1 test_http1_table test_json test_json_number test_json_tensor test_batcher test_sched
    test_registry test_sandbox test_build test_client test_scarce test_durable"
scripts="rest registry client log smuggling slow limits restart swap leak canary large coded streams systemd overload"
mkdir -p "$build" && cd "$build" || exit 1
build=$(pwd)
export CAB_SLACK="${CAB_SLACK:-10}"
export srcdir="$top" TSAN_OPTIONS="suppressions=$top/tests/serve/tsan.supp:exitcode=99:second_deadlock_stack=1:${TSAN_OPTIONS:-}"
passed=0 failed=0

compile() {
    [ -f Makefile ] ||
        "$top/configure" -q --enable-werror CFLAGS='-O1 -g -fsanitize=thread -Wno-maybe-uninitialized' LDFLAGS=-fsanitize=thread || exit 1
    # What is generated first: "make all" would build the compiler's programs, too.
    { make -s serve-built &&
        make -s -j"$(nproc)" cab cab-serve cab-client cab-build tests/serve/carry $(printf 'tests/%s ' $units); } >build.log 2>&1 ||
        { grep -E 'error|undefined' build.log | head; exit 1; }
}

# piece NAME COMMAND...: fails when the command does, or ThreadSanitizer reported (wherever: exit statuses of
# servers are looked at, their reports land in files).
piece() {
    name=$1; shift
    rm -f "tsan-$name".*
    if TSAN_OPTIONS="$TSAN_OPTIONS:log_path=$build/tsan-$name" "$@" >"$name.log" 2>&1 </dev/null &&
        [ -z "$(ls "tsan-$name".* 2>/dev/null)" ]; then
        passed=$((passed + 1))
        echo "$name: $(tail -1 "$name.log")"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        grep FAILED "$name.log" | head
        cat "tsan-$name".* 2>/dev/null | head -60
    fi
}

script() {          # script NAME: in its short form
    case $1 in
    slow) more=300 ;;
    limits) more=short ;;
    restart) more=4 ;;
    swap) more=6 ;;
    leak) more="20 2000" ;;
    large) more=4 ;;
    *) more= ;;
    esac
    piece "$1" timeout -k 5 170 python3 "$top/tests/serve/$1.py" "$build" $more
}

for p in ${*:-build units $scripts}; do
    case $p in
    build) compile ;;
    units) for u in $units; do piece "$u" timeout -k 5 170 "tests/$u"; done ;;
    test_*) piece "$p" timeout -k 5 170 "tests/$p" ;;
    *) script "$p" ;;
    esac
done
echo "tsan.sh: $passed passed, $failed failed"
[ "$failed" = 0 ]
