# SPDX-License-Identifier: Apache-2.0
"""swap.py BUILD [SWAPS]: new versions of a model under load; the compile child killed meanwhile."""
import os, signal, sys, threading, time
sys.path.insert(0, os.path.dirname(__file__))
from kit import *
from wire import *

N = 64


def whole(version):
    """A model whose outputs all tell its version."""
    v = float(version)
    return model([node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"]), node("Add", ["m", "c"], ["z"])],
                 [value_info("x", ["n", 1])], [value_info("y", ["n", N]), value_info("z", ["n", N])],
                 [constant("w", [1, N], [0.0] * N), constant("b", [N], [v] * N), constant("c", [N], [v] * N)])


ASK = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1, 1]}]}).encode()


class Client(Probe):
    def __init__(self, port):
        super().__init__(port, request("POST", "/v2/models/swapped/infer", ASK), pause=0.001)
        self.last, self.seen = 0, set()

    def answer(self, got):
        if got[0] != 200:
            self.bad.append(got)
            return
        v = json.loads(got[2])
        values = {e for o in v["outputs"] for e in o["data"]}
        if len(values) != 1 or values != {float(v["model_version"])}:
            self.bad.append(("mixed", v["model_version"], values))
        if float(v["model_version"]) < self.last:
            self.bad.append(("back to an older version", v["model_version"], self.last))
        self.last = float(v["model_version"])
        self.seen.add(self.last)


def children(pid):
    out = []
    for t in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/children" % (pid, t)) as f:
                out += map(int, f.read().split())
        except OSError:
            pass
    return out


def killed(s, times):
    """kill -9 of the compile child: a story, and the version before serves on."""
    big = slow(600, 64)
    before = s.infer("swapped", [[1.0]])[2]["model_version"]
    for i in range(times):
        got = []
        t = threading.Thread(target=lambda: got.append(s.register("swapped", big)))
        t.start()
        end = time.time() + 20
        while time.time() < end and t.is_alive() and not children(s.pid):
            time.sleep(0.001)
        for pid in children(s.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        t.join(60)
        st, _, v = got[0]
        check(st in (422, 500) and v["error"], ("the child was killed", i, st, v))
        check(s.infer("swapped", [[1.0]])[2]["model_version"] == before, "the old version serves on")
    check(not children(s.pid), ("no child is left", children(s.pid)))


def main():
    build, swaps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 50
    s = Server(build, "--drain-ms=0")
    check(s.register("swapped", whole(1))[0] == 201 and s.register("other", linear())[0] == 201, "registered")
    other = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}).encode()
    quiet = Probe(s.port, request("POST", "/v2/models/other/infer", other))
    quiet.start()
    clients = [Client(s.port) for _ in range(4)]
    for c in clients:
        c.start()
    time.sleep(1.0)
    n = len(quiet.times)
    for i in range(2, swaps + 2):
        st, _, v = s.register("swapped", whole(i))
        if not check(st == 201 and v["version"] == str(i), ("swap", i, st, v)):
            break
    before, during = quantile(quiet.times[:n], 0.99), quantile(quiet.times[n:], 0.99)
    killed(s, 3)
    time.sleep(0.1)
    for c in clients + [quiet]:
        c.stop()
    bad = [b for c in clients + [quiet] for b in c.bad]
    total = sum(len(c.times) for c in clients)
    check(not bad, ("failed requests", len(bad), "of", total, bad[:3]))
    seen = set().union(*(c.seen for c in clients))
    check(len(seen) > swaps * 0.8, ("versions that were seen", len(seen)))
    check(during < max(5 * before, 0.05 * patience(build) * SLACK), ("p99 of another model before, meanwhile (ms)", before * 1e3, during * 1e3))
    print("swap.py: %d swaps, %d requests; another model's p99 %.2f ms before, %.2f ms meanwhile" %
          (swaps, total, before * 1e3, during * 1e3))
    check(s.stop() == 0, "ends with 0")
    verdict("swap.py")


main()
