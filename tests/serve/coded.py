# SPDX-License-Identifier: Apache-2.0
"""coded.py BUILD: compressed requests and answers - both codings, HTTP/1.1, HTTP/2, gRPC - and what is wrong with some:
bombs, streams that are cut or are none, budgets, clients that go away, others who wait meanwhile."""
import gzip, os, struct, subprocess, sys, tempfile, threading, time, zlib
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kit
from kit import *
from wire import *

PACK = {"gzip": gzip.compress, "deflate": zlib.compress}
OPEN = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}
MB = 1 << 20


def wait_for(what, seconds=5.0):
    end = time.time() + seconds * SLACK
    while time.time() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def text_of(rows, width=16, **more):
    data = [round(0.37 * i % 7 - 3, 3) for i in range(rows * width)]
    return data, json.dumps(dict(inputs=[dict(name="x", datatype="FP32", shape=[rows, width], data=data)], **more)).encode()


def whole_again(s):
    return wait_for(lambda: "cabochon_request_body_bytes 0\n" in s.ask("GET", "/metrics")[2].decode())


def near(a, b):
    return len(a) == len(b) and all(abs(p - q) < 1e-4 for p, q in zip(a, b))


# ---- requests ----

def requests(s):
    url = "/v2/models/echo/infer"
    for rows in (1, 300, 5000):        # on the connection's thread; by way of it to a worker; at once to a worker
        data, text = text_of(rows)
        for coding in ("gzip", "deflate", "GZip", "x-gzip", "identity", ""):
            body = PACK.get(coding.lower().replace("x-", ""), bytes)(text)
            st, _, v = s.ask("POST", url, body, {"Content-Encoding": coding})
            check(st == 200 and near(v["outputs"][0]["data"], data), ("text", rows, coding, st, str(v)[:200]))
        head = json.dumps(dict(inputs=[dict(name="x", datatype="FP32", shape=[rows, 16], parameters=dict(binary_data_size=64 * rows))],
                               parameters=dict(binary_data_output=True))).encode()
        raw = struct.pack("<%df" % len(data), *data)
        for coding in PACK:
            st, h, v = s.ask("POST", url, PACK[coding](head + raw), {"Content-Encoding": coding, "Inference-Header-Content-Length": str(len(head))})
            check(st == 200 and v.endswith(raw), ("raw behind text", rows, coding, st))
            st, h, v = s.ask("POST", url, PACK[coding](raw), {"Content-Encoding": coding, "Inference-Header-Content-Length": "0"})
            check(st == 200 and v.endswith(raw), ("raw alone", rows, coding, st))
            st = s.ask("POST", url, PACK[coding](head + raw), {"Content-Encoding": coding, "Inference-Header-Content-Length": str(len(head + raw) + 1)})[0]
            check(st == 400, ("a header that is longer than the body", rows, coding, st))
    st, _, v = s.ask("POST", "/predict", gzip.compress(json.dumps(dict(model="linear", X=5)).encode()), {"Content-Encoding": "gzip"})
    check((st, v) == (200, {"Y": [[17.0]]}), ("/predict", st, v))
    b64 = base64.b64encode(linear(4.0, 0.0)).decode()
    st, _, v = s.ask("POST", "/register", gzip.compress((json.dumps(dict(name="packed", model=b64)) + " " * 300000).encode()), {"Content-Encoding": "gzip"})
    check(st == 201, ("/register, long", st, v))
    st, _, v = s.ask("POST", "/register", zlib.compress(json.dumps(dict(name="packed", model=b64)).encode()), {"Content-Encoding": "deflate"})
    check(st == 200, ("/register, again", st, v))
    check(s.ask("GET", "/v2/models/packed", None, {"Content-Encoding": "gzip"})[0] == 200, "a request without a body has no coding")
    _, text = text_of(2)
    body, c = gzip.compress(text), dial(s.port)
    c.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n" % url.encode())
    for at in range(0, len(body), 7):
        piece = body[at:at + 7]
        c.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    c.sendall(b"0\r\n\r\n")
    check(read_answer(c)[0] == 200, "in chunks")
    c.sendall(request("GET", "/v2/health/live"))
    check(read_answer(c)[0] == 200, "and the connection goes on")
    c.close()


