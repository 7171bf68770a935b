# SPDX-License-Identifier: Apache-2.0
"""client.py BUILD: cab client against a server: every command, and what it says when something is wrong."""
import os, sys, tempfile, threading, time
sys.path.insert(0, os.path.dirname(__file__))
from kit import *

build = sys.argv[1]


def client(*args, env=None):
    """-> (exit status, stdout, stderr)"""
    r = subprocess.run([os.path.join(build, "cab"), "client", *args], capture_output=True, text=True, timeout=60,
                       env=dict(os.environ, **(env or {})))
    return r.returncode, r.stdout, r.stderr


def calls(s, url, folder):
    file = os.path.join(folder, "m.onnx")
    with open(file, "wb") as f:
        f.write(identity(4))
    rc, out, err = client("register", url, "echo", file, "--config", '{"instance_group": [{"count": 2}]}')
    check(rc == 0 and out == "echo version 1 is ready\n", ("register", rc, out, err))
    rc, out, err = client("register", url, "numbered", file, "--version", "9")
    check(rc == 0 and out == "numbered version 9 is ready\n", ("register a version", rc, out, err))
    config = {"output": [{"name": "y", "labels": ["class & %d" % i for i in range(2000)]}]}
    rc, out, err = client("register", url, "numbered", file, "--config", json.dumps(config))
    check(rc == 0 and out == "numbered version 10 is ready\n", ("register with a long configuration", rc, out, err))
    check(s.ask("GET", "/v2/models/numbered/config")[2]["output"][0]["labels"] == config["output"][0]["labels"], "all of it")
    check(s.ask("DELETE", "/v2/models/numbered")[0] == 200, "removed")
    rc, out, _ = client("models", url)
    check(rc == 0 and out.splitlines()[1].split() == ["echo", "1", "READY"], ("models", rc, out))
    rc, out, _ = client("infer", url, "echo", "--random", "7", "--shape", "x=2,4", "--json")
    first = json.loads(out)["outputs"][0]
    check(rc == 0 and first["shape"] == [2, 4] and len(set(first["data"])) == 8, ("infer --json", rc, out))
    check(client("infer", url, "echo", "--version=1", "--random", "7", "--shape", "x=2,4", "--output-dir", folder)[0] == 0, "a file")
    rc, out, _ = client("infer", url, "echo", "--input", "x=" + os.path.join(folder, "y.npy"))
    check(rc == 0 and out.startswith("y: FP32[2, 4]  first [") and json.loads(out.split("first ")[1]) == first["data"],
          ("what was written is read again", rc, out))


def complaints(url, folder):
    file = os.path.join(folder, "m.onnx")
    for args, want, text in ((("infer", url, "none", "--random", "1"), 1, "404"), (("infer", url, "echo"), 2, "--input x=FILE"),
                             (("infer", url, "echo", "--random", "x"), 2, "no number"), (("infer", url), 2, "usage"),
                             (("infer", url, "echo", "--input", "x=/nonexistent"), 1, "cannot read"),
                             (("infer", url, "echo", "--random", "1", "--shape", "x=2,5"), 1, "unexpected shape"),
                             (("infer", url, "echo", "--random", "1", "--shape", "z=2,4"), 2, "no such input"),
                             (("infer", url, "echo", "--random", "1", "more"), 2, "'more' is one word too many"),
                             (("infer", url, "echo", "--random", "1", "--rate", "5"), 2, "infer does not take --rate"),
                             (("infer", url, "echo", "--random", "1", "--config={}"), 2, "infer does not take --config"),
                             (("infer", url, "echo", "--random", "1", "--json", "--output-dir", folder), 2, "one of the two"),
                             (("register", url, "echo", file, "--rate", "5"), 2, "register does not take"), (("models", url, "echo"), 2, "too many"),
                             (("register", url, "echo", file, "--version", "1", "--config", '{"threads": 2}'), 1, "409"),
                             (("register", url, "echo", file, "--version", "stable"), 1, "400"),
                             (("load", url, "echo", "--get", "/v2"), 2, "or --get"),
                             (("models", "http://127.0.0.1:1"), 1, "no connection"), (("models", "ftp://x"), 2, "no http://"),
                             (("models", url + "/v2"), 2, "without a path"), (("load", url, "echo", "--rate", "inf"), 2, "--rate"),
                             (("load", url, "echo", "--connections", "4294967297"), 2, "--connections: 4294967297 is not from 0 to"),
                             (("load", url, "echo", "--connections", "abc"), 2, "--connections: 'abc' is no number"),
                             (("load", url, "echo", "--warmup", "nan"), 2, "--warmup"), (("load", url, "echo", "--seconds", "1e300"), 2, "--seconds"),
                             (("load", url, "echo", "--rate", "-3"), 2, "--rate"), (("models", url, "--what"), 2, "no flag"), ((), 2, "usage")):
        rc, _, err = client(*args)
        check(rc == want and text in err, ("complaint", args, rc, err))


