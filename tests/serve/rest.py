# SPDX-License-Identifier: Apache-2.0
"""rest.py BUILD: the server's REST interface, by requests that a client would make and some that it should not."""
import os, ssl, sys, tempfile, threading, time
sys.path.insert(0, os.path.dirname(__file__))
from kit import *


def verbs(s):
    st, _, v = s.register("linear", linear(), resources={"cpu": 1}, tags=["sample"],
                          inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 1]}])
    check(st == 201 and v["state"] == "ready" and v["version"] == "1", ("register", st, v))
    check(s.register("linear", linear(), resources={"cpu": 1}, tags=["sample"])[0] == 200, "registered again: the same version")
    st, _, v = s.register("linear", linear(5.0), version=1)
    check(st == 409, ("a version never changes", st, v))
    for x, y in ((5, [[17.0]]), ([1, 2], [[5.0], [8.0]]), ([[1], [2]], [[5.0], [8.0]])):
        st, _, v = s.ask("POST", "/predict", {"X": x})
        check(st == 200 and v == {"Y": y}, ("predict", x, st, v))
    st, _, v = s.ask("POST", "/call", {"name": "linear", "inputs": {"x": [[4]]}})
    check(st == 200 and v == {"name": "linear", "version": "1", "outputs": {"y": [[14.0]]}}, ("call", st, v))
    st, _, v = s.ask("POST", "/discover", {"name": "lin*", "datatype": "FP32", "tag": "sample"})
    check(st == 200 and [m["name"] for m in v["models"]] == ["linear"], ("discover", st, v))
    check(s.ask("POST", "/discover", {"datatype": "INT8"})[2] == {"models": []}, "discover: none")
    for body in (b"{", b"[1]", b"{}", {"X": "a"}, {"X": [[1], [1, 2]]}, {"X": [[1, 2, 3]]}, {"model": "no", "X": 1}):
        st, _, v = s.ask("POST", "/predict", body)
        check(st in (400, 404) and "error" in v, ("predict refuses", body, st, v))
    st, _, v = s.register("broken", b"no model")
    check(st == 422 and v["error"], ("a broken model", st, v))
    st, _, v = s.register("promised", linear(), inputs=[{"name": "z"}])
    check(st == 422 and "inputs" in v["error"], ("another interface than promised", st, v))
    check(s.ask("POST", "/register", {"name": "../x", "model": "AAAA"})[0] == 400, "a bad name")


def versions(s):
    st, _, v = s.register("linear", linear(10.0, 0.0))
    check(st == 201 and v["version"] == "2", ("a second version", st, v))
    check(s.infer("linear", [[1.0]])[2]["outputs"][0]["data"] == [10.0], "the latest answers")
    st, _, v = s.ask("GET", "/v2/models/linear/versions/1/ready")
    check(st == 404, ("policy latest 1: the first is not loaded", st, v))


