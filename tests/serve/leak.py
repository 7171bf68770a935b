# SPDX-License-Identifier: Apache-2.0
"""leak.py BUILD [CYCLES [REQUESTS]]: memory and descriptors over loads, unloads, requests, refusals and broken connections."""
import os, sys, time
sys.path.insert(0, os.path.dirname(__file__))
from kit import *
from wire import *


def level(s, name, step, n, per, most):
    """n steps of `per` each: after the first third memory does not grow, nor do descriptors."""
    points, fds = [], []
    for i in range(n):
        step()
        points.append((i, rss(s.pid)))
        fds.append(descriptors(s.pid))
    tail = points[n // 3:]
    slope = fit(tail)
    grown = slope * len(tail)
    print("leak.py: %s: %+.1f KiB over the last %d steps of %d, %d descriptors" %
          (name, grown / 1024, len(tail), per, fds[-1]))
    check(grown < most, (name, "memory grows by", grown, "bytes;", [p[1] >> 10 for p in points[::max(1, n // 20)]]))
    check(max(fds[n // 3:]) <= min(fds[n // 3:]) + 1, (name, "descriptors", min(fds), max(fds)))


def main():
    build = sys.argv[1]
    cycles = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    requests = int(sys.argv[3]) if len(sys.argv) > 3 else 50000
    s = Server(build, "--drain-ms=0")
    s.register("linear", linear())
    s.register("echo", identity())
    most = (1 << 20) * patience(build)     # sanitizers keep what was freed

    def load():
        for _ in range(cycles // 20):
            s.ask("POST", "/v2/repository/models/echo/unload")
            s.ask("POST", "/v2/repository/models/echo/load")
            s.infer("echo", [[0.0] * 16])
    level(s, "loads", load, 20, cycles // 20, most)
    check(s.infer("echo", [[1.0] * 16])[0] == 200, "it serves")

    c = dial(s.port)
    data = request("POST", "/predict", b'{"X": 1, "model": "linear"}')
    batch = 25

    def ask():
        for _ in range(requests // 20 // batch):
            c.sendall(data * batch)        # pipelined: as many a call as fits one read
            left, got = batch, b""
            while left:
                got += c.recv(1 << 16)
                left -= got.count(b'{"Y":[[5.0]]}')
                got = got[-12:]
    level(s, "requests", ask, 20, requests // 20, most)
    c.close()

    large = json.dumps({"X": [[1.0]] * 30000, "model": "linear"}).encode()

    def odd():
        for _ in range(max(1, requests // 4000)):
            k = dial(s.port)
            k.sendall(request("POST", "/predict", large))
            k.close()                      # while it is read, or runs
            k = dial(s.port)
            k.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n{")
            k.close()
            raw(s.port, b"GET / HTTP/9.9\r\n\r\n", 2)
            h = H2(s.port)
            h.open(1, "POST", "/predict", end=False)
            h.open(3, "GET", "/v2/models/stats")
            h.status(3)
            h.close()
            s.ask("POST", "/predict", {"X": "no"})
            s.register("bad", b"no model")
    level(s, "faults", odd, 20, max(1, requests // 4000) * 6, 2 * most)
    end = time.time() + 5
    want = "cabochon_request_body_bytes 0\n"
    while time.time() < end and want not in s.ask("GET", "/metrics")[2].decode():
        time.sleep(0.05)
    check(want in s.ask("GET", "/metrics")[2].decode(), "no byte of a body is left")
    check(s.stop() == 0, "ends with 0")
    verdict("leak.py")


main()
