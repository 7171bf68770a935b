# SPDX-License-Identifier: Apache-2.0
"""What tests send and measure below http.client: raw sockets, HTTP/2 frames, other threads, processes' figures."""
import os, select, socket, struct, subprocess, tempfile, threading, time


class Carry:
    """tests/serve/carry: the connections without models."""

    def __init__(self, build, *args):
        self.p = subprocess.Popen([os.path.join(build, "tests/serve/carry"), *args], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.port, self.tls = map(int, self.p.stdout.readline().split())
        self.pid = self.p.pid

    def stop(self):
        """-> the last line, exit status"""
        out, _ = self.p.communicate(timeout=60)
        return out.strip(), self.p.returncode


def dial(port, seconds=10.0):
    s = socket.create_connection(("127.0.0.1", port), seconds)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_answer(s):
    """One HTTP/1.1 answer with a Content-Length -> (status, head, body); None at the end."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = s.recv(65536)
        if not piece:
            return None
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    n = 0
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(b"content-length:"):
            n = int(line.split(b":")[1])
    parts = [body]
    left = n - len(body)
    while left > 0:
        piece = s.recv(min(left, 1 << 20))
        if not piece:
            return None
        parts.append(piece)
        left -= len(piece)
    return int(head.split(b" ")[1]), head, b"".join(parts)


def request(method, path, body=b"", fields=b""):
    return (b"%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n" % (method.encode(), path.encode(), len(body), fields)) + body


def ended(s, seconds):
    """Whether the other side ends the connection within that time; what it sends is thrown away."""
    end = time.time() + seconds
    while time.time() < end:
        ready, _, _ = select.select([s], [], [], max(0, end - time.time()))
        if not ready:
            return False
        try:
            if not s.recv(1 << 16):
                return True
        except OSError:
            return True
    return False


# ---- HTTP/2 ----

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in pairs))


def block(method, path, *fields):
    """A header block of literals without an index."""
    out = b""
    for k, v in ((":method", method), (":path", path), (":scheme", "http"), (":authority", "a")) + fields:
        k, v = k.encode(), v.encode()
        out += b"\0" + _text(k) + _text(v)
    return out


def _text(t):
    if len(t) < 127:
        return bytes([len(t)]) + t
    n, out = len(t) - 127, bytes([127])
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n]) + t


class H2:
    """A client that sends what it is told and reads frames."""

    def __init__(self, port, *settings):
        self.s = dial(port)
        self.got = b""
        self.s.sendall(PREFACE + setting(*settings))
        self.until(SETTINGS)           # the server's windows hold from its acknowledgement on
        self.send(frame(SETTINGS, ACK, 0))

    def send(self, *frames):
        self.s.sendall(b"".join(frames))

    def open(self, stream, method, path, *fields, end=True):
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(method, path, *fields)))

    def read(self):
        """-> (kind, flags, stream, payload); None at the end."""
        try:
            while len(self.got) < 9 or len(self.got) < 9 + int.from_bytes(self.got[:3], "big"):
                piece = self.s.recv(1 << 16)
                if not piece:
                    return None
                self.got += piece
        except OSError:
            return None
        n = int.from_bytes(self.got[:3], "big")
        head, payload, self.got = self.got[:9], self.got[9:9 + n], self.got[9 + n:]
        return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, payload

    def until(self, kind, stream=None):
        """The next frame of that kind; None at the end."""
        while True:
            f = self.read()
            if f is None or (f[0] == kind and stream in (None, f[2])):
                return f

    def status(self, stream):
        """:status of an answer (a literal, or of the static table); None: reset, or the end."""
        static = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
        while True:
            f = self.read()
            if f is None or (f[0] == RST and f[2] == stream):
                return None
            if f[0] == HEADERS and f[2] == stream:
                p = f[3]
                if p[0] & 128:
                    return static.get(p[0] & 127)
                at = 1 if p[0] & 15 else 2 + p[1]      # :status by its index (8..14: 4 or 6 bits hold it)
                return int(_huffman_digits(p[at + 1:at + 1 + (p[at] & 127)]) if p[at] & 128 else p[at + 1:at + 1 + p[at]])

    def close(self):
        self.s.close()


def _huffman_digits(b):
    """Digits as HPACK's code has them (RFC 7541, B): 5 bits for 0, 1, 2; 6 for the others."""
    codes = {(5, i): str(i) for i in range(3)}
    codes.update({(6, 0x19 + i - 3): str(i) for i in range(3, 10)})
    bits, out = "".join("{:08b}".format(c) for c in b), ""
    while len(out) < 3:
        for n in (5, 6):
            if (n, int(bits[:n], 2)) in codes:
                out, bits = out + codes[n, int(bits[:n], 2)], bits[n:]
                break
        else:
            raise ValueError("no digit")
    return out


# ---- whole answers of HTTP/2 and gRPC ----


def curl(s, path, body, *fields, flag="--http2-prior-knowledge"):
    """-> (head and trailers, body)"""
    with tempfile.NamedTemporaryFile() as f, tempfile.NamedTemporaryFile() as h:
        f.write(body)
        f.flush()
        more = [a for x in fields for a in ("-H", x)]
        out = subprocess.run(["curl", "-s", flag, "-D", h.name, "--data-binary", "@" + f.name, *more, "http://127.0.0.1:%d%s" % (s.port, path)],
                             capture_output=True, timeout=30).stdout
        return h.read().decode().lower(), out


RPCS = "/inference.GRPCInferenceService/"


def prefixed(message, flag=0):
    return bytes([flag]) + struct.pack(">I", len(message)) + message


def rpc(s, flag, body, *fields, call="ModelInfer"):
    """-> (grpc-status, head and trailers, body)"""
    head, out = curl(s, RPCS + call, prefixed(body, flag), "content-type: application/grpc", "te: trailers", *fields)
    code = [l.split(":")[1].strip() for l in head.split("\r\n") if l.startswith("grpc-status")]
    return code[-1] if code else None, head, out


# ---- figures ----

def rss(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(l.split()[1]) for l in f if l.startswith("Rss:")) << 10


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def quantile(values, q):
    v = sorted(values)
    return v[min(len(v) - 1, int(q * len(v)))] if v else float("inf")


class Probe(threading.Thread):
    """Asks again and again on a connection kept alive (opened anew when it ended), noting times and failures."""

    def __init__(self, port, data, pause=0.002, fresh=False):
        super().__init__(daemon=True)
        self.port, self.data, self.pause, self.fresh = port, data, pause, fresh
        self.times, self.bad, self.ending, self.statuses = [], [], False, {}

    def once(self, s):
        s.sendall(self.data)
        return read_answer(s)

    def run(self):
        s = None
        while not self.ending:
            t = time.perf_counter()
            try:
                reused = s is not None
                s = s or dial(self.port)
                got = self.once(s)
                if got is None and reused:     # closed before a byte of the answer, on a connection used before
                    s.close()
                    s = dial(self.port)
                    got = self.once(s)
                if got is None:
                    raise OSError("closed without an answer")
                self.statuses[got[0]] = self.statuses.get(got[0], 0) + 1
                self.answer(got)
                if self.fresh or b"onnection: close" in got[1]:
                    s.close()
                    s = None
            except OSError as e:
                self.bad.append(e)
                if s:
                    s.close()
                s = None
            self.times.append(time.perf_counter() - t)
            if self.pause:
                time.sleep(self.pause)
        if s:
            s.close()

    def answer(self, got):
        if got[0] != 200:
            self.bad.append(got)

    def stop(self):
        self.ending = True
        self.join(30)
        return self


def fit(points):
    """The slope of a line through (x, y)."""
    n = len(points)
    mx, my = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
    d = sum((p[0] - mx) ** 2 for p in points)
    return sum((p[0] - mx) * (p[1] - my) for p in points) / d if d else 0.0
