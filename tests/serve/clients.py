# SPDX-License-Identifier: Apache-2.0
"""clients.py BUILD: the server through other people's clients - tritonclient (http, grpc), KServe's, curl - every
verb that they have; what comes back is held against what is computed here."""
import asyncio, os, queue, shutil, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *
import ml_dtypes
import numpy as np
KSERVE = len(sys.argv) > 2 and sys.argv[1] == "--kserve"
if not KSERVE:
    import tritonclient.grpc as tg
    import tritonclient.http as th
    from tritonclient.utils import InferenceServerException, triton_to_np_dtype

ROWS, WIDTH = 3, 5
# Open Inference Protocol's name: ONNX's number
DTYPES = {"FP32": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "BOOL": 9, "FP16": 10,
          "FP64": 11, "UINT32": 12, "UINT64": 13, "BF16": 16}


def every_type():
    """y_T = x_T for each type T."""
    return model([node("Identity", ["x_" + t], ["y_" + t]) for t in DTYPES],
                 [value_info("x_" + t, ["n", WIDTH], k) for t, k in DTYPES.items()],
                 [value_info("y_" + t, ["n", WIDTH], k) for t, k in DTYPES.items()])


def two():
    """sum = a + b, product = a b; INT32."""
    return model([node("Add", ["a", "b"], ["sum"]), node("Mul", ["a", "b"], ["product"])],
                 [value_info("a", ["n", WIDTH], 6), value_info("b", ["n", WIDTH], 6)],
                 [value_info("sum", ["n", WIDTH], 6), value_info("product", ["n", WIDTH], 6)])


def values(t, seed=7):
    """Random ones, the type's limits among them."""
    r = np.random.default_rng(seed)
    if t == "BOOL":
        return r.integers(0, 2, (ROWS, WIDTH)).astype(bool)
    if t == "BF16":
        return r.standard_normal((ROWS, WIDTH)).astype(ml_dtypes.bfloat16)
    d = np.dtype(np.float32 if t == "FP32" else triton_to_np_dtype(t))
    if d.kind == "f":
        v = r.standard_normal((ROWS, WIDTH)).astype(d)
        v[0, 0], v[0, 1], v[0, 2] = np.finfo(d).max, np.finfo(d).tiny, -0.0
        return v
    i = np.iinfo(d)
    v = r.integers(i.min, i.max, (ROWS, WIDTH), dtype=d, endpoint=True)
    v[0, 0], v[0, 1] = i.min, i.max
    return v


def same(a, b):
    return a is not None and a.shape == b.shape and np.array_equal(a, b)


def refused(what, status, call, *args, **kw):
    """call raises the client's exception with one of these statuses."""
    try:
        call(*args, **kw)
    except InferenceServerException as e:
        return check(str(e.status()) in status and e.message(), (what, e.status(), e.message()))
    return check(False, (what, "was not refused"))


def tensor(m, name, t, v, **how):
    i = m.InferInput(name, list(v.shape), t)
    i.set_data_from_numpy(v, **how)
    return i


# ---- what http and grpc have in common ----

def meta(c, m, name):
    """Health, metadata, configuration."""
    plain = lambda r: r if m is th else m_json(r)
    m_json = lambda r: c_json(r)
    check(c.is_server_live() and c.is_server_ready(), (name, "health"))
    check(c.is_model_ready("types") and c.is_model_ready("types", "1"), (name, "model ready"))
    check(not c.is_model_ready("types", "9") and not c.is_model_ready("nothing"), (name, "model not ready"))
    r = plain(c.get_server_metadata())
    check(r["name"] == "cabochon" and "binary_tensor_data" in r["extensions"], (name, "server metadata", r))
    r = plain(c.get_model_metadata("types"))
    check([i["name"] for i in r["inputs"]] == ["x_" + t for t in DTYPES] and
          [i["datatype"] for i in r["outputs"]] == list(DTYPES) and r["versions"] == ["1"], (name, "model metadata", r))
    check([int(d) for d in r["inputs"][0]["shape"]] == [-1, WIDTH], (name, "shapes", r["inputs"][0]))
    r = plain(c.get_model_config("batched"))
    r = r.get("config", r)
    check(r["max_batch_size"] == 8 and r["input"][0]["data_type"] == "TYPE_FP32" and [int(d) for d in r["input"][0]["dims"]] == [16]
          and int(r["dynamic_batching"]["max_queue_delay_microseconds"]) == 500 and r["instance_group"][0]["count"] == 2,
          (name, "configuration", r))
    refused((name, "metadata of nothing"), ("404", "StatusCode.NOT_FOUND"), c.get_model_metadata, "nothing")
    refused((name, "config of nothing"), ("404", "StatusCode.NOT_FOUND"), c.get_model_config, "nothing")


