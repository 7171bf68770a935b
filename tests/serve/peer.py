# SPDX-License-Identifier: Apache-2.0
"""peer.py BUILD: the same requests, good and bad, to tritonserver and to this server; their answers must agree in
what a client can notice: status class, JSON members, types, shapes, bytes, header fields, gRPC codes.

Where they differ on purpose INTENDED and GRPC_INTENDED say why.  Run by the python that triton.py names, which has tritonclient."""
import gzip, http.client, os, struct, sys, zlib
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *
from triton import Triton
import grpc
from tritonclient.grpc import service_pb2 as pb, service_pb2_grpc

ROW = [float(i) for i in range(16)]
X = {"name": "x", "datatype": "FP32", "shape": [1, 16], "data": ROW}
RAW = struct.pack("<16f", *ROW)

# Differences of REST that are meant: (what, the request's name or None for every one, theirs, ours) -> why
INTENDED = {
    ("status", None, 5, 4): "theirs is 500 for JSON that does not say what it should: that is the client's fault",
    ("type", None, "text/plain", "application/json"): "theirs sends some errors, JSON, as text/plain",
    ("status", "unload of nothing", 2, 4): "ours says that there is no such model",
    ("type", "unload of nothing", None, "application/json"): "likewise",
    ("status", "no JSON at all", 2, 4): "theirs takes a body without JSON as the raw tensor of the only input, here of 0 rows",
    ("status", "gzip, cut", 2, 4): "theirs takes what it could read of a stream that is broken; nobody knows what was lost",
    ("status", "gzip, no gzip", 2, 4): "likewise: an answer for 0 rows",
    ("type", "gzip, no gzip", "application/octet-stream", "application/json"): "likewise",
    ("status", "gzip, something behind", 2, 4): "likewise",
    ("status", "deflate that is gzip", 2, 4): "theirs does not look at which of the two it was told",
    ("status", "gzip, nothing in it", 2, 4): "as no JSON at all",
    ("type", "gzip, nothing in it", "application/octet-stream", "application/json"): "likewise",
    ("answer", "all binary, one named", None, None): "theirs takes binary_data_output only when no output is named; the extension's "
                                                      "text has it as the default of every output",
    ("answer", "parameters last", None, None): "likewise",
}


def intended(what, name, theirs, ours):
    if what in ("answer", "type", "tail", "header length") and ("answer", name, None, None) in INTENDED:
        return True
    return what != "answer" and any((what, n, theirs, ours) in INTENDED for n in (None, name))


def ask(port, method, path, body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    c.request(method, path, data, headers or {})
    r = c.getresponse()
    raw = r.read()
    c.close()
    return r.status, r.headers, raw


# ---- REST ----

def binary(parameters=None, outputs=None, cut=0, size=64, tail=b"", extra=None):
    """-> (body, headers) of a request whose tensor stands behind the JSON."""
    q = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 16], "parameters": {"binary_data_size": size}}]}
    if parameters is not None:
        q["parameters"] = parameters
    if outputs is not None:
        q["outputs"] = outputs
    q.update(extra or {})
    head = json.dumps(q).encode()
    return head + RAW[:64 - cut] + tail, {"Inference-Header-Content-Length": str(len(head))}


def classes(k, rows=1, data=None, **more):
    data = data or [float(i * 7 % 16 + i * 0.125) for i in range(16 * rows)]
    return {"inputs": [dict(X, shape=[rows, 16], data=data)], "outputs": [{"name": "y", "parameters": dict(more, classification=k)}]}


def binary_texts():
    head = json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 16], "parameters": {"binary_data_size": 80}}]}).encode()
    return head + b"\1\0\0\0a" * 16, {"Inference-Header-Content-Length": str(len(head))}


