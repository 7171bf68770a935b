#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times kernels (bench_kernels.c), holds them to stored figures, and sets them beside libraries.

  kernels.py PROGRAM [--json OUT] [--compare OLD.json] [--allow 0.9] [--peers] [--rounds N] [--cpu N] [NAME-PART]...

--compare: a row's part (of the multiply-add peak, or of what is read per second, each measured beside the row) may not
be below ALLOW times the stored part. A row that is gets measured again, alone, twice; the best counts. Rows in one file
only are named and do not count. Exit status 1 when a row fell behind.
--peers: MKL, oneDNN and OpenBLAS from PyPI (--install gets them, into the cache folder), one thread each, interleaved with
ours. A row's ratio is the time of the better of MKL and oneDNN over ours; with --targets the median of all must be at
least 1.0 and none below 0.92, else the exit status is 1.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile

LIBS = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "cabochon/libs"
WHEELS = ["mkl", "onednn-cpu-gomp", "scipy-openblas32"]
TRIES, MEDIAN, WORST = 2, 1.0, 0.92


def arguments():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("program")
    a.add_argument("names", nargs="*")
    a.add_argument("--json", type=pathlib.Path)
    a.add_argument("--compare", type=pathlib.Path)
    a.add_argument("--allow", type=float, default=0.9)
    a.add_argument("--peers", action="store_true")
    a.add_argument("--install", action="store_true")
    a.add_argument("--targets", action="store_true")
    a.add_argument("--rounds", type=int, default=7)
    a.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)))
    return a.parse_args()


def install():
    """Into an environment of its own; nothing to do when it is there."""
    if list(LIBS.glob("venv/lib/libmkl_rt.so*")):
        return
    subprocess.run([sys.executable, "-m", "venv", LIBS / "venv"], check=True)
    subprocess.run([LIBS / "venv/bin/pip", "install", "-q", *WHEELS], check=True)


def folders():
    found = [LIBS / "venv/lib", *LIBS.glob("venv/lib/python*/site-packages/scipy_openblas32/lib")]
    return ":".join(map(str, found))


def run(o, names):
    """One run of the program, pinned to one processor; its table goes to our output."""
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        cmd = [o.program, "--json", f.name, "--rounds", str(o.rounds)]
        cmd += ["--peers", folders()] if o.peers else []
        sys.stdout.flush()
        subprocess.run(cmd + list(names), check=True, preexec_fn=lambda: os.sched_setaffinity(0, {o.cpu}))
        return json.load(open(f.name))


def by_name(data):
    return {r["name"]: r for r in data["rows"]}


def behind(now, old, allow):
    return [n for n, r in now.items() if n in old and r["part"] < allow * old[n]["part"]]


def compare(o, data):
    """Names of the rows that stay behind."""
    now, old = by_name(data), by_name(json.load(open(o.compare)))
    slow = behind(now, old, o.allow)
    for _ in range(TRIES):
        if not slow:
            break
        print("again:", ", ".join(slow))
        for n, r in by_name(run(o, slow)).items():
            if n in now and r["part"] > now[n]["part"]:
                now[n] = r
        slow = behind(now, old, o.allow)
    data["rows"] = list(now.values())
    for n in sorted(now.keys() ^ old.keys()):
        if not o.names or n in now:
            print("in one file only:", n)
    for n in slow:
        print(f"SLOWER {n}: {100 * now[n]['part']:.1f} % of {now[n]['of']}, was {100 * old[n]['part']:.1f} %")
    return slow


def rivals(row):
    return {p: v["us"] for p, v in row["peers"].items() if p.startswith(("mkl", "onednn"))}


def ratios(data):
    """(ratio, row) of the rows that a rival can do, lowest first, printed as a table."""
    print("\n| kernel | ours us | MKL us | oneDNN us | OpenBLAS us | better of MKL, oneDNN / ours |\n|---|---|---|---|---|---|")
    all = []
    for r in data["rows"]:
        p = rivals(r)
        if not p:
            continue
        best = {k: min((u for n, u in p.items() if n.startswith(k)), default=None) for k in ("mkl", "onednn")}
        best["openblas"] = r["peers"].get("openblas", {}).get("us")
        ratio = min(p.values()) / r["us"]
        all.append((ratio, r["name"]))
        cells = " | ".join("" if best[k] is None else f"{best[k]:.1f}" for k in ("mkl", "onednn", "openblas"))
        print(f"| {r['name']} | {r['us']:.1f} | {cells} | {ratio:.2f} |")
    return sorted(all)


def beside_peers(o, data):
    """Whether the targets are met."""
    all = ratios(data)
    if not all:
        return not o.targets
    median = statistics.median(x for x, _ in all)
    low = [f"{n} {x:.2f}" for x, n in all if x < WORST]
    print(f"\n{len(all)} kernels beside the better of MKL and oneDNN: median ratio {median:.2f} (target {MEDIAN}), "
          f"lowest {all[0][0]:.2f} (target {WORST})")
    if low:
        print("below the target:", ", ".join(low))
    return median >= MEDIAN and not low


def main():
    o = arguments()
    if o.install:
        install()
    data = run(o, o.names)
    if not data["rows"]:
        sys.exit("no row has such a name")
    slow = compare(o, data) if o.compare else []
    if o.json:
        o.json.write_text(json.dumps(data, indent=1) + "\n")
    fine = beside_peers(o, data) if o.peers else True
    if o.compare:
        print(f"{len(data['rows'])} rows, {len(slow)} below {o.allow} of {o.compare}")
    sys.exit(1 if slow or (o.targets and not fine) else 0)


main()