def c_json(r):
    from google.protobuf.json_format import MessageToDict
    return MessageToDict(r, preserving_proto_field_name=True)


def infer(c, m, name):
    for how in ({"binary_data": True}, {"binary_data": False}) if m is th else ({},):
        ask = [t for t in DTYPES if t != "BF16" or how.get("binary_data", True)]      # tritonclient has no BF16 as text
        xs = {t: values(t) for t in DTYPES}
        ins = [tensor(m, "x_" + t, t, xs[t], **(how if t in ask else {"binary_data": True})) for t in DTYPES]
        outs = [m.InferRequestedOutput("y_" + t, **how) for t in ask]
        r = c.infer("types", ins, outputs=outs, request_id="a1")
        for t in ask:
            check(same(r.as_numpy("y_" + t), xs[t]), (name, how, t, r.as_numpy("y_" + t), xs[t]))
        check(r.as_numpy("y_nothing") is None and r.as_numpy("x_FP32") is None, (name, "no output of that name"))
    a, b = values("INT32", 1) % 1000, values("INT32", 2) % 1000
    ab = [tensor(m, "a", "INT32", a), tensor(m, "b", "INT32", b)]
    r = c.infer("two", ab)
    check(same(r.as_numpy("sum"), a + b) and same(r.as_numpy("product"), a * b), (name, "two outputs"))
    r = c.infer("two", ab[::-1], model_version="1", outputs=[m.InferRequestedOutput("product")], timeout=5000000)
    check(same(r.as_numpy("product"), a * b) and r.as_numpy("sum") is None, (name, "one output, inputs in another order"))
    answer = r.get_response()
    id_ = c.infer("two", ab, request_id="é \"7").get_response()
    check((id_["id"] if m is th else id_.id) == "é \"7", (name, "request id", id_ if m is th else id_.id))
    check((answer["model_version"] if m is th else answer.model_version) == "1", (name, "version in the answer"))
    bad = ("400", "StatusCode.INVALID_ARGUMENT")
    refused((name, "no such model"), ("404", "StatusCode.NOT_FOUND"), c.infer, "nothing", ab)
    refused((name, "no such version"), ("404", "StatusCode.NOT_FOUND"), c.infer, "two", ab, model_version="7")
    refused((name, "an input too few"), bad, c.infer, "two", ab[:1])
    refused((name, "an input twice"), bad, c.infer, "two", [ab[0], ab[0]])
    refused((name, "an unknown input"), bad, c.infer, "two", [ab[0], tensor(m, "z", "INT32", b)])
    refused((name, "another type"), bad, c.infer, "two", [ab[0], tensor(m, "b", "INT64", b.astype(np.int64))])
    refused((name, "another shape"), bad, c.infer, "two", [ab[0], tensor(m, "b", "INT32", b[:, 1:].copy())])
    refused((name, "rows that differ"), bad, c.infer, "two", [ab[0], tensor(m, "b", "INT32", b[1:].copy())])
    refused((name, "an unknown output"), bad, c.infer, "two", ab, outputs=[m.InferRequestedOutput("z")])
    short = m.InferInput("a", [ROWS, WIDTH], "INT32")
    short.set_data_from_numpy(a)
    short._raw_data = short._raw_data[:-4] if m is th else short._raw_content[:-4]
    if m is tg:
        short._raw_content = short._raw_content[:-4]
    else:
        short._parameters["binary_data_size"] -= 4
    refused((name, "bytes too few"), bad, c.infer, "two", [short, ab[1]])


