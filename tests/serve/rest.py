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
    for key in ("name", "model"):
        check(s.ask("POST", "/call", {key: "linear", "inputs": {"x": [[4]]}})[0] == 200, ("call by", key))
        check(s.ask("POST", "/predict", {key: "linear", "version": 1, "X": 4})[2] == {"Y": [[14.0]]}, ("predict by", key))
        check(s.ask("POST", "/predict", {key: "other", "X": 1})[0] == 404, ("predict: not the only model, but that one", key))
        check(s.ask("POST", "/call", {key: "other", "inputs": {"x": [[1]]}})[0] == 404, ("call: likewise", key))
    for body in (b"{", b"[1]", b"{}", {"X": "a"}, {"X": [[1], [1, 2]]}, {"X": [[1, 2, 3]]}, {"model": "no", "X": 1}, {"name": "", "X": 1},
                 {"name": None, "X": 1}, {"name": "linear", "model": "linear", "X": 1}):
        st, _, v = s.ask("POST", "/predict", body)
        check(st in (400, 404) and "error" in v, ("predict refuses", body, st, v))
    for path, body in (("/predict", {"nme": "linear", "X": 1}), ("/call", {"nme": "linear", "inputs": {"x": [[1]]}})):
        st, _, v = s.ask("POST", path, body)
        check(st == 400 and "'nme'" in v["error"] and "name (or model), version, " in v["error"], ("a member that is none", path, st, v))
    st, _, v = s.register("broken", b"no model")
    check(st == 422 and v["error"], ("a broken model", st, v))
    st, _, v = s.register("promised", linear(), inputs=[{"name": "z"}])
    check(st == 422 and v["error"].endswith("1. is x FP32 [-1,1], the request says z"), ("another interface than promised", st, v))
    st, _, v = s.register("promised", linear(), outputs=[{"datatype": "FP32", "shape": [-1, 3]}])
    check(st == 422 and v["error"].endswith("1. is y FP32 [-1,1], the request says FP32 [-1,3]"), ("likewise", st, v))
    st, _, v = s.register("promised", linear(), inputs=[])
    check(st == 422 and v["error"].endswith("there are 1, the request says 0"), ("likewise, how many", st, v))
    for more, text in (({"confg": {}}, "no member 'confg' here (known are name, version, model, "), ({"wait": "false"}, "'wait' must be true or false"),
                       ({"wait": 0}, "'wait'"), ({"inputs": [{"nme": "x"}]}, "no member 'nme' of a tensor"), ({"inputs": {}}, "'inputs' must be"),
                       ({"outputs": [{"shape": ["n"]}]}, "'outputs' must be"), ({"inputs": [5]}, "'inputs' must be")):
        st, _, v = s.register("strict", linear(), **more)
        check(st == 400 and text in v["error"], ("/register refuses", more, st, v))
    check(s.ask("POST", "/register", {"name": "../x", "model": "AAAA"})[0] == 400, "a bad name")


def versions(s):
    st, _, v = s.register("linear", linear(10.0, 0.0))
    check(st == 201 and v["version"] == "2", ("a second version", st, v))
    check(s.infer("linear", [[1.0]])[2]["outputs"][0]["data"] == [10.0], "the latest answers")
    for what in ("policy", "labels"):
        st, _, v = s.ask("GET", "/v2/models/linear/" + what)
        check(st == 200 and v in s.ask("GET", "/v2/models")[2]["models"] and v["version_count"] == 2 and v["policy"] == {"latest": 1}, (what, st, v))
    check(s.ask("GET", "/v2/models/no/policy")[0] == 404, "policy of nothing")
    for version in (2, "2"):
        st, _, v = s.ask("POST", "/v2/models/linear/labels", {"name": "new", "version": version})
        check(st == 200 and v["labels"] == {"new": "2"}, ("a version as number and text", st, v))
    check(s.ask("POST", "/v2/models/linear/labels", {"name": "new", "version": None})[0] == 200, "and away")
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