def stall():
    """A server that answers nothing for the second half of the time: half of those who would have come have waited for it."""
    begun = []

    def serve(s):
        while s.recv(65536):
            begun.append(time.time())
            late = time.time() - begun[0]
            if late > 0.5:
                time.sleep(max(0, 1.2 - late))
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.socket() as l:
        l.bind(("127.0.0.1", 0))
        l.listen(8)
        threading.Thread(target=lambda: serve(l.accept()[0]), daemon=True).start()
        v = json.loads(client("load", "127.0.0.1:%d" % l.getsockname()[1], "--get", "/", "--rate", "200", "--seconds", "1", "--warmup", "0",
                              "--connections", "1", "--json")[1])
    check(v["sent"] == v["latency_ms"]["count"] == 200 and v["unsent"] == v["unanswered"] == 0, ("a stall, sent", v))
    check(v["latency_ms"]["p50"] < 210 and 400 < v["latency_ms"]["p90"] and v["latency_ms"]["p99"] > 600, ("a stall, charged", v))


def load(url):
    rc, out, err = client("load", url, "echo", "--connections", "3", "--rate", "200", "--seconds", "1", "--json", "--text")
    v = json.loads(out)
    check(rc == 0 and v["sent"] == 200 and v["statuses"] == {"200": 200} and v["unsent"] == v["broken"] == v["unanswered"] == 0,
          ("load at a rate", rc, out, err))
    check(0 < v["latency_ms"]["p50"] <= v["latency_ms"]["p99"] <= v["latency_ms"]["max"], ("times", v))
    v = json.loads(client("load", url, "--get", "/nothing", "--seconds", "0.3", "--connections", "2", "--json")[1])
    check(list(v["statuses"]) == ["404"] and v["others_ms"]["count"] == v["sent"] > 100, ("load of refusals", v))


def version_6():
    """An address in brackets; on a machine that has none, nothing."""
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return
    s = Server(build, "--drain-ms=0", "--listen=127.0.0.1:0", "--listen=[::1]:0")
    url = "http://[::1]:%d" % s.urls["http"][1]
    check(client("models", url)[0] == 0, ("models", url))
    v = json.loads(client("load", url, "--get", "/v2/health/live", "--seconds", "0.2", "--connections", "1", "--json")[1])
    check(list(v["statuses"]) == ["200"], ("load", url, v))
    s.stop()


def secure(folder):
    cert, key = certificate(folder)
    tokens = os.path.join(folder, "tokens")
    line = subprocess.run([os.path.join(build, "cab"), "serve", "--hash-token"], input="canary", capture_output=True, text=True).stdout
    with open(tokens, "w") as f:
        f.write(line.split()[0] + " admin someone\n")
    s = Server(build, "--drain-ms=0", "--listen-tls=127.0.0.1:0", "--tls-cert=" + cert, "--tls-key=" + key, "--tokens=" + tokens)
    url = "https://localhost:%d" % s.tls
    check(client("models", url, "--ca", cert, env={"CAB_TOKEN": "canary"})[0] == 0, "TLS and a token")
    rc, _, err = client("models", url, "--ca", cert)
    check(rc == 1 and "401" in err, ("no token", rc, err))
    rc, _, err = client("models", url, env={"CAB_TOKEN": "canary"})
    check(rc == 1 and "not trusted" in err, ("a certificate that nobody knows", rc, err))
    s.stop()


def long_bodies(folder):
    """Refused before it is read: the answer comes although the client is still sending."""
    cert, key = certificate(folder)
    file = os.path.join(folder, "long.onnx")
    with open(file, "wb") as f:
        f.write(bytes(60 << 20))
    s = Server(build, "--drain-ms=0", "--max-body=1M", "--listen-tls=127.0.0.1:0", "--tls-cert=" + cert, "--tls-key=" + key)
    for url, more in (("http://127.0.0.1:%d" % s.port, ()), ("https://localhost:%d" % s.tls, ("--ca", cert))):
        rc, _, err = client("register", url, "long", file, *more)
        check(rc == 1 and "413" in err and "--max-body" in err and "--imports" in err, ("a model that is too long", url, rc, err))
    s.stop()


with tempfile.TemporaryDirectory() as folder:
    server = Server(build, "--drain-ms=0")
    address = "127.0.0.1:%d" % server.port
    calls(server, address, folder)
    complaints(address, folder)
    load(address)
    stall()
    server.stop()
    secure(folder)
    long_bodies(folder)
    version_6()
verdict("client.py")
