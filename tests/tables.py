# SPDX-License-Identifier: Apache-2.0
"""tables.py BUILD: one-hot vectors times matrices, and functions of looked-up rows, against onnxruntime and
against the naive kernels: with indices out of range, and with every size open.

Every case must become a gather (it is looked for in the graph).  Values are seeded (printed)."""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnx_kit import check, read, verdict

build = pathlib.Path(sys.argv[1])
seed = 20261127
rng = np.random.default_rng(seed)
f = lambda *d: rng.standard_normal(d).astype(np.float32)
print("seed", seed)

# how the one-hot vector is made, type of the indices, their shape, depth, columns, what follows, symbolic
CASES = [
    ("equal", np.int32, (2, 40), 257, 64, "gelu", True), ("equal", np.int64, (7,), 10, 3, "", False),
    ("equal", np.int32, (3, 5, 4), 33, 17, "sigmoid", False), ("onehot", np.int64, (2, 9), 12, 24, "gelu", True),
    ("onehot", np.int64, (31,), 300, 16, "tanh", False), ("gather", np.int64, (4, 6), 50, 32, "gelu", True),
    ("swapped", np.int32, (2, 8), 20, 31, "scale", True),
]


def model(how, dtype, shape, depth, columns, after, symbolic):
    t = T.INT32 if dtype is np.int32 else T.INT64
    dims = ["D%d" % i for i in range(len(shape))] if symbolic else shape
    beyond = 0 if how == "gather" else 2
    x = rng.integers(-beyond if how == "equal" else 0, depth + beyond, shape).astype(dtype)
    init, nodes, last = [nh.from_array(f(depth, columns), "w")], [], "d"
    if how == "gather":
        nodes.append(h.make_node("Gather", ["w", "x"], ["d"]))
    elif how == "onehot":
        init += [nh.from_array(np.array(depth, np.int64), "depth"), nh.from_array(np.array([0, 1], np.float32), "v")]
        nodes += [h.make_node("OneHot", ["x", "depth", "v"], ["hot"]), h.make_node("MatMul", ["hot", "w"], ["d"])]
    else:
        init += [nh.from_array(np.arange(depth).astype(dtype), "count"), nh.from_array(np.array([-1]), "axis")]
        pair = ["count", "u"] if how == "swapped" else ["u", "count"]
        nodes += [h.make_node("Unsqueeze", ["x", "axis"], ["u"]), h.make_node("Equal", pair, ["e"]),
                  h.make_node("Cast", ["e"], ["hot"], to=T.FLOAT), h.make_node("MatMul", ["hot", "w"], ["d"])]
    if after:
        init.append(nh.from_array(f(columns), "b"))
        nodes.append(h.make_node("Add", [last, "b"], ["s"]))
        last = "s"
    if after == "gelu":
        init += [nh.from_array(np.float32(v), n) for v, n in ((np.sqrt(.5), "c"), (1, "one"), (.5, "half"))]
        nodes += [h.make_node(*n) for n in (("Mul", ["s", "c"], ["m"]), ("Erf", ["m"], ["g"]),
                  ("Add", ["one", "g"], ["a"]), ("Mul", ["s", "a"], ["p"]), ("Mul", ["p", "half"], ["q"]))]
        last = "q"
    elif after in ("sigmoid", "tanh"):
        nodes.append(h.make_node(after.capitalize(), [last], ["q"]))
        last = "q"
    elif after == "scale":
        init.append(nh.from_array(f(1, 1, columns), "scale"))
        nodes.append(h.make_node("Div", ["scale", last], ["q"]))
        last = "q"
    nodes.append(h.make_node("Identity", [last], ["y"]))
    g = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", t, dims)],
                     [h.make_tensor_value_info("y", T.FLOAT, None)], init)
    return h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8), {"x": x}


def cab(*args):
    return subprocess.run([build / "cab", *map(str, args)], capture_output=True, text=True, timeout=120)


with tempfile.TemporaryDirectory() as d:
    tmp = pathlib.Path(d)
    for case in CASES:
        m, feeds = model(*case)
        onnx.save(m, tmp / "m.onnx")
        np.save(tmp / "x.npy", feeds["x"])
        want = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        text = cab("compile", tmp / "m.onnx", "--emit=graph").stdout
        check("= gather " in text and " dot " not in text and " tanh " not in text and " erf " not in text, case,
              "is not a table", text[:2000])
        for flags in ([], ["--exact"], ["--naive"]):
            r = cab("run", tmp / "m.onnx", "--input", tmp / "x.npy", "--output-dir", tmp, *flags)
            check(r.returncode == 0, case, r.stderr[-300:])
            got = read(tmp / "output_0.pb") if r.returncode == 0 else np.zeros(0)
            check(got.shape == want.shape and np.allclose(got, want, 1e-5, 1e-6), case, flags, "differs")
verdict()