def compressed(c, m, name):
    """Requests and answers, each way alone and both; long enough that somebody compresses."""
    x = np.repeat(values("FP32"), 2000, axis=0)
    for n in (ROWS, len(x)):
        for way in ("gzip", "deflate"):
            for how in ({"binary_data": True}, {"binary_data": False}) if m is th else ({},):
                ask = [tensor(m, "x", "FP32", x[:n], **how)]
                out = [m.InferRequestedOutput("y", **how)]
                ways = ((way, None), (None, way), (way, way)) if m is th else ((way,),)
                for w in ways:
                    more = dict(request_compression_algorithm=w[0], response_compression_algorithm=w[1]) if m is th else dict(compression_algorithm=w[0])
                    r = c.infer("one-fp32", ask, outputs=out, **more)
                    check(same(r.as_numpy("y"), x[:n]), (name, "compressed", n, how, more))
                refused((name, "compressed, no such output"), ("400", "StatusCode.INVALID_ARGUMENT"), c.infer, "one-fp32", ask,
                        outputs=[m.InferRequestedOutput("z")], **more)


def classes_of(rows, k, labels=()):
    """What the extension makes of each row: the largest first, of equal ones the first."""
    out = []
    for row in rows:
        order = sorted(range(len(row)), key=lambda i: (-row[i].item(), i))[:k]
        out.append([(("%f" if row.dtype.kind == "f" else "%d") % row[i] + ":%d" % i + (":" + labels[i] if i < len(labels) else "")).encode() for i in order])
    return np.array(out, object)


def classification(c, m, name):
    """As texts: of a model with batches row by row, of another all elements together; labels where there are some."""
    r = np.random.default_rng(3)
    f, i = r.standard_normal((ROWS, 16)).astype(np.float32), r.integers(-9, 9, (ROWS, WIDTH)).astype(np.int32)
    one = np.ones((ROWS, WIDTH), np.int32)
    for how in ({"binary_data": True}, {"binary_data": False}) if m is th else ({},):
        for k in (1, 3, 16, 1000000):
            ask = lambda model, x, t: c.infer(model, [tensor(m, "x", t, x, **how)], outputs=[m.InferRequestedOutput("y", class_count=k, **how)]).as_numpy("y")
            text = lambda a: np.vectorize(lambda v: v if isinstance(v, bytes) else v.encode(), otypes=[object])(a)
            y = text(ask("batched", f, "FP32"))
            check(y.shape == (ROWS, min(k, 16)) and (y == classes_of(f, k)).all(), (name, "classes by row", how, k, y))
            y = text(ask("labelled", f, "FP32"))
            check((y == classes_of(f, k, ["cat", "d\"o:g", "é"])).all(), (name, "labels", how, k, y))
            for t in DTYPES:
                if t in ("BOOL", "BF16"):
                    continue
                v = np.nan_to_num(values(t))
                y = text(ask("one-" + t.lower(), v, t))
                want = classes_of(v.reshape(1, -1), k)[0]
                check(y.shape == want.shape and (y == want).all(), (name, "classes of all", t, how, k, y, want))
        r = c.infer("two", [tensor(m, "a", "INT32", i), tensor(m, "b", "INT32", one)],
                    outputs=[m.InferRequestedOutput("product", **how), m.InferRequestedOutput("sum", class_count=2, **how)])
        check(same(r.as_numpy("product"), i) and list(text(r.as_numpy("sum"))) == list(classes_of((i + 1).reshape(1, -1), 2)[0]),
              (name, "a tensor beside classes", how, r.as_numpy("sum")))
    bad = ("400", "StatusCode.INVALID_ARGUMENT")
    refused((name, "classes of BOOL"), bad, c.infer, "one-bool", [tensor(m, "x", "BOOL", values("BOOL"))], outputs=[m.InferRequestedOutput("y", class_count=2)])
    refused((name, "fewer than none"), bad, c.infer, "batched", [tensor(m, "x", "FP32", f)], outputs=[m.InferRequestedOutput("y", class_count=-1)])
    texts = m.InferInput("x", [ROWS, 16], "BYTES")
    texts.set_data_from_numpy(np.array([["a"] * 16] * ROWS, object))
    try:
        c.infer("batched", [texts])
        check(False, (name, "texts as input"))
    except InferenceServerException as e:
        check(str(e.status()) in bad and "input 'x' data-type is 'BYTES'" in e.message() and "no model takes texts" in e.message(),
              (name, "texts as input", e.message()))


