# SPDX-License-Identifier: Apache-2.0
"""overload.py BUILD [--seconds S] [--models NAME,NAME] [--json FILE]: what a model that is asked for more than it can do still does.

Peak is what it does when asked in a closed loop.  Then requests come at fixed times, two and five times as many, and
of what the queue admits as much must come out as before (95 %), no later than the queue is long, refusals must come at
once, and so must word of the server's health.  The server has one executor and both of the processors, clients the last.  A
machine that does something else meanwhile spoils figures, not the server: a row that fails is measured again, three times at most."""
import argparse, os, sys, tempfile, time
sys.path.insert(0, os.path.dirname(__file__))
import kit
from kit import check, verdict

CAP = 20                                     # requests that may wait
MODELS = {"alone": {"dynamic_batching": {"default_queue_policy": {"max_queue_size": CAP}}, "max_batch_size": 1},
          "batched": {"dynamic_batching": {"default_queue_policy": {"max_queue_size": CAP}}, "max_batch_size": 4}}
STEPS = 240                                  # products of a run: 3 or 4 ms a row, 8 a batch of four
CPUS = sorted(os.sched_getaffinity(0))


def start(build, *args):
    return kit.subprocess.Popen([os.path.join(build, "cab-client"), *args, "--json"], stdout=kit.subprocess.PIPE, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, {CPUS[-1]}))


def result(p):
    out, _ = p.communicate(timeout=200)
    if p.returncode:
        raise RuntimeError("the client ended with %d" % p.returncode)
    return kit.json.loads(out)


def load(build, port, name, seconds, rate="max", connections=8):
    return start(build, "load", "127.0.0.1:%d" % port, name, "--seconds", str(seconds), "--warmup", "0.5", "--rate", str(rate),
                 "--connections", str(connections))


def health(build, port, seconds):
    return start(build, "load", "127.0.0.1:%d" % port, "--get", "/v2/health/ready", "--rate", "100", "--seconds", str(seconds),
                 "--warmup", "0.5", "--connections", "4")


def overloaded(build, s, name, batch, peak, factor, seconds):
    """-> (figures, [(name, value, bound, ok)])"""
    probes = [health(build, port, seconds) for port in s.urls["http"]]
    v = result(load(build, s.port, name, seconds, peak * factor, 4 * CAP + 60))
    main, apart = [result(p)["latency_ms"] for p in probes]
    slack = kit.SLACK
    least = 0.3 if kit.patience(build) > 1 else 0.95 if slack == 1 else 0.7     # refusals cost ten times as much with sanitizers
    longest = slack * (CAP + 2 * batch) / peak * 1000 * 1.1    # it waits for the queue and for the batch that runs, and runs
    rows = [("goodput", v["goodput"], least * peak, v["goodput"] >= least * peak),
            ("admitted p99 ms", v["latency_ms"]["p99"], longest, v["latency_ms"]["p99"] <= longest),
            ("refused p99 ms", v["others_ms"]["p99"], 5 * slack, 0 < v["others_ms"]["p99"] < 5 * slack),
            ("health p99 ms", main["p99"], 10 * slack, main["p99"] < 10 * slack),
            ("health apart p99 ms", apart["p99"], 10 * slack, apart["p99"] < 10 * slack),
            ("other than 200, 429", sum(n for k, n in v["statuses"].items() if k not in ("200", "429")), 0,
             set(v["statuses"]) == {"200", "429"}),
            ("not answered", v["broken"] + v["unanswered"] + v["unsent"], 0, v["broken"] + v["unanswered"] + v["unsent"] == 0)]
    return v, rows


def measure(build, s, name, batch, factor, seconds):
    """Again, where a neighbour of this machine may have spoiled it: the peak too."""
    for _ in range(4):
        peak = result(load(build, s.port, name, seconds))["goodput"]
        v, rows = overloaded(build, s, name, batch, peak, factor, seconds)
        if all(ok for *_, ok in rows):
            break
    return peak, v, rows


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--seconds", type=float, default=1.5)
    p.add_argument("--json")
    p.add_argument("--models", default=",".join(MODELS))
    a = p.parse_args()
    table = []
    s = kit.Server(a.build, "--drain-ms=0", "--listen-health=127.0.0.1:0", "--threads=1")
    for name in a.models.split(","):
        config = MODELS[name]
        st, _, v = s.register(name, kit.slow(STEPS), config=config)
        check(st == 201, ("register", st, v))
        for factor in (2, 5):
            peak, v, rows = measure(a.build, s, name, config["max_batch_size"], factor, a.seconds)
            print("%-8s %dx of %.0f/s: " % (name, factor, peak) + ", ".join("%s %.4g (%.4g)%s" % (n, x, b, "" if ok else " MISSED")
                                                                         for n, x, b, ok in rows), flush=True)
            table.append(dict(model=name, factor=factor, peak=peak, rows=[r[:3] for r in rows], load=v))
            for n, x, b, ok in rows:
                check(ok, (name, factor, n, x, b))
    check(s.stop() == 0, "ends with 0")
    if a.json:
        with open(a.json, "w") as f:
            kit.json.dump(table, f, indent=1)
    verdict("overload.py")


main()