def batches(s):
    """max_batch_size is a limit of each request; what is refused before the queue is no failure of the model."""
    one = {"max_batch_size": 4}
    add = model([node("Add", ["x", "z"], ["y"])], [value_info("x", ["n", 1]), value_info("z", ["m", 1])], [value_info("y", ["k", 1])])
    for name, config in (("rows", one), ("batched", dict(one, dynamic_batching={"max_queue_delay_microseconds": 0}))):
        check(s.register(name, linear(), config=config)[0] == 201, ("register", name))
        check(s.infer(name, [[1.0]] * 4)[0] == 200, ("as many rows as max_batch_size", name))
        for rows in (0, 5, 6):
            x = {"name": "x", "datatype": "FP32", "shape": [rows, 1], "data": [1.0] * rows}
            st, _, v = s.ask("POST", "/v2/models/%s/infer" % name, {"inputs": [x]})
            check(st == 400 and "batch-size must be > 0 and <= 4" in v["error"], ("no rows, or more", name, rows, st, v))
        st, _, v = s.ask("POST", "/predict", {"name": name, "X": [1, 2, 3, 4, 5]})
        check(st == 400 and "batch-size" in v["error"], ("more rows, by /predict", name, st, v))
        fail = s.ask("GET", "/v2/models/%s/stats" % name)[2]["model_stats"][0]["inference_stats"]["fail"]["count"]
        check(fail == 0, ("refusals are no failures", name, fail))
    check(s.register("sum", add, config=one)[0] == 201, "register")
    st, _, v = s.ask("POST", "/call", {"name": "sum", "inputs": {"x": [[1]]}})
    check(st == 400 and v["error"].endswith("but got 1 inputs for model 'sum': missing 'z'"), ("an input is missing", st, v))
    st, _, v = s.ask("POST", "/call", {"name": "sum", "inputs": {"x": [[1]], "z": [[1], [2]]}})
    check(st == 400 and "rows" in v["error"], ("two numbers of rows", st, v))