def repository(c, m, name):
    rows = c.get_model_repository_index()
    rows = rows if m is th else c_json(rows)["models"]
    check({(r["name"], r["state"]) for r in rows} >= {("two", "READY"), ("types", "READY")}, (name, "index", rows))
    c.unload_model("two")
    check(not c.is_model_ready("two"), (name, "unload"))
    ab = [tensor(m, k, "INT32", values("INT32")) for k in "ab"]
    refused((name, "unloaded"), ("404", "StatusCode.NOT_FOUND"), c.infer, "two", ab)
    c.load_model("two")
    check(c.is_model_ready("two"), (name, "load"))
    c.load_model("two", config=json.dumps({"max_batch_size": 4, "instance_group": [{"count": 3, "kind": "KIND_CPU"}],
                                           "dynamic_batching": {"max_queue_delay_microseconds": 9}}))
    r = c.get_model_config("two")
    r = r if m is th else c_json(r)["config"]
    check(r["max_batch_size"] == 4 and r["instance_group"][0]["count"] == 3, (name, "another configuration", r))
    check(same(c.infer("two", ab).as_numpy("sum"), ab_sum()), (name, "it computes with that"))
    c.load_model("two")
    r = c.get_model_config("two")
    r = r if m is th else c_json(r)["config"]
    check(not r.get("max_batch_size"), (name, "its own configuration again", r))
    refused((name, "configuration that is none"), ("400", "StatusCode.INVALID_ARGUMENT"), c.load_model, "two", config="{")
    refused((name, "load of nothing"), ("404", "StatusCode.NOT_FOUND"), c.load_model, "nothing")
    refused((name, "unload of nothing"), ("404", "StatusCode.NOT_FOUND"), c.unload_model, "nothing")
    up = "up-" + name
    c.load_model(up, config="{}", files={"file:1/model.onnx": linear(7.0, 1.0)})
    x = np.array([[2.0]], np.float32)
    check(same(c.infer(up, [tensor(m, "x", "FP32", x)]).as_numpy("y"), 7 * x + 1), (name, "a file brought by load"))
    refused((name, "other bytes as the same version"), ("409", "StatusCode.ALREADY_EXISTS"), c.load_model, up, config="{}",
            files={"file:1/model.onnx": linear(8.0, 1.0)})
    refused((name, "a file that is no model"), ("422", "StatusCode.FAILED_PRECONDITION"), c.load_model, up + "x", config="{}",
            files={"file:1/model.onnx": b"nothing"})
    refused((name, "a file elsewhere"), ("400", "StatusCode.INVALID_ARGUMENT"), c.load_model, up, config="{}",
            files={"file:../model.onnx": linear()})


def ab_sum():
    return (values("INT32").astype(np.int64) * 2).astype(np.int32)


def statistics(c, m, name):
    before = stats_of(c, m)
    c.infer("two", [tensor(m, k, "INT32", values("INT32")) for k in "ab"])
    after = stats_of(c, m)
    check(after == before + 1, (name, "statistics", before, after))
    x = np.zeros((ROWS, 16), np.float32)
    c.infer("batched", [tensor(m, "x", "FP32", x)])
    r = c.get_inference_statistics("batched")
    row = (r if m is th else c_json(r))["model_stats"][0]
    check([int(b["batch_size"]) for b in row["batch_stats"]] == [ROWS] and int(row["batch_stats"][0]["compute_infer"]["count"]) >= 1,
          (name, "statistics by batch size", row))
    everything = c.get_inference_statistics()
    rows = everything["model_stats"] if m is th else c_json(everything)["model_stats"]
    check({r["name"] for r in rows} >= {"two", "types"}, (name, "statistics of all", rows))


def stats_of(c, m):
    r = c.get_inference_statistics("two", "1")
    row = (r if m is th else c_json(r))["model_stats"][0]
    return int(row.get("inference_stats", {}).get("success", {}).get("count", 0))


# ---- what one of them has alone ----

def http_async(c):
    ab = [tensor(th, k, "INT32", values("INT32")) for k in "ab"]
    many = [c.async_infer("two", ab, request_id=str(i)) for i in range(32)]
    for i, r in enumerate(many):
        r = r.get_result()
        check(same(r.as_numpy("sum"), ab_sum()) and r.get_response()["id"] == str(i), ("http async", i))
    wrong = c.async_infer("nothing", ab)
    refused("http async: no such model", ("404",), wrong.get_result)


