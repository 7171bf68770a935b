#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check-profile.sh: cab bench --layers, of a model and of an artifact: the table, the JSON (docs/profiling.md),
# what an artifact without costs and one with damaged ones give.  Run by make check in the build folder.
. "$srcdir/tests/check-kit.sh"
m=$srcdir/samples/digits/digits.onnx a=$tmp/digits.cab
ok "compile" ./cab compile "$m" -o "$a"
ok "compile without costs" ./cab compile "$m" -o "$tmp/none.cab" --no-costs
says 0 "rows together" ./cab bench "$m" --layers --runs 20 --json "$tmp/model.json"
says 0 "the other" ./cab bench "$a" --layers --runs 20 --threads 2 --top 2 --json="$tmp/artifact.json"
says 0 "naive us" ./cab bench "$m" --naive-too --runs 10 --json "$tmp/naive.json"
grep -v '^memory: \|^AMD\|^Intel' "$tmp/log" | awk 'length > 120 { bad = 1 } END { exit bad }' || complain "wider than 120 columns"
says 0 "does not say what its kernels must do" ./cab bench "$tmp/none.cab" --layers --runs 10 --json "$tmp/none.json"
says 0 "loaded in" ./cab bench "$a" --runs 10
says 2 "no --naive-too: an artifact is what it was compiled to be" ./cab bench "$a" --naive-too
says 2 "nothing to compare" ./cab bench "$m" --naive --naive-too
if command -v python3 >/dev/null; then
    cat >"$tmp/check.py" <<'END'
import json, sys
names = "kind kernel what layers sched family calls us share flops special gflops fma_part bytes weight_bytes " \
        "gbytes read_part bound_us".split()
for kind in ("model", "artifact", "naive", "none"):
    j = json.load(open(f"{sys.argv[1]}/{kind}.json"))
    t, rows = j["totals"], j["rows"]
    assert list(j) == ["machine", "model", "plan", "threads", "naive", "totals", "rows"], list(j)
    assert abs(sum(r["share"] for r in rows) - 1) < 1e-6, kind
    assert abs(sum(r["us"] for r in rows) - t["rows_us"]) < 1e-6 * t["rows_us"], kind
    assert all(list(r)[:18] == names for r in rows), kind
    assert [r["us"] for r in rows] == sorted((r["us"] for r in rows), reverse=True)
    conv = [r for r in rows if "conv" in r["what"]]
    assert len(conv) == 2 and all(r["sched"].startswith("sched {") for r in conv)
    assert all((r["flops"] is None) == (kind == "none") for r in conv)
    assert kind == "none" or all(0 < r["bound_us"] and r["family"] == "contract" for r in conv)
    assert kind != "naive" or all(r["naive_us"] > 0 and r["speedup"] > 0 for r in conv)
    assert j["machine"]["fma_gflops"] > 0 and j["machine"]["read_memory_gbytes"] > 0
END
    ok "JSON" python3 "$tmp/check.py" "$tmp"
    # One byte of the section, whose place `cab inspect` tells.
    at=$(./cab inspect "$a" | sed -n 's/^section *costs .* at \([0-9]*\)$/\1/p')
    ok "damage" python3 -c "
import sys
b = bytearray(open('$a', 'rb').read()); b[$at + 8] ^= 1; open('$tmp/bent.cab', 'wb').write(b)"
    says 1 "section costs does not match its checksum" ./cab bench "$tmp/bent.cab" --layers --runs 10
    ok "a run does not look at it" ./cab bench "$tmp/bent.cab" --runs 10
    says 1 "section costs does not match its checksum" ./cab inspect "$tmp/bent.cab" --verify=full
fi
exit $bad
