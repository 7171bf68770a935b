# SPDX-License-Identifier: Apache-2.0
# check-kit.sh: for scripts that try the commands: a folder $tmp, and what a command should do; they end with "exit $bad".
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
complain() { bad=1; echo "FAILED: $1"; cat "$tmp/log"; }
ok() {          # ok NAME COMMAND...
    name=$1; shift
    "$@" >"$tmp/log" 2>&1 || complain "$name"
}
says() {        # says STATUS TEXT COMMAND...
    want=$1 text=$2; shift 2
    "$@" >"$tmp/log" 2>&1
    got=$?
    [ $got = "$want" ] && grep -qF "$text" "$tmp/log" || complain "exit $got, wanted $want and '$text'"
}