def grpc_async(c):
    ab = [tensor(tg, k, "INT32", values("INT32")) for k in "ab"]
    got = queue.Queue()
    for i in range(32):
        c.async_infer("two" if i % 8 else "nothing", ab, lambda result, error, i=i: got.put((i, result, error)), request_id=str(i))
    for _ in range(32):
        i, result, error = got.get(timeout=20)
        check(error.status() == "StatusCode.NOT_FOUND" if i % 8 == 0 else same(result.as_numpy("sum"), ab_sum()), ("grpc async", i, error))


def stream(c, **how):
    """One stream of good and bad requests: each is answered, in order; a bad one does not end it."""
    ab = [tensor(tg, k, "INT32", values("INT32")) for k in "ab"]
    got = queue.Queue()
    c.start_stream(lambda result, error: got.put((result, error)), **how)
    bad = {3: ("nothing", ab), 4: ("two", ab[:1]), 9: ("two", [ab[0], tensor(tg, "b", "FP32", np.zeros((ROWS, WIDTH), np.float32))])}
    for i in range(16):
        name, ins = bad.get(i, ("two", ab))
        c.async_stream_infer(name, ins, request_id=str(i))
    for i in range(16):
        result, error = got.get(timeout=20)
        if i in bad:
            check(error is not None and error.message(), ("stream: an error where it belongs", i, error))
        else:
            check(error is None and result.get_response().id == str(i) and same(result.as_numpy("sum"), ab_sum()), ("stream", i, error))
    c.stop_stream()


