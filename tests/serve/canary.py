# SPDX-License-Identifier: Apache-2.0
"""canary.py BUILD: a token and a tensor's value, sent right and wrong, are in no log line and no metric."""
import os, sys, tempfile
sys.path.insert(0, os.path.dirname(__file__))
from kit import *
from wire import *

TOKEN, VALUE = "cAnArY-7f3a", "8675309.25"


def main():
    build = sys.argv[1]
    root = tempfile.mkdtemp(prefix="cab-serve-")
    tokens = os.path.join(root, "tokens")
    def line(token, role):
        out = subprocess.run([os.path.join(build, "cab-serve"), "--hash-token"], input=token, capture_output=True, text=True).stdout
        return "%s %s name\n" % (out.split()[0], role)
    with open(tokens, "w") as f:
        f.write(line(TOKEN, "admin"))
    s = Server(build, "--drain-ms=0", "--log-requests=1", "--tokens=" + tokens, root=root)
    right = {"Authorization": "Bearer " + TOKEN}
    headers = (right, {"Authorization": "Basic " + TOKEN}, {"Authorization": "Bearer wrong" + TOKEN}, {"X-Token": TOKEN},
               {TOKEN: TOKEN}, {"Cookie": TOKEN}, {"Content-Type": TOKEN}, {"Inference-Header-Content-Length": TOKEN})
    st = s.ask("POST", "/register", {"name": "linear", "model": base64.b64encode(linear()).decode()}, right)[0]
    check(st == 201, ("register", st))
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [float(VALUE)]}
    bodies = [{"inputs": [x]}, {"inputs": [dict(x, name=TOKEN)]}, {"inputs": [dict(x, datatype=VALUE)]}, {"X": float(VALUE)},
              {"X": VALUE}, {"X": [[float(VALUE)], [1, 2]]}, {"name": TOKEN, "inputs": {}}, {"name": "linear", "inputs": {VALUE: 1}},
              VALUE.encode(), b"{" + VALUE.encode(), {"name": "m", "model": VALUE}, {"name": VALUE + "/", "model": "AAAA"},
              {"name": "m", "ref": TOKEN}, {"name": "m", "model": base64.b64encode(VALUE.encode() * 40).decode()},
              {"name": "m", "model": "AAAA", "config": {VALUE: 1}}, {"name": "m", "model": "AAAA", "tags": [1, TOKEN]}]
    paths = ["/v2/models/linear/infer", "/v2/models/%s/infer" % TOKEN, "/v2/models/linear/versions/%s/infer" % VALUE, "/" + TOKEN,
             "/predict?token=" + TOKEN, "/predict", "/call", "/register", "/discover", "/v2/repository/index",
             "/v2/repository/models/%s/load" % TOKEN, "/%%%02x%s" % (ord(TOKEN[0]), TOKEN[1:])]
    answers = {}
    for path in paths:
        for body in bodies:
            for h in headers[:3]:
                got = s.ask("POST", path, body, h)[0]
                answers[got] = answers.get(got, 0) + 1
    for h in headers:
        s.ask("GET", "/v2/models/linear", None, h)
        s.ask("POST", "/v2/models/linear/infer", bodies[0], dict(right, **h))
    for data in (b"GET /" + TOKEN.encode() + b" HTTP/1.1\r\nHost: " + VALUE.encode() + b"\r\nA b: " + TOKEN.encode() + b"\r\n\r\n",
                 TOKEN.encode() * 3000, b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: " + TOKEN.encode() * 2000 + b"\r\n\r\n"):
        raw(s.port, data, 2)
    h = H2(s.port)
    h.open(1, "GET", "/" + TOKEN, ("authorization", "Bearer " + TOKEN), (TOKEN.lower(), VALUE))
    h.status(1)
    h.open(3, "POST", "/inference.GRPCInferenceService/" + TOKEN, ("content-type", "application/grpc"), ("authorization", TOKEN))
    h.status(3)
    h.close()
    metrics = s.ask("GET", "/metrics", None, right)[2].decode()
    check({200, 400, 401, 404, 422} <= set(answers), ("all kinds of answers", answers))
    check(s.stop() == 0, "ends with 0")
    with open(s.log) as f:
        log = f.read()
    hit = lambda text, what: [l for l in text.splitlines() if what.lower() in l.lower()]
    for what in (TOKEN, VALUE, VALUE.split(".")[0], base64.b64encode(VALUE.encode()).decode()[:8]):
        check(not hit(log, what), ("in the log", what, hit(log, what)[:3]))
        check(not hit(metrics, what), ("in the metrics", what, hit(metrics, what)[:3]))
    check(log.count('"event":"request"') > 500, "requests were logged")
    shutil.rmtree(root, ignore_errors=True)
    verdict("canary.py")


main()