def protocol(s):
    s.register("echo", identity())
    row = [float(i) for i in range(16)]
    st, h, v = s.infer("echo", [row], id="é\"q")
    check(st == 200 and v["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 16], "data": row}] and
          v["id"] == "é\"q" and v["model_version"] == "1", ("infer", st, v))
    check(s.ask("POST", "/v2/models/echo/infer", {"outputs": [{"name": "y"}], "inputs": [
        {"data": [row], "shape": [1, 16], "parameters": {}, "name": "x", "datatype": "FP32"}]})[0] == 200, "nested data before shape")
    import struct
    head = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,16],"parameters":{"binary_data_size":64}}],' \
           b'"outputs":[{"name":"y","parameters":{"binary_data":true}}]}'
    st, h, v = s.ask("POST", "/v2/models/echo/infer", head + struct.pack("<16f", *row),
                     {"Inference-Header-Content-Length": str(len(head))})
    n = int(h["Inference-Header-Content-Length"])
    check(st == 200 and v[n:] == struct.pack("<16f", *row), ("binary", st, v))
    x = {"name": "x", "datatype": "FP32", "shape": [1, 16], "data": row}
    wrong = [b"", b"{", b"null", b'{"inputs":1}', b'{"inputs":[1]}', {"inputs": []}, {}, {"inputs": [x, x]},
             {"inputs": [dict(x, name="z")]}, {"inputs": [dict(x, datatype="FP64")]}, {"inputs": [dict(x, datatype="FP33")]},
             {"inputs": [dict(x, shape=[16])]}, {"inputs": [dict(x, shape=[2, 16])]}, {"inputs": [dict(x, shape=[-1, 16])]},
             {"inputs": [dict(x, shape=[1 << 40, 16])]}, {"inputs": [dict(x, data=row[1:])]}, {"inputs": [dict(x, data=row + [1])]},
             {"inputs": [dict(x, data=["a"] * 16)]}, {"inputs": [dict(x, data=[1e99] * 16)]},
             {"inputs": [x], "outputs": [{"name": "z"}]}, {"inputs": [x], "parameters": {"timeout": -1}},
             {"inputs": [dict(x, parameters={"binary_data_size": 64})]}, {"inputs": [x], "id": 5}]
    for body in wrong:
        st, _, v = s.ask("POST", "/v2/models/echo/infer", body)
        check(st == 400 and isinstance(v, dict) and v["error"], ("infer refuses", body, st, v))
    for length in ("1", "9999", "-1", "x"):
        st, _, v = s.ask("POST", "/v2/models/echo/infer", head + b"\0" * 64, {"Inference-Header-Content-Length": length})
        check(st == 400, ("header length", length, st, v))
    for method, path, want in (("GET", "/nothing", 404), ("GET", "/v2/models/echo/infer", 405), ("POST", "/v2", 405),
                               ("POST", "/v2/models/no/infer", 404), ("GET", "/v2/models/no", 404),
                               ("GET", "/v2/models/echo/versions/9", 404), ("GET", "/v2/models/%2e%2e/ready", 400),
                               ("HEAD", "/v2/health/live", 200), ("GET", "/openapi.json", 200), ("GET", "/metrics", 200)):
        st, h, v = s.ask(method, path, b"" if method == "POST" else None)
        check(st == want, (method, path, st, v))
        check(st != 405 or "Allow" in h, ("405 says what is allowed", path))
    stats = s.ask("GET", "/v2/models/echo/stats")[2]["model_stats"][0]
    check(stats["inference_count"] == 3 and stats["inference_stats"]["success"]["count"] == 3, ("statistics", stats))
    metrics = s.ask("GET", "/metrics")[2].decode()
    check('nv_inference_count{model="echo",version="1"} 3\n' in metrics, "metrics")


def repository(s):
    check(s.ask("POST", "/v2/repository/models/echo/unload")[0] == 200, "unload")
    check(s.ask("GET", "/v2/models/echo/ready")[0] == 404, "unloaded")
    index = {m["name"]: m for m in s.ask("POST", "/v2/repository/index")[2] if m["version"] == "1"}
    check(index["echo"]["state"] == "UNAVAILABLE" and index["echo"]["reason"] == "unloaded", ("index", index))
    check(s.ask("POST", "/v2/repository/models/echo/load")[0] == 200, "load")
    check(s.ask("GET", "/v2/models/echo/ready")[0] == 200, "loaded")
    check(s.ask("POST", "/v2/repository/models/no/load")[0] == 404, "load: unknown")


def retries(s):
    """Who asks again while the version is built waits for that build, and is answered as the first would have been."""
    big, promise = slow(600, 64), [{"name": "x", "shape": [-1, 64]}]
    check(s.register("late", big, wait=False)[2]["state"] == "building", "stored")
    waiting = []
    def again(**more):
        def one():
            waiting.append((more, s.register("late", big, **more)))
        t = threading.Thread(target=one)
        t.start()
        return t
    threads = [again(), again(inputs=promise), again(inputs=[{"name": "z"}])]
    st, _, v = s.register("late", big, wait=False)
    check(st == 202 and v["state"] == "building" and v["version"] == "1", ("it is being built", st, v))
    for t in threads:
        t.join()
    for more, (st, _, v) in waiting:
        broken = more.get("inputs", promise) != promise
        check(st == 422 and "inputs" in v["error"] if broken else st == 201 and v["state"] == "ready", ("asked again", more, st, v))
    check(s.register("late", big, inputs=promise)[0] == 200, "built already")
    check(s.register("late", big, inputs=[{"name": "z"}])[0] == 422, "built already, and not as promised")
    # a model that is removed while it is built, and another one by its name
    s.register("ghost", slow(600, 1), wait=False)
    check(s.ask("DELETE", "/v2/models/ghost")[0] == 200, "removed while it is built")
    check(s.register("ghost", linear(), wait=False)[2]["version"] == "1", "its number again")
    st, end = 404, time.time() + 60
    while st == 404 and time.time() < end:
        st, _, v = s.infer("ghost", [[5.0]])
    check(st == 200 and v["outputs"][0]["data"] == [17.0], ("the one that is registered", st, v))
    check(any(l["event"] == "built in vain" for l in s.lines()), "the other one is not taken")


