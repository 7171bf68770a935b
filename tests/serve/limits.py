# SPDX-License-Identifier: Apache-2.0
"""limits.py BUILD: clients that go away, deadlines, full queues, bodies over their limits, streams reset in haste."""
import concurrent.futures, os, sys, threading, time
sys.path.insert(0, os.path.dirname(__file__))
import kit
from kit import *
from wire import *


STEPS = 480
BOTH = ("nv_inference_pending_request_count", "cabochon_running_requests")


def stats(s, name):
    text = s.ask("GET", "/metrics")[2].decode()
    out = {}
    for line in text.splitlines():
        if '{model="%s",' % name in line:
            out[line.split("{")[0]] = int(float(line.rsplit(" ", 1)[1]))
    return out


def body_of(name, rows, width, **more):
    x = dict(name="x", datatype="FP32", shape=[rows, width], data=[0.5] * (rows * width))
    return json.dumps(dict(inputs=[x], **more)).encode()


def rows_for(s, seconds):
    """Rows of the slow model that take about that long."""
    rows = 4
    while True:
        t = time.time()
        check(s.ask("POST", "/v2/models/slow/infer", body_of("slow", rows, 512))[0] == 200, "a slow run")
        t = time.time() - t
        if t > seconds / 2 or rows > 4096:
            return max(1, int(rows * seconds / t))
        rows *= 2


def wait_for(what, seconds=5.0):
    end = time.time() + seconds
    while time.time() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def cancelled(s, rows):
    """Clients that go away: queued and running requests end, and the executor is free again."""
    data = request("POST", "/v2/models/slow/infer", body_of("slow", rows, 512))
    before = stats(s, "slow")["cabochon_cancelled_total"]
    clients = [dial(s.port) for _ in range(4)]
    for c in clients:
        c.sendall(data)
    check(wait_for(lambda: sum(stats(s, "slow")[k] for k in BOTH) == 4), ("four wait or run", stats(s, "slow")))
    t = time.time()
    for c in clients:
        c.close()
    check(wait_for(lambda: stats(s, "slow")["cabochon_cancelled_total"] - before == 4), ("cancelled", stats(s, "slow"), before))
    check(s.ask("POST", "/v2/models/slow/infer", body_of("slow", 1, 512))[0] == 200, "free again")
    check(time.time() - t < 2.0, ("in time", time.time() - t))


def cancelled_http2(s, rows):
    data = body_of("slow", rows, 512)
    before = stats(s, "slow")["cabochon_cancelled_total"]
    h = H2(s.port)
    for i in range(2):
        h.open(1 + 2 * i, "POST", "/v2/models/slow/infer", end=False)
        for at in range(0, len(data), 16000):
            h.send(frame(DATA, END_STREAM if at + 16000 >= len(data) else 0, 1 + 2 * i, data[at:at + 16000]))
    check(wait_for(lambda: sum(stats(s, "slow")[k] for k in BOTH) == 2), ("two wait or run", stats(s, "slow")))
    h.send(frame(RST, 0, 1, struct.pack(">I", 8)), frame(RST, 0, 3, struct.pack(">I", 8)))
    check(wait_for(lambda: stats(s, "slow")["cabochon_cancelled_total"] - before == 2), ("streams reset", stats(s, "slow"), before))
    h.open(5, "GET", "/v2/health/live")
    check(h.status(5) == 200, "the connection lives")
    h.close()


def deadlines(s, rows):
    """504 at its time, though every executor is busy for longer."""
    busy = [dial(s.port) for _ in range(2)]
    for c in busy:
        c.sendall(request("POST", "/v2/models/slow/infer", body_of("slow", rows, 512)))
    check(wait_for(lambda: stats(s, "slow")["cabochon_running_requests"] >= 1), "busy")
    late = []
    for ms in (20, 50, 100, 150):
        data = body_of("slow", 1, 512, parameters={"timeout": ms * 1000})
        t = time.time()
        st = s.ask("POST", "/v2/models/slow/infer", data)[0]
        late.append((time.time() - t) * 1e3 - ms)
        check(st == 504, ("timeout", ms, st))
    check(min(late) > -1 and sorted(late)[2] < 50 * patience(s.build) * SLACK and max(late) < 120 * patience(s.build) * SLACK, ("ms late", late))
    for c in busy:
        c.close()
    check(wait_for(lambda: stats(s, "slow")["cabochon_running_requests"] == 0), "idle again")


def heads(s):
    """A hundred fields, whichever protocol brings them."""
    for n, want in ((100, 200), (101, 431)):
        c = dial(s.port)
        c.sendall(request("GET", "/v2/health/live", fields=b"".join(b"a%d: b\r\n" % i for i in range(n - 2))))
        check(read_answer(c)[0] == want, ("fields", n))
        c.close()
        h = H2(s.port)
        h.open(1, "GET", "/v2/health/live", *[("a%d" % i, "b") for i in range(n)])
        check(h.status(1) == want, ("HTTP/2: fields", n))
        h.close()


