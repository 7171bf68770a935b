#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-tune.sh: cab tune, and records that other commands take (docs/tuning.md).  Run by make check in
# the build folder.
. "$srcdir/tests/check-kit.sh"
same() { cmp -s "$1" "$2" || complain "$3"; }
m=$srcdir/samples/digits/digits.onnx
says 0 "kernels by another schedule" ./cab tune "$m" --seconds 1 -o "$tmp/tuned.cab" --record "$tmp/won.txt"
says 0 "cabochon tuning 1" ./cab tune "$m" --seconds 1 --at batch=4
ok "with the record" ./cab compile "$m" -o "$tmp/again.cab" --tuning "$tmp/won.txt"
same "$tmp/tuned.cab" "$tmp/again.cab" "the record gives what was tuned"

# What wins is chance; every candidate at once is not.
./cab run "$m" --emit candidates >"$tmp/all.txt" || complain "candidates"
grep -q '^kernel [0-9a-f]\{32\} k0_' "$tmp/all.txt" || complain "a line of a kernel"
ok "others" ./cab compile "$m" -o "$tmp/a.cab" --tuning "$tmp/all.txt"
ok "from the artifact" ./cab compile "$m" -o "$tmp/b.cab" --tuning "$tmp/a.cab"
same "$tmp/a.cab" "$tmp/b.cab" "the artifact's record gives the artifact"
ok "isolated" ./cab compile "$m" -o "$tmp/c.cab" --tuning "$tmp/a.cab" --isolate
same "$tmp/a.cab" "$tmp/c.cab" "the worker gets the record"
ok "untuned" ./cab compile "$m" -o "$tmp/plain.cab"
cmp -s "$tmp/plain.cab" "$tmp/a.cab" && complain "other schedules, the same bytes"
says 0 "section   tuning" ./cab inspect "$tmp/a.cab" --verify=full
says 0 "sched {" ./cab run "$m" --emit sched --tuning "$tmp/a.cab"
ok "run" ./cab run "$m" --tuning "$tmp/a.cab"
ok "bench" ./cab bench "$m" --runs 5 --tuning "$tmp/a.cab"

# The cache tells records apart.
ok "cached" ./cab compile "$m" -o "$tmp/d.cab" --cache "$tmp/cache"
ok "cached, tuned" ./cab compile "$m" -o "$tmp/e.cab" --cache "$tmp/cache" --tuning "$tmp/a.cab"
same "$tmp/plain.cab" "$tmp/d.cab" "untuned from the cache"
same "$tmp/a.cab" "$tmp/e.cab" "tuned from the cache"
says 0 "found in the cache" ./cab compile "$m" -o "$tmp/f.cab" --cache "$tmp/cache" --tuning "$tmp/a.cab"
same "$tmp/a.cab" "$tmp/f.cab" "tuned and found"

# What is no record, or not for this.
says 2 "made without a tuning record" ./cab compile "$m" -o "$tmp/x.cab" --tuning "$tmp/plain.cab"
says 2 "No such file" ./cab compile "$m" -o "$tmp/x.cab" --tuning "$tmp/none"
says 2 "not text" ./cab compile "$m" -o "$tmp/x.cab" --tuning ./cab
echo hello >"$tmp/hello.txt"
says 1 "tuning record:1: this is no tuning record" ./cab compile "$m" -o "$tmp/x.cab" --tuning "$tmp/hello.txt"
sed 's/ [0-9a-f]\{32\} / 0123456789abcdef0123456789abcdef /' "$tmp/all.txt" >"$tmp/strange.txt"
says 0 "for kernels that this model does not have" ./cab compile "$m" -o "$tmp/g.cab" --tuning "$tmp/strange.txt"
same "$tmp/plain.cab" "$tmp/g.cab" "a record of another model changes nothing"
sed 's/^target .*/target other 64/' "$tmp/all.txt" >"$tmp/other.txt"
says 0 "is for other targets (other 64)" ./cab compile "$m" -o "$tmp/h.cab" --tuning "$tmp/other.txt"
same "$tmp/plain.cab" "$tmp/h.cab" "a record of another machine changes nothing"
sed 's/lanes=[0-9]*/lanes=3/' "$tmp/all.txt" >"$tmp/wrong.txt"
says 2 "can be made by this schedule" ./cab compile "$m" -o "$tmp/x.cab" --tuning "$tmp/wrong.txt"
says 2 "takes no --naive" ./cab tune "$m" --naive
says 2 "usage: cab tune" ./cab tune "$tmp/a.cab"
says 2 "no --tuning: an artifact is what it was compiled to be" ./cab bench "$tmp/a.cab" --tuning "$tmp/all.txt"
exit $bad