def restart(build):
    """A registry is found again; what serves after a restart is what served before."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, "--drain-ms=0", root=root)
    s.register("linear", linear())
    check(s.stop() == 0, "ends with 0")
    s = Server(build, "--drain-ms=0", root=root)
    check(s.ask("POST", "/predict", {"X": 1})[2] == {"Y": [[5.0]]}, "after a restart")
    other = subprocess.run([os.path.join(build, "cab-serve"), "--root", os.path.join(root, "registry"), "--listen=127.0.0.1:0"],
                           capture_output=True, text=True, timeout=20)
    check(other.returncode == 1 and "another server" in other.stderr, ("one server per root", other))
    s.stop()
    shutil.rmtree(root)


def tokens(build):
    root = tempfile.mkdtemp(prefix="cab-serve-")
    exe = os.path.join(build, "cab-serve")
    def line(token, role, more=""):
        out = subprocess.run([exe, "--hash-token"], input=token, capture_output=True, text=True).stdout.split()
        return "%s %s name %s\n" % (out[0], role, more)
    file = os.path.join(root, "tokens")
    with open(file, "w") as f:
        f.write("# who\n" + line("boss-canary", "admin") + line("user-canary", "call", "lin*") + line("eye-canary", "read") +
                line("team-canary", "admin", "lin* small*"))
    s = Server(build, "--drain-ms=0", "--log-requests=1", "--tokens=" + file, root=root)
    def ask(token, method, path, body=None):
        return s.ask(method, path, body, {"Authorization": "Bearer " + token} if token else {})[0]
    model_b64 = base64.b64encode(linear()).decode()
    check(ask("boss-canary", "POST", "/register", {"name": "linear", "model": model_b64}) == 201, "admin registers")
    check(ask("boss-canary", "POST", "/register", {"name": "other", "model": model_b64}) == 201, "admin registers")
    x = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [7]}]}
    for token, method, path, body, want in (
            (None, "GET", "/v2/health/ready", None, 200), (None, "GET", "/v2", None, 401), ("wrong", "GET", "/v2", None, 401),
            ("eye-canary", "GET", "/v2", None, 200), ("eye-canary", "POST", "/v2/models/linear/infer", x, 403),
            ("user-canary", "POST", "/v2/models/linear/infer", x, 200), ("user-canary", "POST", "/v2/models/other/infer", x, 403),
            ("user-canary", "POST", "/call", {"name": "other", "inputs": {"x": [[1]]}}, 403),
            ("user-canary", "POST", "/v2/repository/models/linear/unload", None, 403),
            ("boss-canary", "POST", "/v2/models/other/infer", x, 200)):
        got = ask(token, method, path, body)
        check(got == want, ("token", token, method, path, got, want))
    # a token for some models sees and takes the files of those
    said = lambda token, path, body: s.ask("POST", path, body, {"Authorization": "Bearer " + token})[::2]
    secret = base64.b64encode(linear(9.0, 9.0)).decode()
    check(ask("boss-canary", "POST", "/register", {"name": "azure", "model": secret}) == 201, "another's model")
    found = said("boss-canary", "/discover", {"name": "azure"})[1]["models"][0]
    names = lambda token, **q: [m["name"] for m in said(token, "/discover", q)[1]["models"]]
    check(names("boss-canary") == ["azure", "linear", "other"] == names("eye-canary"), "who is for all sees all")
    check(names("team-canary") == ["linear"] == names("user-canary") == names("team-canary", limit=1), ("who is for some sees those", names("team-canary")))
    check(names("boss-canary", limit=1) == ["azure"] and not names("team-canary", name="azure"), "limits")
    for digest in (found["model"], found["artifact"]):
        check(ask("team-canary", "POST", "/register", {"name": "small", "ref": digest}) == 404, "a hash is no right")
    mine = said("team-canary", "/discover", {"name": "linear"})[1]["models"][0]["model"]
    check(ask("team-canary", "POST", "/register", {"name": "small", "ref": mine}) == 201, "but to files of its models")
    check(ask("boss-canary", "POST", "/register", {"name": "small", "ref": found["model"]}) == 201, "who is for all may take any")
    for token, story in (("", "is needed"), ("wrong", "is not known")):
        st, _, v = s.ask("GET", "/v2", None, {"Authorization": "Bearer " + token} if token else {})
        check(st == 401 and story in v["error"], (token, v))
    with open(file, "w") as f:
        f.write(line("fresh-canary", "admin"))
    s.p.send_signal(signal.SIGHUP)
    end = time.time() + 5
    while ask("fresh-canary", "GET", "/v2") != 200 and time.time() < end:
        time.sleep(0.02)
    check(ask("fresh-canary", "GET", "/v2") == 200 and ask("boss-canary", "GET", "/v2") == 401, "tokens are read again")
    metrics = s.ask("GET", "/metrics", None, {"Authorization": "Bearer fresh-canary"})[2].decode()
    count = lambda what: int([l for l in metrics.splitlines() if l.startswith(what + " ")][0].split()[1])
    refused = {status: count('cabochon_refused_requests_total{status="%d"}' % status) for status in (401, 403, 404, 503)}
    check(refused[401] >= 5 and refused[403] == 4 and refused[404] == 2 and not refused[503], ("refusals by status", refused))
    check(count('cabochon_builds_total{result="done"}') == 5 and not count('cabochon_builds_total{result="failed"}'), "builds")
    s.stop()
    with open(s.log) as f:
        check("canary" not in f.read() and "canary" not in metrics, "no token in log or metrics")
    shutil.rmtree(root)


def transport(build):
    """TLS with HTTP/1.1 and HTTP/2; HTTP/2 without TLS, by curl."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    cert, key = certificate(root)
    s = Server(build, "--drain-ms=0", "--listen-tls=127.0.0.1:0", "--tls-cert=" + cert, "--tls-key=" + key, root=root)
    s.register("linear", linear())
    for flags, url in ((["--http1.1"], "https://localhost:%d" % s.tls), (["--http2"], "https://localhost:%d" % s.tls),
                       (["--http2-prior-knowledge"], "http://localhost:%d" % s.port)):
        r = subprocess.run(["curl", "-s", "--ipv4", "--cacert", cert, *flags, "-d", '{"X": 2}', "-w", " %{http_code} %{http_version}",
                            url + "/predict"], capture_output=True, text=True, timeout=20)
        want = '{"Y":[[8.0]]} 200 ' + ("1.1" if "1.1" in flags[0] else "2")
        check(r.stdout == want, ("transport", flags, url, r.stdout, r.stderr))
    s.stop()
    shutil.rmtree(root)


