# SPDX-License-Identifier: Apache-2.0
"""log.py BUILD: what the log says of requests, changes, failures, builds and reloads."""
import hashlib, os, signal, sys, tempfile, time
sys.path.insert(0, os.path.dirname(__file__))
from kit import *
from wire import *

ADMIN, READER = {"Authorization": "Bearer A"}, {"Authorization": "Bearer R"}
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [5]}]}


def write_tokens(path):
    with open(path, "w") as f:
        for token, role, name in (("A", "admin", "ops"), ("R", "read", "watcher")):
            f.write("sha256:%s %s %s\n" % (hashlib.sha256(token.encode()).hexdigest(), role, name))


def last(s, event, seconds=2):
    """The last line of that event, as soon as there is one that was not there."""
    end = time.time() + seconds
    while time.time() < end:
        lines = [l for l in s.lines() if l["event"] == event]
        if len(lines) > last.seen.get((s, event), 0):
            last.seen[s, event] = len(lines)
            return lines[-1]
        time.sleep(0.005)
    return {}


last.seen = {}


def grpc(s, call, message, *more):
    data = b"\0" + len(message).to_bytes(4, "big") + message
    subprocess.run(["curl", "-s", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers",
                    "-H", "authorization: Bearer A", "--data-binary", "@-", *more,
                    "http://127.0.0.1:%d/inference.GRPCInferenceService/%s" % (s.port, call)], input=data, capture_output=True)


def has(line, what, **want):
    check(all(line.get(k) == v for k, v in want.items()), (what, {k: line.get(k) for k in want}, want))
    return line


def requests(s):
    s.ask("POST", "/v2/models/linear/infer", BODY, ADMIN)
    l = has(last(s, "request"), "inference", method="POST", path="/v2/models/{model}/infer", protocol="http/1.1", model="linear",
            version="1", status=200, token="ops", level="info", bytes=len(json.dumps(BODY)))
    check(0 < l["micros"] < 5e6 and l["sent"] > 50 and l["client"].startswith("127.0.0.1:"), ("figures", l))
    s.ask("POST", "/predict", {"X": 5}, ADMIN)
    has(last(s, "request"), "a verb", path="/predict", model="linear", version="1", status=200)
    for method, path, want, status in (("GET", "/v2/modelz/secret", "/v2/...", 404), ("GET", "/secret", "/...", 404),
                                       ("GET", "/v2/models/secret/secret", "/v2/models/{model}/...", 404),
                                       ("GET", "/v2/models/secret", "/v2/models/{model}", 404), ("DELETE", "/predict", "/predict", 405),
                                       ("GET", "/v2/models/linear/stats", "/v2/models/{model}/stats", 200)):
        s.ask(method, path, None, ADMIN)
        l = has(last(s, "request"), path, path=want, status=status)
        check("secret" not in json.dumps(l), ("what a client made up", l))
    s.ask("GET", "/v2/models", None, {"Authorization": "Bearer nobody"})
    check("token" not in has(last(s, "request"), "a stranger", status=401), "without a name")
    raw(s.port, b"GET / HTTP/1.1\r\n\r\n", 1)
    has(last(s, "request"), "no HTTP", status=400, path="...")
    grpc(s, "ModelMetadata", b"\x0a\x06linear")
    has(last(s, "request"), "gRPC", path="/inference.GRPCInferenceService/ModelMetadata", protocol="grpc", model="linear", version="1",
        status=200, grpc_status=0, token="ops")
    grpc(s, "ModelMetadata", b"\x0a\x06secret")
    check("model" not in has(last(s, "request"), "gRPC: no model", status=404, grpc_status=5), "unknown")
    h = H2(s.port)
    h.open(1, "GET", "/v2/health/live")
    check(h.status(1) == 200, "HTTP/2")
    has(last(s, "request"), "HTTP/2", protocol="h2", status=200, path="/v2/health/live")
    h.close()
    request_line = lambda l: l["event"] == "request"
    before = len(s.lines_of(request_line, last.seen[s, "request"]))
    c = dial(s.port)
    for _ in range(5):
        c.sendall(request("GET", "/v2/health/live"))
        read_answer(c)
    c.close()
    check(len(s.lines_of(request_line, before + 5)) == before + 5, "a line each, when it is answered")


def cancelled(s):
    width, steps = 512, 2000
    check(s.ask("POST", "/register", {"name": "slow", "model": base64.b64encode(slow(steps)).decode()}, ADMIN)[0] == 201, "slow")
    last(s, "change")
    last(s, "request", 0.1)
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [64, width], "data": [0] * (64 * width)}]}).encode()
    c = dial(s.port)
    c.sendall(request("POST", "/v2/models/slow/infer", body, b"Authorization: Bearer A\r\n"))
    time.sleep(0.1)
    c.close()
    has(last(s, "request", 20), "the client went", status=499, model="slow", path="/v2/models/{model}/infer", token="ops")