def configurations(s):
    """What counts, what says nothing, what is refused."""
    full = {"name": "linear", "platform": "onnxruntime_onnx", "backend": "onnxruntime", "max_batch_size": 4, "version_policy": {"latest": {"num_versions": 1}},
            "input": [{"name": "x", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": ["1"], "is_shape_tensor": False, "allow_ragged_batch": False}],
            "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1], "label_filename": "", "labels": ["only"]}], "batch_input": [],
            "optimization": {"priority": "PRIORITY_DEFAULT", "input_pinned_memory": {"enable": True}},
            "dynamic_batching": {"preferred_batch_size": [4], "max_queue_delay_microseconds": "100", "preserve_ordering": False,
                                 "default_queue_policy": {"timeout_action": "REJECT", "allow_timeout_override": True}},
            "instance_group": [{"name": "a", "kind": "KIND_CPU", "count": 2, "gpus": [], "passive": False}], "parameters": {},
            "default_model_filename": "model.onnx", "model_transaction_policy": {"decoupled": False}}
    st, _, v = s.register("full", linear(), config=full)
    check(st == 201, ("as Triton writes it", st, v))
    st, _, written = s.ask("GET", "/v2/models/full/config")
    check(st == 200 and s.register("again", linear(), config=written)[0] == 201, ("as it is written here", written))
    change = lambda **k: dict(full, **k)
    side = lambda which, **k: {which: [dict(full[which][0], **k)]}
    for config, text in ((change(instance_group=[{"kind": "KIND_GPU"}]), "must be KIND_CPU"),
                         (change(instance_group=[{"count": 1024}, {"count": 1}]), "more than 1024"), (change(version_policy={"all": {}}), "/policy"),
                         (change(version_policy={"latest": {"num_versions": 2}}), "/policy"), (change(parameters={"a": {"string_value": "b"}}), "'parameters'"),
                         (change(sequence_batching={"direct": {}}), "'sequence_batching'"), (change(model_transaction_policy={"decoupled": True}), "one answer"),
                         (change(**side("input", reshape={"shape": [2]})), "'input[].reshape'"), (change(**side("output", label_filename="l.txt")), "label_filename"),
                         (change(input={}), "input must be an array"), (change(**side("input", name=None)), "name must be a text"),
                         (change(**side("input", dims=["a"])), "dims"), (change(**side("input", labels=["a"])), "labels")):
        st, _, v = s.register("refused", linear(), config=config)
        check(st == 400 and text in v["error"], ("a configuration that is refused", config, st, v))
    for config, text in ((change(**side("input", name="z")), "input 'z', which the model does not have"),
                         (change(**side("input", data_type="TYPE_INT8")), "input 'x' is TYPE_FP32, dims [1] in the model"),
                         (change(**side("output", dims=[3])), "output 'y' is TYPE_FP32, dims [1] in the model"),
                         (change(**side("output", dims=[-1, 1])), "output 'y'")):
        st, _, v = s.register("refused", linear(), config=config)
        check(st == 400 and text in v["error"], ("a configuration that is not the model's", config, st, v))
    fixed = model([node("Identity", ["x"], ["y"])], [value_info("x", [2, 2])], [value_info("y", [2, 2])])
    st, _, v = s.register("fixed", fixed, config={"max_batch_size": 2})
    check(st == 400 and "input 'x' has not" in v["error"], ("a batch of a model that has no rows", st, v))


def files(s):
    """/register with the file itself as the body."""
    put = lambda query, body=linear(7.0, 0.0): s.ask("POST", "/register?" + query, body)
    st, _, v = put("name=raw")
    check(st == 201 and v["version"] == "1" and s.ask("POST", "/predict", {"name": "raw", "X": 2})[2] == {"Y": [[14.0]]}, ("a file", st, v))
    check(s.register("raw", linear(7.0, 0.0))[0] == 200, "the same content as by base64")
    st, _, v = put("name=raw&version=5&config=%7B%22max_batch_size%22%3A+4%7D&wait=true")
    check(st == 201 and v["version"] == "5" and v["config"] == {"max_batch_size": 4}, ("with a version and a configuration", st, v))
    check(put("name=raw&version=6&wait=false", linear(8.0, 0.0))[0] == 202, "not waiting")
    for query, body in (("version=1", b"x"), ("name=raw", b""), ("name=raw&wait=no", b"x"), ("name=raw&config=%7B", b"x"), ("name=raw&tag=a", b"x"),
                        ("name=raw&name=b", b"x"), ("name=raw&version=last", b"x"), ("name=%zz", b"x"), ("name=a/b", b"x"), ("n", b"x"), ("name=raw&", b"x")):
        st, _, v = put(query, body)
        check(st == 400 and v["error"], ("/register refuses", query, st, v))


def references(build):
    """ref: what is no file of the folder is the client's mistake, told without the server's paths."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    imports = os.path.join(root, "imports")
    os.makedirs(os.path.join(imports, "folder"))
    with open(os.path.join(imports, "folder", "m.onnx"), "wb") as f:
        f.write(linear())
    os.symlink("folder/m.onnx", os.path.join(imports, "link"))
    s = Server(build, "--drain-ms=0", "--imports=" + imports, root=root)
    ask = lambda ref: s.ask("POST", "/register", {"name": "r", "ref": ref})
    for ref, want in (("nope.onnx", 404), ("folder/m.onnx/x", 404), ("", 404), ("folder", 400), ("../imports/folder/m.onnx", 400),
                      ("/etc/passwd", 400), ("link", 400), ("sha256:12", 400), ("sha256:" + "0" * 64, 404), ("folder/m.onnx", 201)):
        st, _, v = ask(ref)
        check(st == want and root not in str(v) and "/." not in str(v).replace(ref, ""), ("ref", ref, st, v))
    check(s.stop() == 0, "ends with 0")
    shutil.rmtree(root)


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


def resumed(build):
    """Sessions of TLS that clients take up again, with client certificates and without."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    cert, key = certificate(root)
    for flags in ([], ["--tls-client-ca=" + cert]):
        s = Server(build, "--drain-ms=0", "--listen-tls=127.0.0.1:0", "--tls-cert=" + cert, "--tls-key=" + key, *flags, root=root)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            ctx = ssl.create_default_context(cafile=cert)
            ctx.load_cert_chain(cert, key)
            ctx.minimum_version = ctx.maximum_version = version
            session = None
            for again in (False, True, True):
                try:
                    c = ctx.wrap_socket(socket.create_connection(("127.0.0.1", s.tls), 10), server_hostname="localhost", session=session)
                    c.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
                    got, session = c.recv(4096)[:15], c.session
                    check((got, c.session_reused) == (b"HTTP/1.1 200 OK", again), ("session", version, flags, again, got, c.session_reused))
                    c.close()
                except OSError as e:
                    check(False, ("session", version, flags, again, e))
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
    for part in (verbs, versions, protocol, batches, configurations, files, repository, retries):
        part(s)
    check(s.stop() == 0, "ends with 0")
    references(build)
    restart(build)
    tokens(build)
    transport(build)
    resumed(build)
    pipelined(build)
    verdict("rest.py")


main()
