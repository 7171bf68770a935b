#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The binary interface of libcabrt only grows: every line of tests/abi.expected still holds; what is
# new is to be added to it (CAB_BLESS=1).  Run in the build directory.
expected=$srcdir/tests/abi.expected
now=$(mktemp)
trap 'rm -f "$now"' EXIT
{ nm -D --defined-only libcabrt.so.0 | awk '$2 == "T" { print "function " $3 }'; ./tests/abi_layout; } |
    sort >"$now"
[ -n "$CAB_BLESS" ] && cat "$now" >"$expected"
gone=$(grep -vxFf "$now" "$expected")
new=$(grep -vxFf "$expected" "$now")
[ -z "$gone" ] || { echo "the interface lost or changed:"; echo "$gone"; }
[ -z "$new" ] || { echo "new, not yet in tests/abi.expected (CAB_BLESS=1 writes it):"; echo "$new"; }
[ -z "$gone$new" ]