def changes(s):
    """Each has a line, whoever asked for it and however it ended; with or without log_requests."""
    def change(method, where, body=None, headers=ADMIN, **want):
        s.ask(method, where, body, headers)
        has(last(s, "change"), where, method=method, **want)
    model = base64.b64encode(linear(2.0, 2.0)).decode()
    change("POST", "/register", {"name": "linear", "model": model}, path="/register", model="linear", version="2", status=201, token="ops")
    has(last(s, "registered"), "registered", model="linear", version="2")
    has(last(s, "built"), "built", model="linear", version="2")
    change("POST", "/register", {"name": "bad", "model": base64.b64encode(b"garbage!").decode()}, model="bad", version="1", status=422)
    has(last(s, "build failed"), "failed", model="bad", version="1", level="error")
    change("POST", "/v2/models/linear/policy", {"latest": 2}, path="/v2/models/{model}/policy", model="linear", status=200, token="ops")
    change("POST", "/v2/models/linear/policy", {"nonsense": 2}, model="linear", status=400)
    change("POST", "/v2/models/linear/policy", {"latest": 1}, headers=READER, status=403, token="watcher")
    change("POST", "/v2/models/linear/labels", {"name": "stable", "version": 1}, path="/v2/models/{model}/labels", model="linear", status=200)
    change("POST", "/v2/models/linear/labels", {"name": "stable", "version": None}, status=200)
    change("POST", "/v2/models/linear/rollback", path="/v2/models/{model}/rollback", model="linear", status=200)
    change("POST", "/v2/repository/models/linear/unload", model="linear", status=200, token="ops")
    grpc(s, "RepositoryModelLoad", b"\x12\x06linear")
    has(last(s, "change"), "gRPC", path="/inference.GRPCInferenceService/RepositoryModelLoad", protocol="grpc", model="linear", status=200, token="ops")
    change("DELETE", "/v2/models/linear/versions/2", model="linear", version="2", status=200)
    has(last(s, "removed"), "removed", model="linear", version="2")


def failures(s):
    """Lines about strangers are limited."""
    last(s, "change", 0.1)
    before = len(s.lines())
    for _ in range(200):
        s.ask("POST", "/register", {}, {"Authorization": "Bearer nobody"})
    time.sleep(1.1)
    s.ask("POST", "/register", {}, {"Authorization": "Bearer nobody"})
    def all_told():
        lines = [l for l in s.lines()[before:] if l.get("status") == 401]
        return lines, sum(l.get("left_out", 0) for l in lines) == 201 - len(lines)
    end = time.time() + 5
    while time.time() < end and not all_told()[1]:
        time.sleep(0.01)
    lines, whole = all_told()
    check(5 <= len(lines) < 100 and whole, ("limited", len(lines)))


def reloads(s, tokens):
    s.p.send_signal(signal.SIGHUP)
    check(last(s, "reloaded"), "reloaded")
    with open(tokens, "a") as f:
        f.write("nonsense\n")
    s.p.send_signal(signal.SIGHUP)
    check(last(s, "reload failed") and not last(s, "reloaded", 0.2), "an error: that alone is said")
    check(s.ask("GET", "/v2/models", None, ADMIN)[0] == 200, "and changes nothing")
    os.remove(tokens)
    os.mkdir(tokens)
    s.p.send_signal(signal.SIGHUP)
    check(last(s, "reload failed") and s.ask("GET", "/v2/models", None, ADMIN)[0] == 200, "a folder in place of the file")
    os.rmdir(tokens)


def main():
    build = sys.argv[1]
    for on in (1, 0):
        root = tempfile.mkdtemp(prefix="cab-serve-")
        tokens = os.path.join(root, "tokens")
        write_tokens(tokens)
        s = Server(build, "--drain-ms=0", "--tokens=" + tokens, "--log-requests=%d" % on, root=root)
        s.ask("POST", "/register", {"name": "linear", "model": base64.b64encode(linear()).decode()}, ADMIN)
        check(last(s, "change") and last(s, "registered") and last(s, "built"), "a model")
        if on:
            requests(s)
            cancelled(s)
        else:
            s.ask("POST", "/v2/models/linear/infer", BODY, ADMIN)
        changes(s)
        if not on:
            failures(s)
            check(not [l for l in s.lines() if l["event"] == "request"], "without log_requests: changes only")
        reloads(s, tokens)
        check(s.stop() == 0, "ends with 0")
        shutil.rmtree(root)
    verdict("log.py")


main()