def pipelined(build):
    """Many requests in one go by a client that sends no more after them: all are answered, in order, then it is closed."""
    body = lambda i: json.dumps({"id": str(i), "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [i]}]})
    ask = lambda i: "POST /v2/models/linear/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body(i)), body(i))
    whole = "".join(ask(i) for i in range(100)).encode()
    for inline in ("50", "0"):
        s = Server(build, "--drain-ms=0", "--inline-us=" + inline)
        s.register("linear", linear())
        for tail in (b"", ask(100).encode()[:-1], b"GET /v2"):
            c = socket.create_connection(("127.0.0.1", s.port), 20)
            c.sendall(whole + tail)
            c.shutdown(socket.SHUT_WR)
            got = b""
            try:
                while piece := c.recv(1 << 16):
                    got += piece
            except OSError as e:
                check(False, ("pipelined: an end without an error", inline, tail[:9], e))
            c.close()
            answers = [json.loads(a.split(b"\r\n\r\n")[1]) for a in got.split(b"HTTP/1.1 200 OK\r\n")[1:]]
            check([(a["id"], a["outputs"][0]["data"]) for a in answers] == [(str(i), [3.0 * i + 2.0]) for i in range(100)],
                  ("pipelined", inline, tail[:9], len(answers)))
            check(got.count(b"HTTP/1.1") == 100, ("pipelined: nothing else", inline, tail[:9]))
        s.stop()


def main():
    build = sys.argv[1]
    s = Server(build, "--drain-ms=0")
    for part in (verbs, versions, protocol, repository, retries):
        part(s)
    check(s.stop() == 0, "ends with 0")
    restart(build)
    tokens(build)
    transport(build)
    pipelined(build)
    verdict("rest.py")


main()
