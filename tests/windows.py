# SPDX-License-Identifier: Apache-2.0
"""windows.py BUILD [CASES]: convolutions of random geometry against onnxruntime: small images and wide kernels, whose
taps often fall on the padding.

1 or 2 spatial axes, strides, dilations, groups, depthwise, pads on either side, extents that are known or not, and what
is before (Relu, MaxPool, another Conv) and after; 1 and 2 threads (equal bytes), and naive.  Values are seeded
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

build = pathlib.Path(sys.argv[1]).resolve()
count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
seed = 20261129
rng = np.random.default_rng(seed)
print("seed", seed)
f = lambda *d: rng.standard_normal(d).astype(np.float32)
pick = lambda *v: v[rng.integers(len(v))]


def geometry():
    axes = pick(1, 2, 2, 2)
    group, per = pick((1, 8), (1, 32), (1, 40), (2, 16), (48, 1), (64, 1), (33, 1))
    kernel = [int(pick(1, 2, 3, 3, 5, 7)) for _ in range(axes)]
    stride, dilation = ([int(pick(1, 1, 1, 2, 3))] * axes, [int(pick(1, 1, 1, 2))] * axes)
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    size = [int(pick(1, 4, 5, 7, 7, 14, 20)) for _ in range(axes)]
    pads = [s // 2 for s in span] * 2 if pick(0, 1) else [int(rng.integers(s + 1)) for s in span * 2]
    if any(n + a + b < s for n, a, b, s in zip(size, pads, pads[axes:], span)):
        return geometry()
    return axes, group, per, kernel, stride, dilation, size, pads


def make():
    axes, group, per, kernel, stride, dilation, size, pads = geometry()
    c, o = group * per, group * (per if per > 1 else pick(1, 1, 2)) if group > 1 else int(pick(16, 33, 64))
    before, after, known = pick("Relu", "MaxPool", "Conv", ""), pick("Relu", "Sigmoid", "Add", ""), bool(pick(0, 1, 1))
    batch, last = int(pick(1, 1, 2)), "x"
    x, w = f(batch, c, *size), f(o, per, *kernel) / np.float32(np.sqrt(per * np.prod(kernel)))
    init, nodes = [nh.from_array(w, "w"), nh.from_array(f(o), "b")], []
    if before == "Conv":
        init.append(nh.from_array(f(c, c, *[1] * axes) / np.float32(np.sqrt(c)), "u"))
        nodes.append(h.make_node("Conv", [last, "u"], ["before"]))
    elif before:
        attr = dict(kernel_shape=[3] * axes, pads=[1] * axes * 2) if before == "MaxPool" else {}
        nodes.append(h.make_node(before, [last], ["before"], **attr))
    last = "before" if before else last
    attr = dict(group=group, strides=stride, dilations=dilation, pads=pads)
    nodes.append(h.make_node("Conv", [last, "w", "b"], ["c"], **attr))
    nodes.append(h.make_node(after, ["c"] + ["c"] * (after == "Add"), ["y"]) if after else
                 h.make_node("Identity", ["c"], ["y"]))
    dims = [batch, c, *(size if known else ["H", "W"][:axes])]
    g = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, dims)],
                     [h.make_tensor_value_info("y", T.FLOAT, None)], init)
    story = dict(x=x.shape, w=w.shape, known=known, before=before, after=after, **attr)
    return h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8), x, story


def cab(*args):
    return subprocess.run([build / "cab", *map(str, args)], capture_output=True, text=True, timeout=120)


with tempfile.TemporaryDirectory() as d:
    tmp = pathlib.Path(d)
    for case in range(count):
        m, x, story = make()
        onnx.save(m, tmp / "m.onnx")
        np.save(tmp / "x.npy", x)
        want = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        results = {}
        for how in (["--threads", "1"], ["--threads", "2"], ["--naive"]):
            r = cab("run", tmp / "m.onnx", "--input", tmp / "x.npy", *how, "--output-dir", tmp)
            check(r.returncode == 0, case, story, how, r.stderr[-300:])
            if r.returncode:
                continue
            results[how[-1]] = got = read(tmp / "output_0.pb")
            err = np.abs(got - want).max() / max(np.abs(want).max(), 1e-6) if got.shape == want.shape else np.inf
            check(err < 1e-5, case, story, how, "error", err)
        if "1" in results and "2" in results:
            check(np.array_equal(results["1"], results["2"]), case, story, "differs by threads")
verdict()