def coded(coding, body=None, headers=None, cut=0, behind=b"", accept=None):
    """-> (body, headers) of a compressed request."""
    body = body or json.dumps({"inputs": [X]}).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(coding, bytes)(body) + behind
    more = {"Content-Encoding": coding} if coding else {}
    if accept:
        more["Accept-Encoding"] = accept
    return packed[:len(packed) - cut], dict(headers or {}, **more)


MANY = json.dumps({"inputs": [dict(X, shape=[40, 16], data=ROW * 40)]}).encode()


def rest_requests():
    infer = "/v2/models/noop/infer"
    post = lambda name, body, headers=None, path=infer: (name, "POST", path, body, headers)
    get = lambda name, path: (name, "GET", path, None, None)
    y = lambda **p: [{"name": "y", "parameters": p}] if p else [{"name": "y"}]
    rows = [
        get("live", "/v2/health/live"), get("ready", "/v2/health/ready"), get("model ready", "/v2/models/noop/ready"),
        get("version ready", "/v2/models/noop/versions/1/ready"), get("no such model: ready", "/v2/models/no/ready"),
        get("server", "/v2"), get("model", "/v2/models/noop"), get("version", "/v2/models/noop/versions/1"),
        get("config", "/v2/models/noop/config"), get("version's config", "/v2/models/noop/versions/1/config"),
        get("stats", "/v2/models/noop/stats"), get("all stats", "/v2/models/stats"), get("no such model: stats", "/v2/models/no/stats"),
        get("no such model", "/v2/models/no"), get("no such version", "/v2/models/noop/versions/9"), get("no such path", "/v2/nothing"),
        get("infer by GET", infer), ("server by POST", "POST", "/v2", b"", None),
        post("index", b"", path="/v2/repository/index"), post("index, ready", {"ready": True}, path="/v2/repository/index"),
        post("load of nothing", b"", path="/v2/repository/models/no/load"),
        post("unload of nothing", b"", path="/v2/repository/models/no/unload"),
        post("text", {"inputs": [X]}), post("nested", {"inputs": [dict(X, data=[ROW])]}), post("with an id", {"id": "a\"b", "inputs": [X]}),
        post("empty id", {"id": "", "inputs": [X]}), post("an output", {"inputs": [X], "outputs": y()}),
        post("an output, text", {"inputs": [X], "outputs": y(binary_data=False)}), post("an output, binary", {"inputs": [X], "outputs": y(binary_data=True)}),
        post("all outputs binary", {"inputs": [X], "parameters": {"binary_data_output": True}}),
        post("all binary but one", {"inputs": [X], "parameters": {"binary_data_output": True}, "outputs": y(binary_data=False)}),
        post("all binary, one named", {"inputs": [X], "parameters": {"binary_data_output": True}, "outputs": y()}),
        post("parameters last", {"outputs": y(), "inputs": [X], "parameters": {"binary_data_output": True}}),
        post("own parameters", {"inputs": [X], "parameters": {"anything": 5, "text": "a"}}), post("version in the path", {"inputs": [X]}, path="/v2/models/noop/versions/1/infer"),
        post("binary in", *binary()), post("binary in and out", *binary({"binary_data_output": True})),
        post("binary, bytes too few", *binary(cut=4)), post("binary, bytes too many", *binary(tail=b"1234")), post("binary, another size", *binary(size=60, cut=4)),
        post("header length beyond the body", binary()[0], {"Inference-Header-Content-Length": "9999"}), post("header length 0", binary()[0], {"Inference-Header-Content-Length": "0"}),
        post("header length no number", binary()[0], {"Inference-Header-Content-Length": "abc"}),
        post("raw alone", RAW, {"Inference-Header-Content-Length": "0"}), post("raw alone, two rows", RAW * 2, {"Inference-Header-Content-Length": "0"}),
        post("raw alone, half a row", RAW[:32], {"Inference-Header-Content-Length": "0"}),
        post("broken JSON", b"{"), post("no JSON at all", b""), post("JSON of another form", b"[1]"), post("no inputs", {}), post("inputs empty", {"inputs": []}),
        post("inputs no array", {"inputs": 5}), post("input twice", {"inputs": [X, X]}), post("unknown input", {"inputs": [dict(X, name="z")]}),
        post("another type", {"inputs": [dict(X, datatype="INT32")]}), post("a type that is none", {"inputs": [dict(X, datatype="FP33")]}),
        post("rank 1", {"inputs": [dict(X, shape=[16])]}), post("another extent", {"inputs": [dict(X, shape=[1, 15], data=ROW[1:])]}),
        post("no rows", {"inputs": [dict(X, shape=[0, 16], data=[])]}), post("elements too few", {"inputs": [dict(X, data=ROW[1:])]}), post("elements too many", {"inputs": [dict(X, data=ROW + [1.0])]}), post("text as element", {"inputs": [dict(X, data=["a"] * 16)]}),
        post("negative extent", {"inputs": [dict(X, shape=[-1, 16])]}), post("no shape", {"inputs": [{k: v for k, v in X.items() if k != "shape"}]}),
        post("no datatype", {"inputs": [{k: v for k, v in X.items() if k != "datatype"}]}), post("no data", {"inputs": [{k: v for k, v in X.items() if k != "data"}]}),
        post("unknown output", {"inputs": [X], "outputs": [{"name": "z"}]}), post("outputs empty", {"inputs": [X], "outputs": []}), post("id a number", {"id": 5, "inputs": [X]}),
        post("infer: no such model", {"inputs": [X]}, path="/v2/models/no/infer"), post("infer: no such version", {"inputs": [X]}, path="/v2/models/noop/versions/9/infer"),
        post("infer: version no number", {"inputs": [X]}, path="/v2/models/noop/versions/abc/infer"),
        post("classes", classes(5)), post("classes, one", classes(1)), post("classes, more than there are", classes(99)), post("classes, binary", classes(3, binary_data=True)),
        post("classes, two rows", classes(4, rows=2)), post("classes by row", classes(4, rows=2), path="/v2/models/rows/infer"), post("classes by row, all", classes(16, rows=3), path="/v2/models/rows/infer"),
        post("classes by row, binary", classes(2, rows=3, binary_data=True), path="/v2/models/rows/infer"), post("no classes", classes(0)), post("classes below 0", classes(-1)),
        post("classes as text", classes("5")), post("half a class", classes(1.5)), post("classes, the output unknown", dict(classes(2), outputs=[{"name": "z", "parameters": {"classification": 2}}])),
        post("classes, numbers", classes(16, data=[1e30, -1e30, 0.1, 1e-9, 123456.789, -0.5, 3e38, 7, 8, 9, 10, 11, 12, 13, 14, 15])),
        post("classes, infinite", b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,16],"data":[1,Infinity,-Infinity,-1' + b",-2,-3,-4,-5,-6,-7,-8,-9,-10,-11,-12,-13" +
             b']}],"outputs":[{"name":"y","parameters":{"classification":16}}]}'),
        post("rows, as many as a batch", {"inputs": [dict(X, shape=[8, 16], data=ROW * 8)]}, path="/v2/models/rows/infer"),
        post("rows, none", {"inputs": [dict(X, shape=[0, 16], data=[])]}, path="/v2/models/rows/infer"),
        post("rows, more than a batch", {"inputs": [dict(X, shape=[9, 16], data=ROW * 9)]}, path="/v2/models/rows/infer"),
        post("texts as input", {"inputs": [dict(X, datatype="BYTES", data=["a"] * 16)]}),
        post("texts as input, binary", *binary_texts()),
        post("gzip", *coded("gzip")), post("deflate", *coded("deflate")), post("identity", *coded("identity")), post("no such coding", *coded("br")),
        post("two codings", *coded("gzip, deflate")), post("gzip, cut", *coded("gzip", cut=9)), post("deflate, cut", *coded("deflate", cut=9)),
        post("gzip, no gzip", json.dumps({"inputs": [X]}).encode(), {"Content-Encoding": "gzip"}), post("deflate that is gzip", coded("gzip")[0], {"Content-Encoding": "deflate"}),
        post("gzip, something behind", *coded("gzip", behind=b"more")), post("gzip, two members", *coded("gzip", behind=gzip.compress(b" "))),
        post("gzip, nothing in it", gzip.compress(b""), {"Content-Encoding": "gzip"}), post("gzip of no JSON", *coded("gzip", b"{")),
        post("gzip, binary", *coded("gzip", *binary())), post("deflate, binary in and out", *coded("deflate", *binary({"binary_data_output": True}))),
        post("gzip, header length beyond the body", *coded("gzip", binary()[0], {"Inference-Header-Content-Length": "9999"})),
        post("answer in gzip", *coded(None, MANY, accept="gzip")), post("answer in deflate", *coded(None, MANY, accept="deflate")),
        post("answer in gzip, weights", *coded(None, MANY, accept="deflate;q=0.2, gzip;q=0.8")), post("answer as it is", *coded(None, MANY, accept="gzip;q=0")),
        post("answer in br", *coded(None, MANY, accept="br")), post("gzip both ways", *coded("gzip", MANY, accept="gzip")), post("an error in gzip", *coded("gzip", b"{", accept="gzip")),
        post("NaN", b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,16],"data":[NaN,Infinity,-Infinity' + b",0" * 13 + b"]}]}"),
    ]
    return rows


def members(v, depth=0):
    """The shape of JSON: names and kinds, as deep as a client looks."""
    if isinstance(v, dict):
        return {k: members(x, depth + 1) for k, x in v.items()}
    if isinstance(v, list):
        return [members(v[0], depth + 1)] if v else []
    return "text" if isinstance(v, str) else "switch" if isinstance(v, bool) else "number" if isinstance(v, (int, float)) else None


def facets(answer):
    """What of an answer is held against the other's."""
    st, h, raw = answer
    coding = h.get("Content-Encoding")
    raw = gzip.decompress(raw) if coding == "gzip" else zlib.decompress(raw) if coding == "deflate" else raw
    out = {"coding": coding, "status": st // 100, "type": h.get("Content-Type") if raw else None}
    n = h.get("Inference-Header-Content-Length")
    out["header length"] = n is not None
    out["tail"] = raw[int(n):] if n else b""
    text = raw[:int(n)] if n else raw
    try:
        j = json.loads(text) if text else None
    except ValueError:
        j = "no JSON"
    if st != 200:
        out["error"] = isinstance(j, dict) and isinstance(j.get("error"), str)
    elif isinstance(j, dict) and "outputs" in j and "model_version" in j:
        out["answer"] = dict(j, outputs=[{k: str(v) for k, v in o.items()} for o in j["outputs"]])
    else:
        out["members"] = members(j)
    return out


# members that only one of the two has, by the request: theirs that say nothing here, ours beside theirs
def known_members(name, theirs, ours):
    if name in ("config", "version's config"):
        need = {"name", "platform", "backend", "max_batch_size", "input", "output", "instance_group"}
        return need <= set(ours) and all(ours[k].keys() <= theirs[k].keys() if isinstance(ours[k], dict) else True for k in need)
    if name in ("stats", "all stats"):
        t, o = theirs["model_stats"][0], ours["model_stats"][0]
        return o.keys() <= t.keys() and o["inference_stats"] == t["inference_stats"]
    if name in ("live", "ready", "model ready", "version ready"):
        return theirs is None                         # KServe's clients want a body; Triton's take any
    if name in ("index", "index, ready"):
        return {k for k in theirs[0]} <= {k for k in ours[0]}
    return theirs == ours


def rest(triton, ours):
    for name, *request in rest_requests():
        a, b = ask(triton.port, *request), ask(ours.port, *request)
        fa, fb = facets(a), facets(b)
        if "members" in fa and "members" in fb:
            check(known_members(name, fa.pop("members"), fb.pop("members")), ("members", name, a[2][:400], b[2][:400]))
            if name in ("live", "ready", "model ready", "version ready"):
                fa.pop("type"), fb.pop("type")
        for key in sorted(fa.keys() & fb.keys()):
            check(fa[key] == fb[key] or intended(key, name, fa[key], fb[key]),
                  (key, name, "theirs", a[0], fa[key], a[2][:160], "ours", b[0], fb[key], b[2][:160]))


# ---- gRPC ----

def message(**change):
    q = pb.ModelInferRequest(model_name=change.get("model", "noop"), model_version=change.get("version", ""), id=change.get("id", ""))
    q.inputs.add(name=change.get("name", "x"), datatype=change.get("datatype", "FP32"), shape=change.get("shape", [1, 16]))
    if "typed" in change:
        q.inputs[0].contents.fp32_contents.extend(change["typed"])
    else:
        q.raw_input_contents.append(change.get("raw", RAW))
    if "output" in change:
        q.outputs.add(name=change["output"])
    if "classes" in change:
        q.outputs.add(name="y").parameters["classification"].int64_param = change["classes"]
    return q


def grpc_requests():
    """(what it is, call, message)"""
    rows = [("live", "ServerLive", pb.ServerLiveRequest()), ("ready", "ServerReady", pb.ServerReadyRequest()),
            ("ready", "ModelReady", pb.ModelReadyRequest(name="noop")), ("version ready", "ModelReady", pb.ModelReadyRequest(name="noop", version="1")),
            ("no such version", "ModelReady", pb.ModelReadyRequest(name="noop", version="9")), ("no such model", "ModelReady", pb.ModelReadyRequest(name="no")),
            ("model", "ModelMetadata", pb.ModelMetadataRequest(name="noop")), ("no such model", "ModelMetadata", pb.ModelMetadataRequest(name="no")),
            ("no such version", "ModelMetadata", pb.ModelMetadataRequest(name="noop", version="9")),
            ("no such model", "ModelConfig", pb.ModelConfigRequest(name="no")), ("no such model", "ModelStatistics", pb.ModelStatisticsRequest(name="no")),
            ("no such model", "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="no")),
            ("no such model", "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="no"))]
    two, both, mixed = message(), message(typed=ROW), message(typed=ROW)
    two.raw_input_contents.append(RAW)
    both.raw_input_contents.append(RAW)
    mixed.raw_input_contents.append(b"")
    twice = RAW + struct.pack("<16f", *(v + 0.5 for v in ROW))
    for what, q in (("raw", message()), ("typed", message(typed=ROW)), ("id", message(id="7")), ("version", message(version="1")),
                    ("an output", message(output="y")), ("two rows", message(shape=[2, 16], raw=RAW * 2)), ("no such model", message(model="no")),
                    ("no such version", message(version="9")), ("version no number", message(version="abc")), ("unknown input", message(name="z")),
                    ("unknown output", message(output="z")), ("another type", message(datatype="INT32")), ("a type that is none", message(datatype="FP33")),
                    ("texts", message(datatype="BYTES", raw=b"\1\0\0\0a" * 16)),
                    ("rank 1", message(shape=[16])), ("negative extent", message(shape=[-1, 16])), ("bytes too few", message(raw=RAW[1:])),
                    ("no bytes", message(raw=b"")), ("elements too few", message(typed=ROW[1:])),
                    ("no rows", message(shape=[0, 16], raw=b"")), ("no rows, typed", message(shape=[0, 16], typed=[])),
                    ("50 rows", message(shape=[50, 16], raw=RAW * 50)), ("51 rows", message(shape=[51, 16], raw=RAW * 51)),
                    ("52 rows", message(shape=[52, 16], raw=RAW * 52)),
                    ("3 classes", message(classes=3)), ("all classes", message(classes=16)), ("99 classes", message(classes=99)),
                    ("0 classes", message(classes=0)), ("-1 classes", message(classes=-1)),
                    ("classes of rows, no batches", message(shape=[2, 16], raw=twice, classes=5)),
                    ("classes of rows", message(model="rows", shape=[3, 16], raw=RAW * 3, classes=4)),
                    ("classes of a row", message(model="rows", classes=16)),
                    ("rows, as many as a batch", message(model="rows", shape=[8, 16], raw=RAW * 8)),
                    ("rows, more than a batch", message(model="rows", shape=[9, 16], raw=RAW * 9)), ("raw without an input", two),
                    ("raw beside typed", both), ("raw without bytes beside typed", mixed), ("no inputs", pb.ModelInferRequest(model_name="noop")),
                    ("nothing", pb.ModelInferRequest())):
        rows.append((what, "ModelInfer", q))
    return rows


def call(stub, name, q, compression):
    try:
        return "OK", getattr(stub, name)(q, timeout=20, compression=compression)
    except grpc.RpcError as e:
        return e.code().name, e.details()


GRPC_INTENDED = {
    # (what it is, call, their code, our code): why
    ("no such model", "RepositoryModelLoad", "INTERNAL", "NOT_FOUND"): "a model that is not there is not a fault of the server",
    ("no such model", "RepositoryModelUnload", "OK", "NOT_FOUND"): "likewise",
    ("no such model", "ModelStatistics", "INVALID_ARGUMENT", "NOT_FOUND"): "as every other call says it",
    ("version no number", "ModelInfer", "INVALID_ARGUMENT", "NOT_FOUND"): "a version that is no number may be a label",
    ("raw without an input", "ModelInfer", "OK", "INVALID_ARGUMENT"): "theirs drops raw_input_contents that belong to no input",
}


def rpc(triton, ours):
    a = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel("127.0.0.1:%d" % triton.grpc))
    b = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel("127.0.0.1:%d" % ours.port))
    unmet = set(GRPC_INTENDED)
    packings = (grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate)
    for i, (what, name, q) in enumerate(grpc_requests()):
        compression = packings[i % 3] if name == "ModelInfer" else packings[0]
        (ca, ra), (cb, rb) = call(a, name, q, compression), call(b, name, q, compression)
        if (what, name, ca, cb) in GRPC_INTENDED:
            unmet.discard((what, name, ca, cb))
            continue
        check(ca == cb, ("code", what, name, str(q)[:160], "theirs", ca, str(ra)[:200], "ours", cb, str(rb)[:200]))
        if (ca, cb) == ("OK", "OK"):
            for r in (ra, rb):
                if name == "ModelMetadata":
                    r.platform = ""
            check(ra == rb, ("message", what, name, str(q)[:160], str(ra)[:300], str(rb)[:300]))
    check(not unmet, ("differences that are none any more", unmet))


def failures(port):
    """Of every model, as the statistics extension counts them."""
    return {m["name"]: m["inference_stats"]["fail"]["count"] for m in json.loads(ask(port, "GET", "/v2/models/stats")[2])["model_stats"]}


def compare(triton):
    ours = Server(sys.argv[1], "--drain-ms=0")
    check(ours.register("noop", identity())[0] == 201, "register")
    check(ours.register("rows", identity(), config={"max_batch_size": 8})[0] == 201, "register")
    rest(triton, ours)
    rpc(triton, ours)
    check(failures(triton.port) == failures(ours.port), ("failures that are counted", failures(triton.port), failures(ours.port)))


def main():
    triton = Triton((("noop", 0, "-1, 16"), ("rows", 8, "16")), "--model-control-mode=explicit", "--load-model=noop", "--load-model=rows")
    try:
        compare(triton)
    finally:
        triton.stop()
    verdict("peer.py")


main()