def typed_contents(url):
    """Tensors in `contents`, as clients without numpy send them, on a plain channel."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc
    stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(url))
    field = {"BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents",
             "FP64": "fp64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
             "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents"}
    for t, onnx in DTYPES.items():
        if t not in field:
            continue
        q = service_pb2.ModelInferRequest(model_name="one-" + t.lower())
        i = q.inputs.add(name="x", datatype=t, shape=[ROWS, WIDTH])
        getattr(i.contents, field[t]).extend(values(t).flatten().tolist())
        r = stub.ModelInfer(q)
        y = np.frombuffer(r.raw_output_contents[0], values(t).dtype).reshape(ROWS, WIDTH)
        check(same(y, values(t)) and r.outputs[0].datatype == t, ("typed contents", t, y))
    for what, change in (("raw beside typed", lambda q: q.raw_input_contents.append(b"1234")),
                         ("no data", lambda q: q.inputs[0].ClearField("contents")),
                         ("a negative extent", lambda q: q.inputs[0].shape.__setitem__(0, -1)),
                         ("BYTES", lambda q: setattr(q.inputs[0], "datatype", "BYTES")),
                         ("a timeout that is text", lambda q: setattr(q.parameters["timeout"], "string_param", "5"))):
        q = service_pb2.ModelInferRequest(model_name="one-fp32")
        i = q.inputs.add(name="x", datatype="FP32", shape=[1, WIDTH])
        i.contents.fp32_contents.extend([1.0] * WIDTH)
        change(q)
        try:
            stub.ModelInfer(q)
            check(False, ("not refused", what))
        except grpc.RpcError as e:
            check(e.code() == grpc.StatusCode.INVALID_ARGUMENT and e.details(), ("typed contents", what, e.code(), e.details()))


def kserve_clients(port):
    """In a process of its own: tritonclient and kserve register the same protobuf names."""
    import kserve
    from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
    x = values("FP32")

    def request():
        i = InferInput("x", list(x.shape), "FP32")
        i.set_data_from_numpy(x, binary_data=False)
        return InferRequest("one-fp32", [i], request_id="k1")

    async def rest():
        c = InferenceRESTClient(kserve.inference_client.RESTConfig(protocol="v2"))
        base = "http://127.0.0.1:%d" % port
        check(await c.is_server_live(base) and await c.is_server_ready(base), "kserve rest: health")
        check(await c.is_model_ready(base, "one-fp32"), "kserve rest: model")
        r = await c.infer(base, request(), model_name="one-fp32")
        check(same(r.outputs[0].as_numpy(), x) and r.id == "k1", ("kserve rest: infer", r))

    async def rpc():
        c = InferenceGRPCClient("127.0.0.1:%d" % port)
        check(await c.is_server_live() and await c.is_server_ready(), "kserve grpc: health")
        check(await c.is_model_ready("one-fp32"), "kserve grpc: model")
        r = await c.infer(request())
        check(same(r.outputs[0].as_numpy(), x), ("kserve grpc: infer", r))
        await c.close()
    asyncio.run(rest())
    asyncio.run(rpc())


def curl(s):
    """HTTP/1.1 and HTTP/2 by curl, text and binary."""
    url = "http://127.0.0.1:%d" % s.port
    x = values("FP32")
    folder = tempfile.mkdtemp()
    body = os.path.join(folder, "body")
    for flag in ("--http1.1", "--http2-prior-knowledge"):
        ask = lambda *a: subprocess.run(["curl", "-s", flag, *a], capture_output=True, timeout=20).stdout
        check(json.loads(ask(url + "/v2"))["name"] == "cabochon", (flag, "metadata"))
        text = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.tolist()}]})
        r = json.loads(ask("-d", text, url + "/v2/models/one-fp32/infer"))
        check(np.array_equal(np.array(r["outputs"][0]["data"], np.float32).reshape(x.shape), x), (flag, "text", r))
        head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": list(x.shape), "parameters": {"binary_data_size": x.nbytes}}],
                           "parameters": {"binary_data_output": True}}).encode()
        with open(body, "wb") as f:
            f.write(head + x.tobytes())
        r = ask("--data-binary", "@" + body, "-H", "Inference-Header-Content-Length: %d" % len(head), url + "/v2/models/one-fp32/infer")
        check(r.endswith(x.tobytes()) and json.loads(r[:-x.nbytes])["outputs"][0]["parameters"]["binary_data_size"] == x.nbytes, (flag, "binary"))
    shutil.rmtree(folder)


def policies(s):
    """Versions, labels, policies, the way back, the end: by REST."""
    ask = lambda method, path, body=None: s.ask(method, "/v2/models" + path, body)
    y = lambda version="": s.ask("POST", "/call", dict(name="line", inputs={"x": [[1]]}, **({"version": version} if version else {})))[2].get("outputs", {}).get("y")
    for a in (1.0, 2.0, 3.0):
        s.register("line", linear(a, 0.0))
    check(y() == [[3.0]] and y("1") is None, "latest 1")
    st, _, v = ask("POST", "/line/policy", {"latest": 2})
    check(st == 200 and v["loaded"] == ["2", "3"] and v["policy"] == {"latest": 2} and y("2") == [[2.0]], ("latest 2", st, v))
    st, _, v = ask("POST", "/line/policy", {"all": True})
    check(st == 200 and v["loaded"] == ["1", "2", "3"] and y("1") == [[1.0]], ("all", st, v))
    st, _, v = ask("POST", "/line/labels", {"name": "stable", "version": 1})
    check(st == 200 and v["labels"] == {"stable": "1"} and y("stable") == [[1.0]], ("label", st, v))
    st, _, v = ask("POST", "/line/labels", {"name": "stable", "version": "2"})
    check(st == 200 and y("stable") == [[2.0]], ("the label moves", st, v))
    st, _, v = ask("POST", "/line/rollback", {"label": "stable"})
    check(st == 200 and y("stable") == [[1.0]], ("the label goes back", st, v))
    st, _, v = ask("POST", "/line/rollback")
    check(st == 200 and v["pin"] == "2" and y() == [[2.0]], ("back to the version before", st, v))
    check(ask("DELETE", "/line/versions/1")[0] == 409, "a labelled version stays")
    check(ask("POST", "/line/labels", {"name": "stable", "version": None})[0] == 200 and y("stable") is None, "the label goes")
    st, _, v = ask("DELETE", "/line/versions/1")
    check(st == 200 and v["loaded"] == ["2", "3"] and v["version_count"] == 2, ("a version goes", st, v))
    st, _, v = ask("POST", "/line/policy", {"specific": [3]})
    check(st == 200 and v["loaded"] == ["3"], ("specific", st, v))
    for path, body, want in (("/line/policy", {}, 400), ("/line/policy", {"latest": 0}, 400), ("/line/policy", {"all": False}, 400),
                             ("/line/policy", {"latest": 1, "all": True}, 400), ("/line/policy", {"specific": ["x"]}, 400),
                             ("/line/policy", {"specific": []}, 400), ("/line/policy", {"specific": [77]}, 404), ("/no/policy", {"all": True}, 404),
                             ("/line/labels", {"name": "a b", "version": 3}, 400), ("/line/labels", {"name": "x"}, 400),
                             ("/line/labels", {"name": "x", "version": 77}, 404), ("/line/labels", b"[", 400),
                             ("/line/rollback", {"label": "none"}, 404), ("/line/rollback", {"label": 5}, 400)):
        st, _, v = ask("POST", path, body)
        check(st == want and v["error"], (path, body, st, v))
    st, _, v = ask("GET", "")
    check(st == 200 and "line" in [m["name"] for m in v["models"]], ("list", st, v))
    check(ask("DELETE", "/line")[0] == 200 and ask("GET", "/line")[0] == 404 and ask("DELETE", "/line")[0] == 404, "the model goes")
    st, _, v = s.register("line", linear(9.0, 0.0))
    check(st == 201 and v["version"] == "1" and y() == [[9.0]], ("its name is free again", st, v))


def mended(s):
    """What was wrong once."""
    st, _, v = s.ask("POST", "/call", b'{"name": "t\\u0077o", "inputs": {"\\u0061": [[1,2,3,4,5]], "b": [[1,1,1,1,1]]}}')
    check(st == 200 and v["outputs"]["sum"] == [[2, 3, 4, 5, 6]], ("names with escapes", st, v))
    last = {"outputs": [{"name": "y"}], "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [1.0] * WIDTH}]}
    for body in (dict(last, parameters={"binary_data_output": True}), dict({"parameters": {"binary_data_output": True}}, **last)):
        st, h, v = s.ask("POST", "/v2/models/one-fp32/infer", body)
        check(st == 200 and h["Content-Type"] == "application/octet-stream", ("the order of members says nothing", st, v))
    for config in ({"max_batch_size": 4, "dynamic_batching": {"preferred_batch_size": [9]}}, {"dynamic_batching": {}}, {"anything": 1},
                   {"max_batch_size": 4, "dynamic_batching": {"priority_levels": 2, "default_priority_level": 3}}):
        check(s.register("config", linear(), config=config)[0] == 400, ("a configuration that cannot be", config))
    check(s.register("config", linear(), config={"parameters": {}, "batch_input": []})[2].get("version") == "1", "no number was lost to them")
    for i in range(1001):
        st, _, v = s.register("many", b"none", wait=False, tags=["t%d" % i])
        if st != 202:
            check(False, ("registered only", i, st, v))
            break
    rows = s.ask("POST", "/v2/repository/index")[2]
    check(len([r for r in rows if r["name"] == "many"]) == 1001, ("the index has every version", len(rows)))
    check(s.register("many", b"none", wait=False, tags=["t1000"])[0] == 202, "registered again while it is built")
    check(s.ask("DELETE", "/v2/models/many")[0] == 200, "a model goes while it is built")


def labels(s):
    """What a configuration may say of classes, what it answers, and that it says it again."""
    top = lambda: s.ask("POST", "/v2/models/named/infer", dict(inputs=[dict(name="x", datatype="FP32", shape=[1, 16], data=list(range(16)))],
                        outputs=[dict(name="y", parameters=dict(classification=2))]))[2]["outputs"][0]["data"]
    check(s.register("named", identity(), config={"output": [{"name": "y", "labels": ["l%d" % i for i in range(15)]}]})[0] == 201, "labels")
    check(top() == ["15.000000:15", "14.000000:14:l14"], ("labels, one too few", top()))
    config = s.ask("GET", "/v2/models/named/config")[2]
    check(config["output"][0]["labels"][14] == "l14", ("labels in the configuration", config))
    load = lambda c: s.ask("POST", "/v2/repository/models/named/load", dict(parameters=dict(config=json.dumps(c))))[0]
    config["output"][0]["labels"][14] = "other"
    check(load(config) == 200 and top()[1] == "14.000000:14:other", ("its own configuration, changed", top()))
    check(load({"output": [{"name": "z", "labels": ["a"]}]}) == 400 and top()[1] == "14.000000:14:other", "an output that is not there: all is as it was")
    check(load({}) == 200 and top()[1] == "14.000000:14", ("without labels", top()))
    for output in ({"name": "y", "labels": "a"}, {"labels": ["a"]}, {"name": "y", "labels": [1]}, {"name": 5, "labels": []}):
        check(s.register("unnamed", identity(), config={"output": [output]})[0] == 400, ("labels that are none", output))


def few_tokens(build):
    """A token for some models is one for those models by gRPC and /register too."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    hash_of = lambda t: subprocess.run([os.path.join(build, "cab-serve"), "--hash-token"], input=t, capture_output=True, text=True).stdout.split()[0]
    with open(os.path.join(root, "tokens"), "w") as f:
        f.write("%s admin all\n%s admin some mine*\n" % (hash_of("all-canary"), hash_of("some-canary")))
    s = Server(build, "--drain-ms=0", "--tokens=" + os.path.join(root, "tokens"), root=root)
    b64 = base64.b64encode(linear()).decode()
    put = lambda token, name: s.ask("POST", "/register", {"name": name, "model": b64}, {"Authorization": "Bearer " + token})[0]
    check([put("some-canary", "mine1"), put("some-canary", "other"), put("all-canary", "other")] == [201, 403, 201], "/register")
    c = tg.InferenceServerClient("127.0.0.1:%d" % s.port)
    h = {"authorization": "Bearer some-canary"}
    check(c.get_model_metadata("mine1", headers=h).name == "mine1", "its own model")
    denied = ("StatusCode.PERMISSION_DENIED",)
    x = [tensor(tg, "x", "FP32", np.ones((1, 1), np.float32))]
    refused("grpc: metadata", denied, c.get_model_metadata, "other", headers=h)
    refused("grpc: infer", denied, c.infer, "other", x, headers=h)
    refused("grpc: unload", denied, c.unload_model, "other", headers=h)
    refused("grpc: load", denied, c.load_model, "other", headers=h)
    refused("grpc: no token", ("StatusCode.UNAUTHENTICATED",), c.get_server_metadata)
    check(c.is_model_ready("other", headers={"authorization": "Bearer all-canary"}), "still loaded")
    c.close()
    s.stop()
    shutil.rmtree(root)


