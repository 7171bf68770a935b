#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill-cache.sh BUILD MODEL [TIMES]: kill -9 of a compilation that fills the cache, at random times.
# Afterwards the cache gives what a fresh compilation gives, and holds whole entries only.
build=$(cd "$1" && pwd) model=$2 times=${3:-30}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cache=$work/cache
passed=0 failed=0
result() {
    if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1"; fi
}
now() { date +%s%N; }

t=$(now)
"$build/cab" compile "$model" -o "$work/expected.cab" >/dev/null; result "compile" $?
span=$(( ($(now) - t) / 1000000 + 20 ))
seed=$$
i=0 killed=0
while [ $i -lt "$times" ]; do
    i=$((i + 1))
    seed=$(( (seed * 1103515245 + 12345) % 2147483648 ))
    ms=$(( seed / 7 % span ))
    "$build/cab" compile "$model" -o "$work/out.cab" --cache "$cache" >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
    # Half of the time the entry goes, so that there is something to fill again.
    [ $((i % 2)) = 0 ] && rm -f "$cache"/*.cab
    # An artifact of an earlier round is whole or not there.
    if [ -f "$work/out.cab" ]; then
        cmp -s "$work/out.cab" "$work/expected.cab" || result "round $i: what was written" 1
        rm -f "$work/out.cab"
    fi
    for e in "$cache"/*.cab; do
        [ -f "$e" ] || continue
        cmp -s "$e" "$work/expected.cab" || result "round $i: entry $e is torn" 1
    done
done
result "rounds" 0
"$build/cab" compile "$model" -o "$work/last.cab" --cache "$cache" >/dev/null; result "after it all" $?
cmp -s "$work/last.cab" "$work/expected.cab"; result "the same bytes" $?
"$build/cab" compile "$model" -o "$work/last.cab" --cache "$cache" | grep -q "found in the cache"
result "found again" $?
cmp -s "$work/last.cab" "$work/expected.cab"; result "the same bytes from the cache" $?
ls "$cache" | grep -vE '^([0-9a-f]+\.(cab|in)|[0-9a-f]+-[0-9a-f]+\.memo|lock)$' && result "litter in $cache" 1
echo "kill -9 while the cache fills, $killed of $times in time: $passed passed, $failed failed"
[ $failed = 0 ]
