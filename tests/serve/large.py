# SPDX-License-Identifier: Apache-2.0
"""large.py BUILD [MEGABYTES]: health is answered in time while four clients send large JSON bodies on the same port,
and while one sends thousands of requests at once."""
import os, sys, threading, time
sys.path.insert(0, os.path.dirname(__file__))
from kit import *
from wire import *


def flood(build):
    """20,000 small requests in one go on one connection: each is answered, and the others have their turn."""
    s = Server(build, "--drain-ms=0")
    s.register("linear", linear())
    n, got = 20000 // patience(build), 0
    c = dial(s.port)
    probe = Probe(s.port, request("GET", "/v2/health/live"))
    sender = threading.Thread(target=c.sendall, args=(request("POST", "/predict", b'{"X":1}') * n,))
    probe.start()
    sender.start()
    rest = b""
    while got < n:
        piece = c.recv(1 << 18)
        if not piece:
            break
        whole = rest + piece
        got += whole.count(b'{"Y":[[5.0]]}')
        rest = whole[whole.rfind(b"}") + 1:]
    sender.join(30)
    probe.stop()
    c.close()
    check(got == n, ("answers", got, n))
    check(not probe.bad and quantile(probe.times, 0.99) < 0.025 * patience(build) * SLACK, ("p99 beside them", quantile(probe.times, 0.99)))
    s.stop()


def main():
    build, mb = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16
    width = mb * 131072
    s = Server(build, "--drain-ms=0")
    check(s.register("wide", identity(width))[0] == 201, "registered")
    row = b",".join([b"%d.125" % (i % 90 + 10) for i in range(1000)])
    numbers = b",".join([row] * (width // 1000) + [b"1"] * (width % 1000))
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,%d],"data":[%s]}]}' % (width, numbers)
    data = request("POST", "/v2/models/wide/infer", body)
    done, bad, ending = [], [], threading.Event()
    del body, numbers

    def sender(gone):
        while not ending.is_set():
            c = dial(s.port, 60)
            try:
                c.sendall(data)
                if gone:                   # goes away while its body is read
                    time.sleep(0.005)
                else:
                    got = read_answer(c)
                    if not got or got[0] != 200 or got[2].count(b",") < width - 1:
                        bad.append(got and got[:2])
                    done.append(1)
            except OSError as e:
                bad.append(e)
            c.close()
    senders = [threading.Thread(target=sender, args=(i == 3,)) for i in range(4)]
    for t in senders:
        t.start()
    time.sleep(0.3)
    # the prober in a process of its own: four senders share Python's lock; the better of two, for a busy machine
    tries = [subprocess.run([sys.executable, "-c", PROBER, str(s.port), os.path.dirname(os.path.abspath(__file__))],
                            capture_output=True, text=True, timeout=60) for _ in range(2)]
    prober = min(tries, key=lambda t: float(t.stdout.split()[2]) if t.stdout else 9)
    ending.set()
    for t in senders:
        t.join(60)
    n, p50, p99, worst = map(float, prober.stdout.split()) if prober.stdout else (0, 9, 9, 9)
    print("large.py: %d bodies of %d MB; health %d times: median %.2f ms, p99 %.2f ms, worst %.2f ms" %
          (len(done), mb, n, p50 * 1e3, p99 * 1e3, worst * 1e3))
    check(not bad and done, ("answers", len(done), bad[:3]))
    limit = 0.010 if os.cpu_count() > 1 and len(os.sched_getaffinity(0)) > 1 else 0.100
    limit *= patience(build) * SLACK
    # ThreadSanitizer's shadow of fresh memory is faulted in by the page, with both processors interrupted for each
    measured = n > 30 and p99 < limit
    check(measured or "tsan" in os.path.basename(os.path.abspath(build)), ("p99 of health (ms)", p99 * 1e3, prober.stderr[-300:]))
    # a large body of every kind is answered as a small one would be
    pad = b" " * (100 << 10)
    for path, text, want in (("/predict", b'{"X":1,"model":"none"}', 404), ("/predict", b'{"X":', 400), ("/call", b"[]", 400),
                             ("/register", b'{"name":"..","model":"AAAA"}', 400), ("/discover", b"{}", 200), ("/discover", b"{", 400),
                             ("/v2/repository/index", b"{}", 200), ("/v2/repository/models/wide/load", b"{}", 200),
                             ("/nothing", b"", 404), ("/v2/models/wide/infer", b'{"inputs":[]}', 400)):
        st = s.ask("POST", path, text + pad)[0]
        check(st == want, ("padded", path, text, st, want))
    check(s.stop() == 0, "ends with 0")
    flood(build)
    verdict("large.py")


PROBER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from wire import *
p = Probe(int(sys.argv[1]), request("GET", "/v2/health/live"), pause=0.003)
p.start()
time.sleep(3)
p.stop()
assert not p.bad, p.bad[:3]
print(len(p.times), quantile(p.times, 0.5), quantile(p.times, 0.99), max(p.times))
"""

main()
