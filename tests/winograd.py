# SPDX-License-Identifier: Apache-2.0
"""winograd.py BUILD: convolutions by tiles against onnxruntime: kernels along one axis and two, sizes known and
open, odd padding, 1 and 2 threads; --exact computes none of them so.

Every case must take that form (it is looked for in the program).  Values and half of the cases are seeded
(printed)."""
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

# N, C, spatial extents, O, kernel, pads, what follows, open extents
CASES = [
    (1, 64, (56, 56), 64, (3, 3), (1, 1, 1, 1), "relu", ""), (2, 32, (30, 30), 48, (3, 3), (1, 1, 1, 1), "add relu", ""),
    (1, 33, (29, 31), 37, (3, 3), (1, 1, 1, 1), "", ""), (1, 32, (28, 28), 40, (3, 3), (0, 0, 0, 0), "sigmoid", ""),
    (3, 64, (17, 22), 64, (3, 3), (2, 0, 1, 2), "add", ""), (1, 128, (14, 14), 128, (3, 3), (1, 1, 1, 1), "add relu", ""),
    (2, 64, (26, 27), 64, (3, 3), (1, 1, 1, 1), "add relu", "N"), (1, 64, (33, 40), 64, (3, 3), (1, 1, 1, 1), "relu", "NHW"),
    (1, 48, (60, 7), 64, (3, 3), (1, 1, 1, 1), "pool", ""), (1, 64, (24, 24), 64, (3, 3), (1, 1, 1, 1), "twice", ""),
    (1, 64, (20, 21), 64, (3, 3), (9, 5, 12, 10), "relu", "NHW"), (1, 64, (20, 21), 64, (3, 3), (9, 0, 12, 10), "", ""),
    (2, 64, (101,), 96, (3,), (1, 1), "relu", ""), (1, 96, (300,), 64, (5,), (2, 2), "add", "NH"),
    (1, 128, (77,), 128, (7,), (3, 3), "", ""), (2, 64, (508, 1), 128, (5, 1), (0, 0, 0, 0), "sigmoid", "N"),
    (1, 64, (19, 34), 96, (1, 3), (0, 1, 0, 1), "relu", ""), (1, 96, (34, 19), 96, (3, 1), (1, 0, 1, 0), "relu", "NHW"),
    (1, 128, (17, 30), 128, (1, 7), (0, 3, 0, 3), "", ""), (1, 64, (24, 23), 64, (5, 5), (2, 2, 2, 2), "add relu", ""),
    (1, 64, (24, 23), 64, (5, 5), (2, 2, 2, 2), "relu", "NHW"), (1, 64, (30, 30), 64, (2, 2), (0, 0, 1, 1), "", ""),
    (1, 64, (30, 31), 64, (4, 4), (1, 1, 2, 2), "relu", "H"), (1, 64, (30, 31), 64, (5, 3), (2, 1, 2, 1), "twice", ""),
    (2, 64, (19, 21), 64, (3, 3), (1, 1, 1, 1), "turn", ""), (2, 64, (90,), 128, (5,), (2, 2), "relu turn", "N"),
]


def random_case():
    axes = int(rng.integers(1, 3))
    kernel = [int(k) for k in rng.choice([1, 3, 3, 5], axes)]
    if max(kernel) == 1:
        kernel = [3] * axes
    pads = [int(rng.integers(0, k)) for k in kernel * 2]
    spatial = tuple(int(rng.integers(16, 50)) for _ in kernel) if axes > 1 else (int(rng.integers(200, 400)),)
    after = str(rng.choice(["", "relu", "add", "add relu", "sigmoid", "relu turn"]))
    return (int(rng.integers(1, 3)), int(rng.integers(64, 129)), spatial, int(rng.integers(64, 129)), tuple(kernel),
            tuple(pads), after, str(rng.choice(["", "N", "NHW" if axes > 1 else "N"])))


CASES += [random_case() for _ in range(24)]


def model(n, c, spatial, o, kernel, pads, after, symbolic):
    dims = [n, c, *spatial]
    dims = [name if name in symbolic else d for name, d in zip("NCHW", dims)]
    taps = int(np.prod(kernel))
    weights = lambda o, c: f(o, c, *kernel) / np.float32(np.sqrt(taps * c))
    init = [nh.from_array(weights(o, c), "w"), nh.from_array(f(o), "b")]
    nodes = [h.make_node("Conv", ["x", "w", "b"], ["c0"], pads=pads)]
    ins, feeds, last = [h.make_tensor_value_info("x", T.FLOAT, dims)], {"x": f(n, c, *spatial)}, "c0"
    if "twice" in after:
        init.append(nh.from_array(weights(o, o), "w2"))
        nodes += [h.make_node("Relu", ["c0"], ["r0"]), h.make_node("Conv", ["r0", "w2"], ["c1"], pads=pads)]
        last = "c1"
    if "add" in after:
        half = len(kernel)
        if all(pads[i] + pads[i + half] == k - 1 for i, k in enumerate(kernel)):
            init.append(nh.from_array(f(o, c, *[1] * half) / np.float32(np.sqrt(c)), "w1"))
            nodes.insert(0, h.make_node("Conv", ["x", "w1"], ["side"]))
        else:
            init.append(nh.from_array(f(1, o, *[1] * half), "side"))
        nodes.append(h.make_node("Add", [last, "side"], ["sum"]))
        last = "sum"
    for op, name in (("relu", "Relu"), ("sigmoid", "Sigmoid")):
        if op in after:
            nodes.append(h.make_node(name, [last], [op]))
            last = op
    if "pool" in after:
        nodes.append(h.make_node("MaxPool", [last], ["p"], kernel_shape=[2, 2], strides=[2, 2]))
        last = "p"
    if "turn" in after:
        nodes.append(h.make_node("Transpose", [last], ["t"], perm=[0, *range(2, len(dims)), 1]))
        last = "t"
    nodes.append(h.make_node("Identity", [last], ["y"]))
    g = h.make_graph(nodes, "g", ins, [h.make_tensor_value_info("y", T.FLOAT, None)], init)
    return h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8), feeds


def cab(*args):
    return subprocess.run([build / "cab", *map(str, args)], capture_output=True, text=True, timeout=120)


with tempfile.TemporaryDirectory() as d:
    tmp = pathlib.Path(d)
    for case in CASES:
        m, feeds = model(*case)
        onnx.save(m, tmp / "m.onnx")
        np.save(tmp / "x.npy", feeds["x"])
        want = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        text = cab("compile", tmp / "m.onnx", "--emit=program").stdout
        check("@wino_in" in text and "@wino_out" in text, case, "is not computed by tiles")
        text = cab("compile", tmp / "m.onnx", "--exact", "--emit=program").stdout
        check(text and "wino" not in text, case, "is computed by tiles though exact")
        results = []
        for threads in (1, 2):
            r = cab("run", tmp / "m.onnx", "--input", tmp / "x.npy", "--threads", threads, "--output-dir", tmp)
            results.append(read(tmp / "output_0.pb") if r.returncode == 0 else None)
            check(r.returncode == 0, case, r.stderr[-300:])
        if results[0] is None:
            continue
        err = np.abs(results[0] - want).max() / np.abs(want).max()
        check(results[0].shape == want.shape and err < 1e-5, case, "error", err)
        check(results[1] is not None and np.array_equal(results[0], results[1]), case, "differs by threads")
verdict()