def extremes(s):
    """Times that no clock will show are none; priorities are not cut to 32 bits: none is another one."""
    most, f = (1 << 63) - 1, kit._field
    x = f(1, "x") + f(2, "FP32") + f(3, b"\1" + kit._varint(512))
    for key, value, status, code in (("timeout", most, 200, "0"), ("timeout", most // 1000, 200, "0"), ("priority", 1 << 32, 400, "3"),
                                     ("priority", (1 << 32) + 1, 400, "3"), ("priority", most, 400, "3"), ("timeout", 1, 504, "4")):
        st = s.ask("POST", "/v2/models/slow/infer", body_of("slow", 1, 512, parameters={key: value}))
        check(st[0] == status, ("extreme", key, value, st[0], st[2]))
        m = f(1, "slow") + f(4, f(1, key) + f(2, f(2, value))) + f(5, x) + f(7, bytes(2048))
        got = rpc(s, 0, m)
        check(got[0] == code, ("extreme, gRPC", key, value, got[:2]))


def full(build, rows):
    """The queue holds exactly what it may; more is 429, and says when to come back."""
    s = Server(build, "--drain-ms=0", "--threads=1", "--max-queue=5")
    s.register("slow", slow(STEPS))
    clients = []
    def ask(data):
        c = dial(s.port, 60)
        c.sendall(data)
        clients.append(c)
        return c
    ask(request("POST", "/v2/models/slow/infer", body_of("slow", rows, 512)))
    check(wait_for(lambda: stats(s, "slow")["cabochon_running_requests"] == 1), "one runs")
    small = request("POST", "/v2/models/slow/infer", body_of("slow", 1, 512))
    for i in range(5):
        ask(small)
    check(wait_for(lambda: stats(s, "slow")["nv_inference_pending_request_count"] == 5), ("five wait", stats(s, "slow")))
    for i in range(3):
        c = dial(s.port)
        c.sendall(small)
        got = read_answer(c)
        check(got[0] == 429 and b"retry-after: 1" in got[1].lower(), ("full", got[:2]))
        c.close()
    codes = [read_answer(c)[0] for c in clients]
    check(codes == [200] * 6, ("those that waited", codes))
    check(stats(s, "slow")["cabochon_refused_full_total"] == 3, stats(s, "slow"))
    for c in clients:
        c.close()
    s.stop()


def answers(build):
    """A few bytes may ask for many: an answer over --max-answer is refused in every form, and the next one is as ever."""
    s = Server(build, "--drain-ms=0", "--max-answer=64K")
    s.register("wide", model([node("MatMul", ["x", "w"], ["y"])], [value_info("x", ["n", 1])], [value_info("y", ["n", 1000])],
                             [constant("w", [1, 1000], [1.0] * 1000)]))
    for rows, want in ((20, 413), (1, 200)):
        x = {"name": "x", "shape": [rows, 1], "datatype": "FP32", "data": [1.5] * rows}
        for more in ({}, {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}):
            st, _, v = s.ask("POST", "/v2/models/wide/infer", dict({"inputs": [x]}, **more))
            check(st == want and (st == 200 or "the 65536 bytes of --max-answer" in v["error"]), ("an answer", rows, more, st, str(v)[:200]))
        st, _, v = s.ask("POST", "/predict", {"X": [[1.5]] * rows})
        check(st == want, ("predict", rows, st, str(v)[:100]))
        h = H2(s.port)
        tensor = kit._field(1, "x") + kit._field(2, "FP32") + kit._field(3, rows) + kit._field(3, 1)
        m = kit._field(1, "wide") + kit._field(5, tensor) + kit._field(7, struct.pack("<%df" % rows, *[1.5] * rows))
        h.open(1, "POST", RPCS + "ModelInfer", ("content-type", "application/grpc"), end=False)
        h.send(frame(DATA, END_STREAM, 1, prefixed(m)))
        f, got = h.read(), 0
        while f and not (f[0] == HEADERS and f[1] & END_STREAM):
            got += len(f[3]) if f[0] == DATA else 0
            f = h.read()
        check(f and (got > 4000) == (want == 200) and (got == 0) == (want == 413), ("gRPC", rows, got))
        h.close()
    s.stop()


def bodies(build):
    s = Server(build, "--drain-ms=0", "--max-body=1M", "--max-bodies=4M", "--body-ms=2000")
    over = b"x" * (1 << 20)
    for fields, data in ((b"Content-Length: 1048577\r\n", over + b"x"), (b"Content-Length: 999999999\r\n", b""),
                         (b"Transfer-Encoding: chunked\r\n", b"80000\r\n" + over[:1 << 19] + b"\r\n80001\r\n" + over[:(1 << 19) + 1] + b"\r\n0\r\n\r\n")):
        c = dial(s.port)
        c.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
        try:
            c.sendall(data)
        except OSError:
            pass
        got = read_answer(c)
        check(got and got[0] == 413 and b"close" in got[1], ("over the limit", fields, got))
        check(got and b"the 1048576 bytes of --max-body" in got[2] and b"--imports" in got[2], ("and says which", got))
        check(ended(c, 1), "and closed")
    c = dial(s.port)
    c.sendall(request("POST", "/predict", b'{"X":1}' + b" " * (len(over) - 7)))
    check(read_answer(c)[0] == 404, "just the limit")
    c.close()
    h = H2(s.port)
    h.open(1, "POST", "/predict", end=False)
    for i in range(17):
        h.send(frame(DATA, 0, 1, over[:65536 >> 2]) * 4)
    check(h.status(1) == 413, "HTTP/2: over the limit")
    check(b"--max-body" in h.until(DATA, 1)[3], "HTTP/2: and says which")
    h.open(3, "GET", "/v2/health/live")
    check(h.status(3) == 200, "HTTP/2: the connection lives")
    h.close()
    held = [dial(s.port) for _ in range(5)]
    for c in held:
        c.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        try:
            c.sendall(over[:950000])
        except OSError:
            pass
        time.sleep(0.05)
    got = read_answer(held[-1])
    check(got and got[0] == 503, ("all bodies together", got))
    check(s.ask("GET", "/v2/health/live")[0] == 200, "others are served")
    for c in held:
        c.close()
    check(wait_for(lambda: "cabochon_request_body_bytes 0\n" in s.ask("GET", "/metrics")[2].decode()), "the budget is whole again")
    c = dial(s.port)
    c.sendall(request("POST", "/predict", over[:900000]))
    check(read_answer(c)[0] == 400, "room again")
    c.close()
    s.stop()


def resets(build):
    """Streams reset as fast as they are opened, by the client or by what it makes the server do (CVE-2023-44487)."""
    s = Server(build, "--drain-ms=0")
    s.register("slow", slow())
    by_client = lambda h, i: (frame(HEADERS, END_HEADERS | END_STREAM, i, block("GET", "/v2/health/live")), frame(RST, 0, i, struct.pack(">I", 8)))
    without_error = lambda h, i: (frame(HEADERS, END_HEADERS, i, block("POST", "/predict")), frame(RST, 0, i, struct.pack(">I", 0)))
    by_server = lambda h, i: (frame(HEADERS, END_HEADERS, i, block("POST", "/predict")), frame(WINDOW, 0, i, struct.pack(">I", 0)))
    for how in (by_client, without_error, by_server):
        h = H2(s.port)
        sent = 0
        try:
            for i in range(1, 200001, 2):
                h.send(*how(h, i))
                sent += 1
        except OSError:
            pass
        check(sent < 20000, ("reset in haste", how, sent))
        h.close()
    h = H2(s.port)                     # one that lets answers through now and then is served on
    for i in range(1, 801, 4):
        h.open(i, "GET", "/v2/health/live")
        check(h.status(i) == 200, "answered") if i % 100 == 1 else h.status(i)
        h.open(i + 2, "POST", "/predict", end=False)
        h.send(frame(RST, 0, i + 2, struct.pack(">I", 8)))
    h.open(1001, "GET", "/v2/health/live")
    check(h.status(1001) == 200, "some resets are no fault")
    h.close()
    # frames without end
    h = H2(s.port)
    h.s.settimeout(0.5)
    h.send(frame(HEADERS, 0, 1, block("POST", "/predict")))
    sent = 0
    try:
        for i in range(20000):
            h.send(frame(CONTINUATION, 0, 1, block("GET", "/")[20:] * 10))
            sent += 1
    except OSError:
        pass
    check(s.ask("GET", "/v2/health/live")[0] == 200, "a head without end: others are served")
    h.close()
    h = H2(s.port)
    h.s.settimeout(0.5)
    try:
        for i in range(2000):
            h.send(frame(PING, 0, 0, b"12345678") * 100)
    except OSError:
        pass
    check(rss(s.pid) < 400 << 20 and s.ask("GET", "/v2/health/live")[0] == 200, "pings whose answers nobody reads")
    h.close()
    s.stop()


def later(build):
    """Answers from another thread, while the streams beside them come and go in any order."""
    carry = Carry(build)
    h = H2(carry.port)
    for round in range(20):
        first = 1 + 100 * round
        for k in range(40):
            h.open(first + 2 * k, "GET", "/later")
        for k in range(0, 40, 3):
            h.send(frame(RST, 0, first + 2 * k, struct.pack(">I", 8)))
        want = {first + 2 * k for k in range(40) if k % 3}
        while want:
            f = h.read()
            if f is None:
                break
            if f[0] == HEADERS:
                want.discard(f[2])
        if not check(not want, ("answers of other threads", round, len(want))):
            break
    for k in range(50):
        h.open(5001 + 2 * k, "GET", "/later")
    h.close()                          # all of them under way
    clients = [dial(carry.port) for _ in range(50)]
    for c in clients:
        c.sendall(request("GET", "/later"))
        c.close()
    time.sleep(0.2)
    last, rc = carry.stop()
    check(rc == 0 and last == "0 connections, 0 bytes left", ("what is left", last, rc))


def message(value):
    """A ModelInferRequest for x of [1, 1], with its prefix."""
    x = kit._field(1, "x") + kit._field(2, "FP32") + kit._field(3, b"\1\1")
    m = kit._field(1, "wide") + kit._field(5, x) + kit._field(7, struct.pack("<f", value))
    return prefixed(m)


def messages(build):
    """A stream whose client asks much before it reads: every message is answered, in order, and the budget is whole after."""
    width, n = 50000, 40
    s = Server(build, "--drain-ms=0")
    s.register("wide", model([node("MatMul", ["x", "w"], ["y"])], [value_info("x", ["n", 1])], [value_info("y", ["n", width])],
                             [constant("w", [1, width], [1.0] * width)]))
    for reads in (True, False):
        h = H2(s.port)
        h.open(1, "POST", RPCS + "ModelStreamInfer", ("content-type", "application/grpc"), end=False)
        for i in range(n):
            h.send(frame(DATA, END_STREAM if i == n - 1 else 0, 1, message(float(i))))
        time.sleep(0.3)                # answers of 8 MB for a window of 64 KB
        check(rss(s.pid) < (200 << 20) * patience(build), ("memory", rss(s.pid) >> 20))
        got, trailers = b"", None
        while reads:
            f = h.read()
            if f is None or f[0] == RST:
                break
            if f[0] == DATA and f[3]:
                got += f[3]
                h.send(frame(WINDOW, 0, 0, struct.pack(">I", len(f[3]))), frame(WINDOW, 0, 1, struct.pack(">I", len(f[3]))))
            if f[0] == HEADERS and f[1] & END_STREAM:
                trailers = f[3]
                break
        at, values = 0, []
        while at + 5 <= len(got):
            size = int.from_bytes(got[at + 1:at + 5], "big")
            values.append(struct.unpack("<f", got[at + 5 + size - 4:at + 5 + size])[0])
            at += 5 + size
        if reads:
            check(values == [float(i) for i in range(n)] and trailers and b"0" in trailers, ("messages", len(values), values[:5], trailers))
        h.close()
    check(wait_for(lambda: "cabochon_request_body_bytes 0\n" in s.ask("GET", "/metrics")[2].decode()), "the budget is whole again")
    s.stop()


def removed_while_built(build):
    """A compile child that hangs holds up those behind it until its version is removed; then it ends at once."""
    s = Server(build, "--drain-ms=0", "--build-seconds=60")
    s.register("hang", slow(4000, 64), wait=False)
    s.register("behind", linear(7.0, 7.0), wait=False)
    child, end = None, time.time() + 10
    while time.time() < end and not child:
        for task in os.listdir("/proc/%d/task" % s.pid):
            with open("/proc/%d/task/%s/children" % (s.pid, task)) as f:
                child = child or f.read().split()
    os.kill(int(child[0]), signal.SIGSTOP)
    waits = threading.Thread(target=lambda: got.append(s.register("hang", slow(4000, 64))))
    got = []
    waits.start()
    check(s.ask("DELETE", "/v2/models/behind")[0] == 200, "one that waits in the queue is removed")
    time.sleep(0.2)
    t = time.time()
    check(s.ask("DELETE", "/v2/models/hang")[0] == 200, "removed")
    waits.join(20)
    check(got and got[0][0] == 404, ("who waited for it is told", got))
    check(s.register("small", linear())[0] == 201 and time.time() - t < 5 * SLACK * patience(build), ("the next is built", time.time() - t))
    check(s.register("behind", linear(7.0, 7.0))[0] == 201, "and what was removed can be registered again")
    check(s.stop() == 0, "ends with 0")


def main():
    build = sys.argv[1]
    later(build)
    messages(build)
    bodies(build)
    answers(build)
    resets(build)
    removed_while_built(build)
    s = Server(build, "--drain-ms=0", "--threads=1", "--log-requests=1")
    s.register("slow", slow(STEPS))
    rows = rows_for(s, 1.0)
    for part in (cancelled, cancelled_http2, deadlines):
        part(s, rows)
    heads(s)
    extremes(s)
    check(s.stop() == 0, "ends with 0")
    full(build, rows)
    verdict("limits.py")


main()
