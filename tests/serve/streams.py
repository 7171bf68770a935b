# SPDX-License-Identifier: Apache-2.0
"""streams.py BUILD: streams of gRPC messages, and what else HTTP/2 asks of a server: whose turn it is, how long a client may
take, windows that hold a fast one back, how a call ends."""
import os, shutil, subprocess, sys, tempfile, threading, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kit
from kit import *
from wire import *

GRPC = ("content-type", "application/grpc")
STREAM = RPCS + "ModelStreamInfer"


def message(name="linear", rows=1, width=1, x="x", raw=None, typed=None, parameter=None):
    """A ModelInferRequest for x of [rows, width]; typed: by its contents."""
    f = kit._field
    tensor = f(1, x) + f(2, "FP32") + f(3, kit._varint(rows) + kit._varint(width)) + (b"" if typed is None else f(5, typed))
    m = f(1, name) + f(5, tensor) + (f(7, struct.pack("<%df" % (rows * width), *[1.0] * (rows * width)) if raw is None else raw) if typed is None else b"")
    return m + (f(4, f(1, parameter[0]) + f(2, f(2, parameter[1]))) if parameter else b"")


def messages(data):
    """The messages of an answer."""
    out, at = [], 0
    while at + 5 <= len(data):
        n = at + 5 + int.from_bytes(data[at + 1:at + 5], "big")
        if n > len(data):
            break
        out.append(data[at + 5:n])
        at = n
    return out


