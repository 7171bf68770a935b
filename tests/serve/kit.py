# SPDX-License-Identifier: Apache-2.0
"""What tests of the server share: a server of their own, requests, counting, small models."""
import atexit, base64, http.client, json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, time

passed = failed = 0


def check(ok, what):
    """Counts; says what failed."""
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED: %s" % (what,), flush=True)
    return ok


def verdict(name):
    print("%s: %d passed, %d failed" % (name, passed, failed))
    sys.exit(1 if failed else 0)


# ---- models, written as protobuf by hand: the server's tests need no onnx package ----

def _varint(v):
    out = b""
    v &= (1 << 64) - 1
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def _field(n, v):
    if isinstance(v, int):
        return _varint(n << 3) + _varint(v)
    v = v.encode() if isinstance(v, str) else v
    return _varint(n << 3 | 2) + _varint(len(v)) + v


def value_info(name, dims, dtype=1):
    shape = b"".join(_field(1, _field(1, d) if isinstance(d, int) else _field(2, d)) for d in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, dtype) + _field(2, shape)))


def constant(name, dims, floats):
    import struct
    return (b"".join(_field(1, d) for d in dims) + _field(2, 1) + _field(8, name) +
            _field(9, struct.pack("<%df" % len(floats), *floats)))


def node(op, inputs, outputs):
    return b"".join(_field(1, i) for i in inputs) + b"".join(_field(2, o) for o in outputs) + _field(4, op)


def model(nodes, inputs, outputs, constants=()):
    graph = (b"".join(_field(1, n) for n in nodes) + _field(2, "g") + b"".join(_field(5, c) for c in constants) +
             b"".join(_field(11, i) for i in inputs) + b"".join(_field(12, o) for o in outputs))
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, graph)


def linear(a=3.0, b=2.0):
    """y = a x + b, x of any number of rows."""
    return model([node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])],
                 [value_info("x", ["n", 1])], [value_info("y", ["n", 1])],
                 [constant("w", [1, 1], [a]), constant("b", [1], [b])])


def identity(width=16):
    return model([node("Identity", ["x"], ["y"])], [value_info("x", ["n", width])], [value_info("y", ["n", width])])


def slow(steps=24, width=512):
    """A chain of products: some milliseconds a row batch."""
    import random
    r = random.Random(1)
    w = [r.uniform(-0.04, 0.04) for _ in range(width * width)]
    nodes, last = [], "x"
    for i in range(steps):
        nodes += [node("MatMul", [last, "w"], ["m%d" % i]), node("Tanh", ["m%d" % i], ["t%d" % i])]
        last = "t%d" % i
    nodes.append(node("Identity", [last], ["y"]))
    return model(nodes, [value_info("x", ["n", width])], [value_info("y", ["n", width])],
                 [constant("w", [width, width], w)])


# Bounds of time are met on a quiet machine (make serve-strict); ./check runs beside other work and allows five times as much.
SLACK = float(os.environ.get("CAB_SLACK", "1"))


def patience(build):
    """By how much times are longer in a build with sanitizers."""
    return 10 if "san" in os.path.basename(os.path.abspath(build)) else 1


# ---- a server ----

class Server:
    """cab-serve on free ports of 127.0.0.1, in a folder of its own."""

    def __init__(self, build, *flags, root=None, wait=True, env=None, before=(), fds=()):
        """before: a command that becomes the server; fds: descriptors that it has, too."""
        self.build = build
        self.own = root is None
        self.root = root or tempfile.mkdtemp(prefix="cab-serve-")
        self.log = os.path.join(self.root, "log.txt")
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        self.seen = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        self.urls = {}
        args = [os.path.join(build, "cab-serve"), "--root", os.path.join(self.root, "registry"), "--log", self.log]
        if not any(f.startswith("--listen=") for f in flags):
            args.append("--listen=127.0.0.1:0")
        self.p = subprocess.Popen(list(before) + args + list(flags), stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})),
                                  pass_fds=fds)
        self.pid = self.p.pid
        atexit.register(self.end)
        if wait:
            self.wait_ready()

    def lines(self):
        try:
            with open(self.log) as f:
                f.seek(self.seen)
                return [json.loads(l) for l in f if l.endswith("\n")]
        except FileNotFoundError:
            return []

    def lines_of(self, test, n, seconds=5):
        """The lines that are so, as soon as there are n of them, and for a moment more: a line comes when its answer has gone."""
        end = time.time() + seconds
        while time.time() < end and sum(1 for l in self.lines() if test(l)) < n:
            time.sleep(0.005)
        time.sleep(0.02)
        return [l for l in self.lines() if test(l)]

    def wait_ready(self, n=1, seconds=20):
        end = time.time() + seconds
        while time.time() < end:
            ready = [l for l in self.lines() if l["event"] == "ready"]
            if len(ready) >= n:
                for url in ready[-1]["text"].split(",")[0].split():
                    self.urls.setdefault(url.split(":")[0], []).append(int(url.rsplit(":", 1)[1]))
                self.port = self.urls["http"][0] if "http" in self.urls else None
                self.tls = self.urls["https"][0] if "https" in self.urls else None
                return
            if self.p.poll() is not None and n == 1:
                raise RuntimeError("the server ended with %s: %s" % (self.p.returncode, self.lines()))
            time.sleep(0.01)
        raise RuntimeError("the server is not ready: %s" % self.lines())

    def connection(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, timeout=60):
        """-> (status, headers, body: parsed when it is JSON)"""
        c = self.connection(timeout)
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        c.request(method, path, data, headers or {})
        r = c.getresponse()
        raw = r.read()
        c.close()
        if raw and r.headers.get("Content-Type") == "application/json" and not r.headers.get("Content-Encoding"):
            raw = json.loads(raw)
        return r.status, r.headers, raw

    def register(self, name, onnx, **more):
        return self.ask("POST", "/register", dict(name=name, model=base64.b64encode(onnx).decode(), **more))

    def infer(self, name, x, **more):
        flat = [v for row in x for v in row]
        return self.ask("POST", "/v2/models/%s/infer" % name,
                        dict(inputs=[dict(name="x", datatype="FP32", shape=[len(x), len(x[0])], data=flat)], **more))

    def end(self):
        """However the test ended."""
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()

    def stop(self, sig=signal.SIGTERM, seconds=20):
        """-> exit status"""
        if self.p.poll() is None:
            self.p.send_signal(sig)
        try:
            rc = self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            rc = self.p.wait()
        if self.own:
            shutil.rmtree(self.root, ignore_errors=True)
        return rc


def raw(port, data, seconds=5.0):
    """Sends bytes, reads until the server closes or the time is over -> bytes."""
    s = socket.create_connection(("127.0.0.1", port), seconds)
    s.settimeout(seconds)
    got = b""
    try:
        s.sendall(data)
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
    except OSError:
        pass
    s.close()
    return got


def certificate(folder):
    """A key and a certificate for localhost -> their files."""
    key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    return cert, key