def refused(s):
    url = "/v2/models/echo/infer"
    _, text = text_of(3)
    for coding in ("br", "zstd", "compress", "gzip, deflate", "gzip,gzip", "gzip;q=1"):
        st, h, v = s.ask("POST", url, text, {"Content-Encoding": coding})
        check(st == 415 and h["Accept-Encoding"] == "gzip, deflate" and v["error"], ("coding", coding, st, v))
    c = dial(s.port)
    c.sendall(request("POST", url, gzip.compress(gzip.compress(text)), b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"))
    check(read_answer(c)[0] == 415, "two fields")
    c.close()
    _, long = text_of(4000)
    for t in (text, long):
        for coding, pack in PACK.items():
            body = pack(t)
            other = "gzip" if coding == "deflate" else "deflate"
            bad = {"cut": body[:-1], "half": body[:len(body) // 2], "one byte": body[:1], "no coding": t, "another": PACK[other](t),
                   "a sum": body[:-5] + bytes([body[-5] ^ 1]) + body[-4:], "middle": body[:len(body) // 2] + b"\0\xff" * 20 + body[len(body) // 2 + 40:],
                   "behind its end": body + b"\0", "raw deflate": body[2:-4]}
            if coding == "deflate":
                bad["twice"] = body * 2
            for what, b in bad.items():
                st, _, v = s.ask("POST", url, b, {"Content-Encoding": coding})
                check(st == 400 and "JSON" not in v["error"], (what, coding, len(t), st, v))
            check(s.ask("POST", url, body, {"Content-Encoding": coding})[0] == 200, ("and a good one", coding))
    members = b"".join(gzip.compress(long[at:at + 999]) for at in range(0, len(long), 999)) + gzip.compress(b"") * 50
    check(s.ask("POST", url, members, {"Content-Encoding": "gzip"})[0] == 200, "gzip of many members")
    check(s.ask("POST", url, members[:-1], {"Content-Encoding": "gzip"})[0] == 400, "the last one cut")
    check(whole_again(s), "the budget is whole")


def http2(s):
    data, text = text_of(700)
    for coding in PACK:
        head, out = curl(s, "/v2/models/echo/infer", PACK[coding](text), "Content-Encoding: " + coding, "Accept-Encoding: " + coding)
        check(" 200" in head and "content-encoding: " + coding in head and near(json.loads(OPEN[coding](out))["outputs"][0]["data"], data),
              ("HTTP/2", coding, head))
        check("content-length: %d\r" % len(out) in head, ("HTTP/2: length", coding, head))


# ---- gRPC ----

def grpc_message(rows, name="echo"):
    data, _ = text_of(rows)
    dims = kit._varint(rows) + kit._varint(16)
    x = kit._field(1, "x") + kit._field(2, "FP32") + kit._field(3, dims)
    return kit._field(1, name) + kit._field(5, x) + kit._field(7, struct.pack("<%df" % len(data), *data)), struct.pack("<%df" % len(data), *data)


def grpc(s):
    ask = lambda *a, **more: rpc(s, *a, **more)
    for rows in (1, 900, 9000, 40000):
        m, raw = grpc_message(rows)
        for coding in PACK:
            for call in ("ModelInfer", "ModelStreamInfer"):
                code, head, out = ask(1, PACK[coding](m), "grpc-encoding: " + coding, call=call)
                check(code == "0" and out.endswith(raw), ("gRPC", call, rows, coding, code, head))
                check("grpc-accept-encoding: identity,deflate,gzip" in head, ("what it takes", head))
            check(ask(0, m, "grpc-encoding: " + coding)[0] == "0", ("gRPC: not this message", coding))
    m, raw = grpc_message(2)
    packed = gzip.compress(m)
    for what, want, got in (("no grpc-encoding", "13", ask(1, packed)), ("identity", "13", ask(1, packed, "grpc-encoding: identity")),
                            ("one we have not", "12", ask(1, packed, "grpc-encoding: snappy")), ("a flag of 2", "3", ask(2, packed, "grpc-encoding: gzip")),
                            ("cut", "3", ask(1, packed[:-2], "grpc-encoding: gzip")), ("no gzip", "3", ask(1, m, "grpc-encoding: gzip")),
                            ("nothing", "3", ask(1, b"", "grpc-encoding: gzip"))):
        check(got[0] == want and "grpc-accept-encoding" in got[1], ("gRPC", what, got[:2]))
    check(ask(1, b"", "grpc-encoding: gzip", call="ModelStreamInfer")[0] == "0", "an error within a stream is a message")
    check(whole_again(s), "the budget is whole after gRPC")


# ---- answers ----

def answers(s):
    big, small = text_of(400)[1], text_of(1)[1]
    ask = lambda body, accept, method="POST", path="/v2/models/echo/infer", **more: s.ask(method, path, body, dict({"Accept-Encoding": accept}, **more))
    _, _, plain = ask(big, "identity")
    for accept, want in (("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate", "gzip"), ("deflate, gzip", "gzip"), ("gzip;q=0.3, deflate;q=0.8", "deflate"),
                         ("br, gzip;q=0.1", "gzip"), ("gzip;q=0", None), ("identity", None), ("br", None), ("*", "gzip"), ("*;q=0", None), ("gzip;q=0, *", "deflate"),
                         ("identity, gzip;q=0.9", None), ("", None)):
        st, h, v = ask(big, accept)
        check(st == 200 and h["Content-Encoding"] == want, ("accepts", accept, st, h["Content-Encoding"]))
        check(h["Vary"] == "Accept-Encoding", ("vary", accept, h["Vary"]))
        if want:
            v = json.loads(OPEN[want](v))
        check(v == plain, ("the same answer", accept))
        st, h, v = ask(small, accept)
        check(st == 200 and h["Content-Encoding"] is None and v["outputs"], ("small ones are as they are", accept, st))
    for rows in (200, 2000, 20000):    # on the connection's thread, a worker, an executor
        data, text = text_of(rows, parameters=dict(binary_data_output=True))
        raw = struct.pack("<%df" % len(data), *data)
        for body in (text, text_of(rows)[1]):
            for coding in PACK:
                st, h, v = ask(body, coding)
                check(st == 200 and h["Content-Encoding"] == coding and int(h["Content-Length"]) == len(v), ("long", rows, coding, st, h["Content-Encoding"]))
                v = OPEN[coding](v)
                n = h["Inference-Header-Content-Length"]
                check(v[int(n):] == raw if n else near(json.loads(v)["outputs"][0]["data"], data), ("long: the same", rows, coding, n))
    raw = os.urandom(64 * 2000)
    head = json.dumps(dict(inputs=[dict(name="x", datatype="FP32", shape=[2000, 16], parameters=dict(binary_data_size=len(raw)))],
                           parameters=dict(binary_data_output=True))).encode()
    st, h, v = ask(head + raw, "gzip", **{"Inference-Header-Content-Length": str(len(head))})
    check(st == 200 and h["Content-Encoding"] is None and v.endswith(raw), ("what gains nothing is as it is", st, h["Content-Encoding"]))
    for path in ("/openapi.json", "/metrics"):
        st, h, v = ask(None, "gzip", "GET", path)
        check(st == 200 and h["Content-Encoding"] == "gzip" and OPEN["gzip"](v), (path, st, h["Content-Encoding"]))
    _, get, _ = ask(None, "gzip", "GET", "/openapi.json")
    _, head, v = ask(None, "gzip", "HEAD", "/openapi.json")
    check(get["Content-Length"] == head["Content-Length"] and head["Content-Encoding"] == "gzip" and not v, "HEAD says what GET does")
    c = dial(s.port)
    for i in range(4):
        c.sendall(request("POST", "/v2/models/echo/infer", big, b"Accept-Encoding: br\r\nAccept-Encoding: deflate\r\n"))
        st, h, v = read_answer(c)
        check(st == 200 and json.loads(zlib.decompress(v)) == plain, ("one after the other, and two fields", i, st))
    c.close()
    clients = [dial(s.port) for _ in range(20)]
    for c in clients:
        c.sendall(request("POST", "/v2/models/echo/infer", text_of(5000)[1], b"Accept-Encoding: gzip\r\n"))
        c.close()
    check(s.ask("GET", "/v2/health/live")[0] == 200 and whole_again(s), "clients that do not wait for their answer")


# ---- bombs and budgets ----

def bombs(build):
    s = Server(build, "--drain-ms=0", "--max-body=1M", "--max-bodies=64M")
    s.register("echo", identity())
    url = "/v2/models/echo/infer"
    start = " " * (MB - 7)
    for coding, pack in PACK.items():
        st, _, v = s.ask("POST", "/predict", pack(b'{"X":1}' + start.encode()), {"Content-Encoding": coding})
        check(st != 413, ("just the limit", coding, st, v))
        st, _, v = s.ask("POST", "/predict", pack(b'{"X":1}' + start.encode() + b" "), {"Content-Encoding": coding})
        check(st == 413 and v["error"], ("a byte more", coding, st, v))
        for size in (2 * MB, 16 * MB, 200 * MB):
            bomb = pack(b" " * size)
            t = time.time()
            st, _, v = s.ask("POST", url, bomb, {"Content-Encoding": coding})
            check(st == 413, ("a bomb", coding, size, len(bomb), st, v))
            check(time.time() - t < 0.1 * SLACK * patience(build), ("at the limit, not at its end", coding, size, time.time() - t))
        for call in ("ModelInfer", "ModelStreamInfer"):
            for size, want in ((900 << 10, "3"), (MB + 1, "8"), (50 * MB, "8")):
                code, head, out = rpc(s, 1, pack(b"\x3f" * size), "grpc-encoding: " + coding, call=call)
                check(code == want or (call != "ModelInfer" and code == "0" and out), ("gRPC: a bomb", coding, call, size, code, head))
    double = gzip.compress(gzip.compress(b" " * (500 * MB >> 3)))
    check(s.ask("POST", url, double, {"Content-Encoding": "gzip"})[0] == 400, "what is within is not opened again")
    check(rss(s.pid) < (100 << 20) * patience(build), ("memory", rss(s.pid) >> 20))
    bomb, clients = gzip.compress(b" " * (900 << 10)), []
    for i in range(200):               # gone before, while and after it is opened
        c = dial(s.port)
        c.sendall(request("POST", url, bomb, b"Content-Encoding: gzip\r\n"))
        clients.append(c)
        if i % 3:
            clients.pop(0).close()
    for c in clients:
        c.close()
    check(s.ask("GET", "/v2/health/live")[0] == 200 and whole_again(s), "clients that go away")
    check(rss(s.pid) < (150 << 20) * patience(build), ("memory", rss(s.pid) >> 20))
    check(s.stop() == 0, "ends with 0")
    s = Server(build, "--drain-ms=0", "--max-body=4M", "--max-bodies=1M")
    s.register("echo", identity())
    for size, want in ((3 * MB, 503), (MB + 70000, 503), (900 << 10, 400)):
        st = s.ask("POST", url, gzip.compress(b" " * size), {"Content-Encoding": "gzip"})[0]
        check(st == want, ("all bodies together", size, st))
    check(whole_again(s), "the budget is whole again")
    check(s.stop() == 0, "ends with 0")
    s = Server(build, "--drain-ms=0", "--compress=0")
    st, h, v = s.ask("GET", "/openapi.json", None, {"Accept-Encoding": "gzip"})
    check(st == 200 and h["Content-Encoding"] is None and h["Vary"] is None and v["openapi"], ("--compress 0", st, h["Content-Encoding"]))
    check(s.stop() == 0, "ends with 0")


def others(build):
    """Who asks something small while workers open and pack what is large."""
    s = Server(build, "--drain-ms=0", "--max-body=64M", "--log-requests=1")
    s.register("echo", identity())
    bomb, text = gzip.compress(b" " * (48 * MB)), text_of(20000)[1]
    stop, times = threading.Event(), []
    def keep(body, fields):
        c = dial(s.port, 60)
        while not stop.is_set():
            c.sendall(request("POST", "/v2/models/echo/infer", body, fields))
            read_answer(c)
        c.close()
    threads = [threading.Thread(target=keep, args=a) for a in ((bomb, b"Content-Encoding: gzip\r\n"), (text, b"Accept-Encoding: gzip\r\n"))]
    for t in threads:
        t.start()
    c, end = dial(s.port), time.time() + 2
    while time.time() < end:
        t = time.time()
        c.sendall(request("GET", "/v2/health/live"))
        read_answer(c)
        times.append(time.time() - t)
        time.sleep(0.002)
    stop.set()
    for t in threads:
        t.join()
    times.sort()
    middle, late = times[len(times) // 2] * 1e3, times[len(times) * 95 // 100] * 1e3
    print("others: median %.2f ms, 95 of 100 within %.2f ms" % (middle, late))
    check(middle < 5 * SLACK * patience(build) and late < 30 * SLACK * patience(build), ("others wait", middle, late))
    small = gzip.compress(b" " * 3000000)
    s.ask("POST", "/v2/models/echo/infer", small, {"Content-Encoding": "gzip"})
    lines = s.lines_of(lambda l: l["event"] == "request" and l["bytes"] == len(small), 1)
    check(len(lines) == 1, ("one line of the log, though it came twice", lines))
    check(s.stop() == 0, "ends with 0")


def tokens(build):
    """Nobody makes the server open anything without a token."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    line = subprocess.run([os.path.join(build, "cab-serve"), "--hash-token"], input="secret", capture_output=True, text=True).stdout.split()[0]
    with open(os.path.join(root, "tokens"), "w") as f:
        f.write(line + " admin me\n")
    s = Server(build, "--drain-ms=0", "--tokens=" + os.path.join(root, "tokens"), root=root)
    for body in (b"no gzip", gzip.compress(b" " * 400000)):
        check(s.ask("POST", "/call", body, {"Content-Encoding": "gzip"})[0] == 401, "without a token")
        check(s.ask("POST", "/call", body, {"Content-Encoding": "gzip", "Authorization": "Bearer secret"})[0] == 400, "with one")
    s.stop()
    shutil.rmtree(root)


def main():
    build = sys.argv[1]
    s = Server(build, "--drain-ms=0")
    for name, onnx in (("echo", identity()), ("linear", linear())):
        check(s.register(name, onnx)[0] == 201, name)
    for part in (requests, refused, http2, grpc, answers):
        part(s)
    check(s.stop() == 0, "ends with 0")
    bombs(build)
    others(build)
    tokens(build)
    verdict("coded.py")


main()