class Talk(H2):
    """A client that keeps to the server's windows, and reads all the while: what the server says is in `data`, `ended`."""

    def __init__(self, port, *settings):
        super().__init__(port, *settings)
        self.s.settimeout(60)
        self.left = {0: 65535}
        self.lock, self.data, self.ended, self.last = threading.Condition(), b"", None, b""
        self.send(frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)))

    def begin(self, path=STREAM, *fields, method="POST"):
        self.open(1, method, path, GRPC, ("te", "trailers"), *fields, end=False)
        self.left[1] = 1 << 20         # as its SETTINGS say
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def listen(self):
        while self.ended is None:
            f = self.read()
            with self.lock:
                if f is None:
                    self.ended = "closed"
                elif f[0] == WINDOW:
                    self.left[f[2]] += struct.unpack(">I", f[3])[0]
                elif f[0] == DATA:
                    self.data += f[3]
                elif f[0] == RST:
                    self.ended = "reset %d" % struct.unpack(">I", f[3])[0]
                elif f[0] == HEADERS and f[1] & END_STREAM:
                    self.ended, self.last = "trailers", f[3]
                self.lock.notify()

    def say(self, data, end=False, seconds=30):
        """-> bytes sent before the end, or before the time was over"""
        until, at = time.time() + seconds, 0
        if end and not data:
            self.send(frame(DATA, END_STREAM, 1))
        while at < len(data):
            with self.lock:
                while min(self.left.values()) < 1 and self.ended is None and time.time() < until:
                    self.lock.wait(0.1)
                n = min(16384, len(data) - at, *self.left.values())
                if self.ended is not None or n < 1:
                    return at
                for k in self.left:
                    self.left[k] -= n
            at += n
            self.send(frame(DATA, END_STREAM if end and at == len(data) else 0, 1, data[at - n:at]))
        return at

    def wait(self, seconds=30):
        """-> how it ended; None: it has not"""
        with self.lock:
            self.lock.wait_for(lambda: self.ended is not None, seconds)
        return self.ended

    def code(self):
        """grpc-status of the last fields (its name as HPACK has it, two digits are no shorter so); None: none"""
        _, name, value = self.last.partition(b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f")
        return value[1:1 + value[0]].decode() if name else None


def held(s):
    return int(next(l for l in s.ask("GET", "/metrics")[2].decode().splitlines() if l.startswith("cabochon_request_body_bytes ")).split()[1])


# ---- turns ----

def turns(build):
    """Many messages that waited for a window, requests and resets in one go: nobody else waits for them."""
    s = Server(build, "--drain-ms=0")
    s.register("linear", linear())
    probe = Probe(s.port, request("GET", "/v2/health/live"))
    probe.start()

    def worst(what):
        time.sleep(1)
        slow = max(probe.times)
        check(slow < 0.1 * SLACK * patience(build), ("others wait", what, slow))
        del probe.times[:]
    worst("for nothing")
    t = Talk(s.port, (4, 0)).begin()
    sent = t.say(b"\0" * 5 * 300000, seconds=3)
    worst("while they come")
    check((1 << 20) <= sent < (2 << 20), ("what a window and an answer's buffer hold", sent))
    t.send(frame(WINDOW, 0, 1, struct.pack(">I", 1 << 30)))
    worst("while they are answered")
    t.say(b"\0" * 5, end=True)
    check(t.wait() == "trailers" and len(messages(t.data)) == sent // 5 + 1, ("all are answered", t.ended, len(messages(t.data)), sent // 5))
    t.close()
    for rst in (False, True):
        for path, n in (("/metrics", 250), ("/openapi.json", 250)):
            h = H2(s.port)
            h.send(*[frame(HEADERS, END_HEADERS | END_STREAM, i, block("GET", path)) + (frame(RST, 0, i, struct.pack(">I", 8)) if rst else b"")
                     for i in range(1, 2 * n, 2)])
            worst((path, rst))
            h.close()
    probe.stop()
    check(not probe.bad, ("and all are answered", probe.bad[:3]))
    s.stop()


# ---- windows ----

def windows(build):
    """A client that sends faster than it is answered waits: nothing is lost, though all of it is far over the limit of one."""
    s = Server(build, "--drain-ms=0", "--max-body=256K", "--inline-us=0")
    s.register("slow", slow(12))
    m, n = prefixed(message("slow", 48, 512)), 40
    t = Talk(s.port, (4, 1 << 24)).begin()
    most, seen = [0], []

    def watch():
        while t.ended is None:
            most[0] = max(most[0], held(s))
            time.sleep(0.01)
    w = threading.Thread(target=watch)
    w.start()
    sent = t.say(m * n, end=True, seconds=60)
    check(t.wait(60) == "trailers", ("a fast stream", t.ended))
    w.join()
    check(sent == len(m) * n and len(messages(t.data)) == n, ("all messages", sent, len(m) * n, len(messages(t.data))))
    check(most[0] < 2 << 20, ("bytes held meanwhile", most))
    t.close()
    t = Talk(s.port).begin()           # one that is longer than a window, behind another
    long = prefixed(message("slow", 48, 512)) + prefixed(message("slow", 600, 512))
    t.say(long)
    check(t.wait(10) == "trailers" and len(messages(t.data)) == 1, ("a message over the limit", t.ended, len(messages(t.data))))
    t.close()
    s.stop()
    s = Server(build, "--drain-ms=0")
    s.register("echo", identity(1024))
    t = Talk(s.port, (4, 1 << 24)).begin()
    long = prefixed(message("echo", 1500, 1024))
    t.say(prefixed(message("echo", 1, 1024)) + long + long, end=True)
    check(t.wait(20) == "trailers" and [len(a) for a in messages(t.data)][1:] == [len(messages(t.data)[1])] * 2 and len(t.data) > 2 * 1500 * 4096,
          ("messages longer than a window", t.ended, [len(a) for a in messages(t.data)]))
    t.close()
    check(held(s) == 0, "the budget is whole")
    s.stop()


# ---- time ----

def times(build):
    """Bytes now and then earn no more than they are; a stream that waits for its client's next message may rest."""
    s = Server(build, "--drain-ms=0", "--body-ms=600", "--write-ms=600", "--idle-ms=2500")
    s.register("linear", linear())
    some = b"\0" + struct.pack(">I", 1 << 20) + b"x" * 1000
    rows = (("one message", (), some, b"\0", 0.3, 2.0), ("answers that nobody takes", ((4, 0),), prefixed(b"") * 9000, b"\0", 0.3, 2.0),
            ("answers that nobody takes, whole messages", ((4, 0),), prefixed(message()), prefixed(message()), 0.3, 2.0),
            ("at rest", ((4, 1 << 24),), prefixed(message()), b"", 2.0, 4.0),
            ("messages now and then", ((4, 1 << 24),), prefixed(message()), prefixed(message()), None, 3.5))
    for what, settings, first, more, least, most in rows:
        t = Talk(s.port, *settings).begin()
        t.say(first)
        began = time.time()
        while t.wait(0.1) is None and time.time() - began < most * SLACK:
            try:
                t.say(more)
            except OSError:
                break
            if least is None and time.time() - began > most:
                break
        took = time.time() - began
        if least is None:
            check(t.ended is None, ("stays", what, t.ended))
        else:
            check(t.ended == "reset 8" and least < took < most * SLACK, ("is cut", what, t.ended, took))
        t.close()
    s.stop()


# ---- how calls end ----

def ends(build):
    root = tempfile.mkdtemp(prefix="cab-serve-")
    line = subprocess.run([os.path.join(build, "cab-serve"), "--hash-token"], input="secret", capture_output=True, text=True).stdout.split()[0]
    with open(os.path.join(root, "tokens"), "w") as f:
        f.write(line + " admin me\n")
    s = Server(build, "--drain-ms=0", "--max-body=64K", "--tokens=" + os.path.join(root, "tokens"), root=root)
    token = {"Authorization": "Bearer secret"}
    st = s.ask("POST", "/register", dict(name="linear", model=base64.b64encode(linear()).decode()), token)[0]
    check(st == 201, ("register", st))
    good, one = [("authorization", "Bearer secret")], prefixed(message())
    big = b"\0" + struct.pack(">I", 1 << 20)
    # what, path, body, fields -> grpc-status, messages before it
    rows = (("all is well", STREAM, one * 3, good, "0", 3), ("nothing is asked", STREAM, b"", good, "0", 0),
            ("no token", STREAM, one, [], "16", 0), ("no such service", "/no.Such/ModelStreamInfer", one, good, "12", 0),
            ("no such service, nothing", "/no.Such/ModelStreamInfer", b"", good, "12", 0),
            ("half a message", STREAM, one + one[:20], good, "13", 1), ("half a prefix", STREAM, one + one[:3], good, "13", 1),
            ("too long", STREAM, one * 2 + big, good, "8", 2), ("a flag of 7", STREAM, b"\7" + one[1:], good, "0", 1),
            ("an error, and on", STREAM, prefixed(message("nobody")) + one, good, "0", 2))
    for what, path, body, fields, status, n in rows:
        t = Talk(s.port).begin(path, *fields)
        t.say(body, end=True)
        t.wait(5)
        check((t.code(), len(messages(t.data))) == (status, n), ("end of a stream", what, t.ended, t.last, t.data))
        t.close()
    for method in ("GET", "PUT", "HEAD"):
        for call in ("ModelInfer", "ModelStreamInfer", "ServerLive"):
            t = Talk(s.port).begin(RPCS + call, *good, method=method)
            t.say(b"", end=True)
            t.wait(5)
            check(t.code() == "12", ("no POST", method, call, t.ended, t.last))
            t.close()
    s.stop()
    shutil.rmtree(root)


def texts(s):
    """An error's text: as it is in a message, encoded in a field; always whole characters."""
    name = "50% \u00fc"
    code, head, out = rpc(s, 0, message(x=name), call="ModelStreamInfer")
    check(code == "0" and ("input '%s' for" % name).encode() in out, ("in a stream", head, out))
    code, head, _ = rpc(s, 0, message(x=name))
    check(code == "3" and "input '50%25 %c3%bc' for" in head, ("in a field", code, head))
    for cut in range(4):
        out = rpc(s, 0, message(x="a" * cut + "\u20ac" * 90), call="ModelStreamInfer")[2]
        try:
            check("\u20ac" * 20 in out[9:].decode(), ("cut", cut, out))
        except UnicodeDecodeError as e:
            check(False, ("cut within a character", cut, e))


def nothing(s):
    """Tensors without elements."""
    for call in ("ModelInfer", "ModelStreamInfer"):
        for more in (dict(raw=b""), dict(typed=b"")):
            code, _, out = rpc(s, 0, message(rows=0, **more), call=call)
            check(code == "0" and b"\x1a\x02\x00\x01" in out, ("no rows", call, more, code, out))


def patient(s):
    """grpc-timeout: the deadline of the call, or the request's own where that is sooner."""
    late, run, parameter = b"deadline", b"FP32", lambda us: dict(parameter=("timeout", us))
    for timeout, more, want in (("1n", {}, 4), ("0S", {}, 4), ("1u", {}, 4), ("20S", {}, 0), ("99999999H", {}, 0), ("20S", parameter(20000000), 0),
                                ("1n", parameter(20000000), 4), ("20S", parameter((1 << 63) - 1), 0), ("123456789n", {}, 3), ("5x", {}, 3), ("S", {}, 3), ("-5S", {}, 3)):
        m, field = message(**more), "grpc-timeout: " + timeout
        code, head, _ = rpc(s, 0, m, field)
        check(code == str(want), ("grpc-timeout", timeout, more, code, head))
        out = rpc(s, 0, m, field, call="ModelStreamInfer")[2]
        check({4: late, 0: run, 3: b"grpc-timeout"}[want] in out, ("grpc-timeout of a stream", timeout, more, out))


def expects(s):
    """A body that waits to be asked for."""
    for value, want in (("100-continue", 100), ("100-Continue", 100), ("magic", 417)):
        h = H2(s.port)
        h.open(1, "POST", "/predict", ("expect", value), ("content-length", "8"), end=False)
        got = h.status(1)
        check(got == want, ("expects", value, got))
        if want == 100:
            h.send(frame(DATA, END_STREAM, 1, b'{"X": 5}'))
            check(h.status(1) == 200, ("and then", value))
        h.close()
    h = H2(s.port)
    h.open(1, "GET", "/v2/health/live", ("expect", "100-continue"))
    check(h.status(1) == 200, "no body to ask for")
    h.close()


def farewell(s):
    """A client that resets too much is told so."""
    h = H2(s.port)
    h.send(*[frame(HEADERS, END_HEADERS, i, block("POST", "/predict")) + frame(RST, 0, i, struct.pack(">I", 8)) for i in range(1, 801, 2)])
    f = h.until(GOAWAY)
    check(f and f[3][4:8] == struct.pack(">I", 11), ("GOAWAY", f))
    check(h.read() is None, "and the end")
    h.close()


def main():
    build = sys.argv[1]
    s = Server(build, "--drain-ms=0")
    s.register("linear", linear())
    for part in (texts, nothing, patient, expects, farewell):
        part(s)
    check(s.stop() == 0, "ends with 0")
    for part in (ends, times, windows, turns):
        part(build)
    verdict("streams.py")


main()
