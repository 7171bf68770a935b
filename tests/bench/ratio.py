#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models beside the fastest peer, from what bench.py wrote, and a gate on that.

  ratio.py [--ours cabochon] [--target 0.97] [--targets FILE.json] [--old OLD.json] [--allow 0.9] [--json OUT] BENCH.json...

Every file is one run of bench.py, whose peers take turns: times of one run are compared with each other only, so that a
machine that is slower for a while does not count. A model's ratio is time of the fastest peer over ours, the median over
the runs (or over the rounds of all runs, where a file has "rounds_ms"): more than 1 is faster than every peer. The bound is
one-sided, 95 %: by bootstrap over five ratios or more; of fewer, from the spread of the rounds that bench.py writes, taken
as normal. Peers that gave wrong results (as bench.py marks them) do not count.
--targets: {"MODEL": ratio, ...}, others have --target. --old: a file that --json wrote; no model's ratio may be below ALLOW
times its old one. Exit status 1 when a bound is below its target, or a ratio fell.
"""
import argparse, json, math, pathlib, random, statistics, sys

TO_TRUST, SAMPLES = 5, 4000


def arguments():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("files", nargs="+", type=pathlib.Path)
    a.add_argument("--ours", default="cabochon")
    a.add_argument("--not-peers", default="naive", help="names that are no peers, with commas")
    a.add_argument("--target", type=float, default=0.97)
    a.add_argument("--targets", type=pathlib.Path)
    a.add_argument("--old", type=pathlib.Path)
    a.add_argument("--allow", type=float, default=0.9)
    a.add_argument("--json", type=pathlib.Path)
    return a.parse_args()


def wrong(model, v):
    return (v.get("err") or 0) > (0.3 if "int8" in model or "int4" in model else 0.02)


def collect(o):
    """(model, threads, batch) -> one dict per run: engine -> its record."""
    rows = {}
    for f in o.files:
        for r in json.load(open(f))["results"]:
            good = {p: v for p, v in r["peers"].items() if "ms" in v and not wrong(r["model"], v)}
            rows.setdefault((r["model"], r["threads"], r.get("batch", 1)), []).append(good)
    return rows


def pairs(a, b):
    """Ratios b / a of one run: of its rounds where both have them, else one."""
    x, y = a.get("rounds_ms"), b.get("rounds_ms")
    return [q / p for p, q in zip(x, y)] if x and y and len(x) == len(y) else [b["ms"] / a["ms"]]


def sigma(v):
    """Of the median of seven rounds, relative, from their range (2.7 sigma; 1.25: a median of normals)."""
    return v.get("spread", 0) / 2.7 * 1.25 / math.sqrt(7)


def bound(runs, ours, peer, all):
    if len(all) >= TO_TRUST:
        rng = random.Random(1)
        medians = sorted(statistics.median(rng.choices(all, k=len(all))) for _ in range(SAMPLES))
        return medians[int(0.05 * SAMPLES)]
    spread = max(math.hypot(sigma(r[ours]), sigma(r[peer])) for r in runs)
    return statistics.median(all) * math.exp(-1.645 * spread / math.sqrt(len(runs)))


def beside(runs, ours, peer):
    """(ratio, bound) over the runs that have both."""
    both = [r for r in runs if ours in r and peer in r]
    all = [x for r in both for x in pairs(r[ours], r[peer])]
    return (statistics.median(all), bound(both, ours, peer, all)) if all else None


def ms_of(runs, engine):
    return statistics.median(r[engine]["ms"] for r in runs if engine in r)


def judge(o, rows):
    targets = json.load(open(o.targets)) if o.targets else {}
    skip = {o.ours, *o.not_peers.split(",")}
    out = []
    for (model, threads, batch), runs in sorted(rows.items()):
        row = dict(model=model, threads=threads, batch=batch, ok=False)
        peers = {p for r in runs for p in r} - skip
        each = {p: beside(runs, o.ours, p) for p in peers}
        each = {p: x for p, x in each.items() if x}
        if each:
            fast = min(each, key=lambda p: each[p][0])
            ratio, low = each[fast]
            target = targets.get(model, o.target)
            row.update(ours_ms=ms_of(runs, o.ours), peer=fast, peer_ms=ms_of(runs, fast), ratio=ratio, bound=low,
                       target=target, ok=low >= target)
        elif peers:
            print(f"no times of {o.ours}: {model}, {threads} threads")
        else:
            continue
        out.append(row)
    return out


def fell(o, out):
    """Names of what is slower than it was, relative to the peers."""
    old = {(r["model"], r["threads"], r["batch"]): r for r in json.load(open(o.old))["rows"] if "ratio" in r}
    names = []
    for r in out:
        before = old.get((r["model"], r["threads"], r["batch"]))
        if before and r.get("ratio", 0) < o.allow * before["ratio"]:
            names.append(f"{r['model']} at {r['threads']} threads: ratio {r.get('ratio', 0):.2f}, was {before['ratio']:.2f}")
    return names


def show(out):
    print("| model | threads | ours ms | fastest peer | its ms | ratio | 95 % bound | target | |\n|---|---|---|---|---|---|---|---|---|")
    for r in out:
        if "ratio" in r:
            print(f"| {r['model']}{', batch %d' % r['batch'] if r['batch'] != 1 else ''} | {r['threads']} | {r['ours_ms']:.3f} | "
                  f"{r['peer']} | {r['peer_ms']:.3f} | {r['ratio']:.2f} | {r['bound']:.2f} | {r['target']:.2f} | "
                  f"{'' if r['ok'] else 'below'} |")
    done = [r["ratio"] for r in out if "ratio" in r]
    if done:
        print(f"\ngeometric mean {math.exp(sum(map(math.log, done)) / len(done)):.2f} over {len(done)}, "
              f"{sum(r['ok'] for r in out)} of {len(out)} at their target")


def main():
    o = arguments()
    out = judge(o, collect(o))
    show(out)
    slower = fell(o, out) if o.old else []
    for s in slower:
        print("SLOWER", s)
    if o.json:
        o.json.write_text(json.dumps(dict(rows=out), indent=1) + "\n")
    sys.exit(1 if slower or not out or not all(r["ok"] for r in out) else 0)


main()
