#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill-artifact.sh BUILD MODEL [TIMES]: kill -9 of cab compile -o FILE at random times (CAB_SEED repeats
# them).  Afterwards FILE is the whole old artifact or the whole new one, and loads.  Half of the rounds
# compile, half take the artifact from a cache, so that writing the file is most of what they do.
build=$(cd "$1" && pwd) model=$2 times=${3:-30}
seed=${CAB_SEED:-$$}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
result() {
    if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1"; fi
}
now() { date +%s%N; }
compile() {     # compile TARGET FILE [FLAGS]: the caller may need its process id
    target=$1 file=$2
    shift 2
    exec "$build/cab" compile "$model" --target "$target" -o "$file" "$@" >/dev/null 2>&1
}
span() { t=$(now); ("$@"); result "$*" $?; ms=$(( ($(now) - t) / 1000000 + 10 )); }

echo "seed $seed"
mkdir "$work/out"
out=$work/out/m.cab
(compile x86-64-v2 "$work/a.cab" --cache "$work/cache"); result "compile a" $?
span compile x86-64-v3 "$work/b.cab" --cache "$work/cache"; fresh=$ms
span compile x86-64-v3 "$work/b2.cab" --cache "$work/cache"; warm=$ms
cmp -s "$work/b.cab" "$work/b2.cab"; result "the same from the cache" $?
! cmp -s "$work/a.cab" "$work/b.cab"; result "two artifacts that differ" $?
cp "$work/a.cab" "$out"
i=0 killed=0 replaced=0 left=0 old=a
while [ $i -lt "$times" ]; do
    i=$((i + 1))
    [ $old = a ] && new=b target=x86-64-v3 || new=a target=x86-64-v2
    seed=$(( (seed * 1103515245 + 12345) % 2147483648 ))
    if [ $((i % 2)) = 0 ]; then
        ms=$(( seed / 7 % fresh )); compile $target "$out" --no-cache &
    else
        ms=$(( seed / 7 % warm )); compile $target "$out" --cache "$work/cache" &
    fi
    pid=$!
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ $? = 137 ] && killed=$((killed + 1))
    "$build/cab" inspect --verify=full "$out" >"$work/log" 2>&1 ||
        { result "round $i, killed after $ms ms: does not load: $(tail -1 "$work/log")" 1; cp "$work/$old.cab" "$out"; }
    if cmp -s "$out" "$work/$new.cab"; then old=$new replaced=$((replaced + 1))
    elif ! cmp -s "$out" "$work/$old.cab"; then
        result "round $i, killed after $ms ms: neither the old nor the new file" 1; cp "$work/$old.cab" "$out"
    fi
    for f in "$work"/out/*; do
        name=$(basename "$f")
        [ "$name" = m.cab ] && continue
        echo "$name" | grep -qE '^m\.cab\.tmp\.[0-9a-f]{8}$' || result "round $i: litter $name" 1
        left=$((left + 1)); rm -f "$f"
    done
done
result "rounds" 0
(compile x86-64-v3 "$out" --no-cache); result "after it all" $?
cmp -s "$out" "$work/b.cab"; result "the same bytes" $?
echo "kill -9 while an artifact is written, $killed of $times in time, $replaced replaced, $left temporaries left:" \
    "$passed passed, $failed failed"
[ $failed = 0 ]
