# SPDX-License-Identifier: Apache-2.0
"""turned.py BUILD [CASES]: transposed convolutions of random geometry against sums in numpy.

1 to 3 spatial axes, strides, dilations, groups, pads, output_padding, output_shape, auto_pad, weights that are
constants or an input, extents that are known or not, what follows (bias, BatchNormalization, Relu, Concat, Conv);
optimised with 1 and 2 threads (equal bytes), and naive.  Values are seeded (printed)."""
import itertools
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnx_kit import check, read, verdict

build = pathlib.Path(sys.argv[1])
count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
seed = 20261128
rng = np.random.default_rng(seed)
print("seed", seed)
f = lambda *d: rng.standard_normal(d).astype(np.float32)
pick = lambda *v: v[rng.integers(len(v))]


def turned(x, w, b, group, stride, dilation, lo, extent):
    """Every element of x adds its multiple of the taps to the result."""
    n, c = x.shape[:2]
    o, k = w.shape[1] * group, w.shape[2:]
    y = np.zeros((n, o, *extent))
    xs, ws = x.reshape(n, group, c // group, *x.shape[2:]), w.reshape(group, c // group, *w.shape[1:])
    for t in itertools.product(*map(range, k)):
        part = np.einsum("ngc...,gco->ngo...", xs, ws[(slice(None),) * 3 + t]).reshape(n, o, *x.shape[2:])
        for j in np.ndindex(*x.shape[2:]):
            at = tuple(a * s + b * d - p for a, s, b, d, p in zip(j, stride, t, dilation, lo))
            if all(0 <= a < e for a, e in zip(at, extent)):
                y[(slice(None), slice(None)) + at] += part[(slice(None), slice(None)) + j]
    return y + (0 if b is None else b.reshape(-1, *[1] * len(k)))


# spatial axes, group, C, O, kernel, stride, dilation, pads
FIXED = [
    (2, 1, 24, 24, (2, 2), (2, 2), (1, 1), "none"), (2, 1, 24, 1, (2, 2), (2, 2), (1, 1), "none"),
    (2, 1, 20, 16, (4, 4), (2, 2), (1, 1), "half"), (2, 1, 16, 18, (3, 3), (2, 2), (1, 1), "half"),
    (2, 16, 16, 16, (4, 4), (2, 2), (1, 1), "half"), (1, 1, 16, 8, (16,), (8,), (1,), "half"),
    (3, 2, 4, 6, (2, 3, 2), (2, 2, 2), (1, 1, 1), "none"), (2, 1, 3, 5, (1, 1), (2, 3), (1, 1), "none"),
    (2, 1, 3, 5, (3, 2), (4, 3), (3, 2), "random"), (2, 3, 6, 3, (3, 3), (1, 1), (2, 1), "random"),
]


def geometry(case):
    if case < len(FIXED):
        return FIXED[case]
    n = pick(1, 2, 2, 2, 3)
    group = pick(1, 1, 1, 2, 3)
    c, o = group * pick(1, 2, 5, 8), group * pick(1, 1, 2, 4, 9)
    each = lambda *v: tuple(int(pick(*v)) for _ in range(n))
    kernel = each(1, 2, 3, 4, 5) if n > 1 else each(2, 3, 7, 16)
    return n, group, c, o, kernel, each(1, 2, 2, 3, 4), each(1, 1, 1, 2, 3), pick("none", "half", "random", "same", "shape")


def make(case):
    n, group, c, o, kernel, stride, dilation, pads = geometry(case)
    batch, size = int(pick(1, 1, 2)), [int(rng.integers(3, 20 if n < 3 else 7)) for _ in range(n)]
    x, w = f(batch, c, *size), f(c, o // group, *kernel) / np.float32(np.sqrt(c / group))
    b = f(o) if pick(0, 1) else None
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    lo, hi = [0] * n, [0] * n
    extra = [int(rng.integers(max(s, d))) if pick(0, 1) else 0 for s, d in zip(stride, dilation)]
    attr = dict(strides=stride, dilations=dilation, group=group)
    if pads == "half":
        lo = [max(k - s, 0) // 2 for k, s in zip(span, stride)]
        hi = list(lo)
    elif pads == "random":
        lo, hi = ([int(rng.integers(k)) for k in span] for _ in range(2))
    extent = [s * (i - 1) + e + k - a - z for s, i, e, k, a, z in zip(stride, size, extra, span, lo, hi)]
    if pads in ("same", "shape"):
        extra = [0] * n
        upper = pads == "same" and bool(pick(0, 1))
        extent = [i * s for i, s in zip(size, stride)] if pads == "same" else \
                 [s * (i - 1) + k - int(rng.integers(k)) for s, i, k in zip(stride, size, span)]
        total = [s * (i - 1) + k - e for s, i, k, e in zip(stride, size, span, extent)]
        lo = [0 if t < 0 else t // 2 if upper else t - t // 2 for t in total]
        attr.update({"auto_pad": "SAME_UPPER" if upper else "SAME_LOWER"} if pads == "same" else {"output_shape": extent})
    else:
        attr.update(pads=lo + hi, output_padding=extra)
    if min(extent) < 1:
        return None
    known = pads in ("same", "shape") or bool(pick(0, 1))
    init, feeds = [], {"x": x}
    ins = [h.make_tensor_value_info("x", T.FLOAT, [batch, c] + (size if known else ["H", "W", "D"][:n]))]
    if pick(0, 0, 1):
        feeds["w"] = w
        ins.append(h.make_tensor_value_info("w", T.FLOAT, w.shape))
    else:
        init.append(nh.from_array(w, "w"))
    names = ["x", "w"] + (["b"] if b is not None else [])
    if b is not None:
        init.append(nh.from_array(b, "b"))
    nodes = [h.make_node("ConvTranspose", names, ["y0"], **attr)]
    y, last = turned(x, w, b, group, stride, dilation, lo, extent), "y0"
    along = lambda v: v.reshape(-1, *[1] * n)
    for op in pick((), ("bn", "relu"), ("relu",), ("concat", "conv"), ("bn", "sigmoid"), ("conv",)):
        if op == "bn":
            s, t, m, v = f(o), f(o), f(o), np.abs(f(o)) + np.float32(0.5)
            init += [nh.from_array(a, k) for k, a in zip("stmv", (s, t, m, v))]
            nodes.append(h.make_node("BatchNormalization", [last, *"stmv"], ["bn"], epsilon=1e-3))
            y = (y - along(m)) / np.sqrt(along(v) + 1e-3) * along(s) + along(t)
        elif op == "relu":
            nodes.append(h.make_node("Relu", [last], ["relu"]))
            y = np.maximum(y, 0)
        elif op == "sigmoid":
            nodes.append(h.make_node("Sigmoid", [last], ["sigmoid"]))
            y = 1 / (1 + np.exp(-y))
        elif op == "concat":
            side = f(batch, 3, *extent)
            init.append(nh.from_array(side, "side"))
            nodes.append(h.make_node("Concat", [last, "side"], ["concat"], axis=1))
            y = np.concatenate([y, side], 1)
        else:
            k = [1 if e < 3 else 3 for e in extent]
            v = f(4, y.shape[1], *k) / np.float32(np.sqrt(9 * y.shape[1]))
            init.append(nh.from_array(v, "v"))
            nodes.append(h.make_node("Conv", [last, "v"], ["conv"], pads=[a // 2 for a in k] * 2))
            p = np.pad(y, [(0, 0), (0, 0)] + [(a // 2, a // 2) for a in k])
            view = np.lib.stride_tricks.sliding_window_view(p, k, axis=tuple(range(2, n + 2)))
            y = np.moveaxis(np.tensordot(view, v, ([1, *range(n + 2, 2 * n + 2)], list(range(1, n + 2)))), -1, 1)
        last = op
    nodes.append(h.make_node("Identity", [last], ["y"]))
    g = h.make_graph(nodes, "g", ins, [h.make_tensor_value_info("y", T.FLOAT, None)], init)
    story = dict(case=case, x=x.shape, w=w.shape, known=known, after=[k.op_type for k in nodes[1:-1]],
                 weights="input" if "w" in feeds else "constant", bias=b is not None, **attr)
    return h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8), feeds, y, story


with tempfile.TemporaryDirectory() as d:
    tmp = pathlib.Path(d)
    for case in range(count):
        made = make(case)
        if not made:
            continue
        model, feeds, want, story = made
        onnx.save(model, tmp / "m.onnx")
        args = []
        for name, a in feeds.items():
            np.save(tmp / f"{name}.npy", a)
            args += ["--input", f"{name}={tmp / name}.npy"]
        got = []
        for flags in (["--threads", "1"], ["--threads", "2"], ["--naive"]):
            r = subprocess.run([build / "cab", "run", tmp / "m.onnx", *args, *flags, "--output-dir", tmp],
                               capture_output=True, text=True, timeout=120)
            y = read(tmp / "output_0.pb") if r.returncode == 0 else None
            got.append(y)
            ok = y is not None and y.shape == want.shape and np.abs(y - want).max() < 2e-5 * max(1, np.abs(want).max())
            check(ok, story, flags, r.stderr[-300:] if y is None else (y.shape, want.shape) if y.shape != want.shape
                  else np.abs(y - want).max())
        check(got[0] is not None and got[1] is not None and got[0].tobytes() == got[1].tobytes(), story, "differs by threads")
verdict()