def main():
    build = sys.argv[1]
    s = Server(build, "--drain-ms=0")
    for name, onnx, config in (("types", every_type(), {}), ("two", two(), {}),
                               ("batched", identity(), {"max_batch_size": 8, "instance_group": [{"count": 2}],
                                                        "dynamic_batching": {"max_queue_delay_microseconds": 500}}),
                               ("labelled", identity(), {"max_batch_size": 8, "output": [{"name": "y", "labels": ["cat", "d\"o:g", "é"]}]})):
        st, _, v = s.register(name, onnx, config=config)
        check(st == 201, ("register", name, st, v))
    for t, k in DTYPES.items():
        s.register("one-" + t.lower(), model([node("Identity", ["x"], ["y"])], [value_info("x", ["n", WIDTH], k)], [value_info("y", ["n", WIDTH], k)]))
    url = "127.0.0.1:%d" % s.port
    http_client, grpc_client = th.InferenceServerClient(url, concurrency=8), tg.InferenceServerClient(url)
    for c, m, name in ((http_client, th, "http"), (grpc_client, tg, "grpc")):
        for part in (meta, infer, compressed, classification, statistics, repository):
            part(c, m, name)
    http_async(http_client)
    grpc_async(grpc_client)
    for how in ({}, {"compression_algorithm": "gzip"}, {"compression_algorithm": "deflate"}):
        stream(grpc_client, **how)
    typed_contents(url)
    out = subprocess.run([sys.executable, __file__, "--kserve", str(s.port)], capture_output=True, text=True, timeout=120)
    check(out.returncode == 0 and "0 failed" in out.stdout, ("kserve's clients", out.stdout, out.stderr[-2000:]))
    curl(s)
    policies(s)
    labels(s)
    mended(s)
    http_client.close()
    grpc_client.close()
    text = s.ask("GET", "/metrics")[2].decode()
    check('cabochon_request_duration_seconds_bucket{model="two",version="1",le="+Inf"}' in text, "histogram")
    check(s.stop() == 0, "ends with 0")
    few_tokens(build)
    verdict("clients.py")


if __name__ == "__main__":
    if KSERVE:
        kserve_clients(int(sys.argv[2]))
        verdict("kserve")
    main()
