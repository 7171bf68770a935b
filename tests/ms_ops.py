# SPDX-License-Identifier: Apache-2.0
"""ms_ops.py BUILD: contrib operators (com.microsoft) against onnxruntime, one node each, seeded values.

An operator cab does not support in some form counts as skipped; a differing result fails."""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper, numpy_helper

build = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(20261124)
f = lambda *d: rng.standard_normal(d).astype(np.float32)
u8 = lambda *d: rng.integers(0, 256, d).astype(np.uint8)
i8 = lambda *d: rng.integers(-128, 128, d).astype(np.int8)
f32 = lambda v: np.float32(v)
z8 = lambda v: np.uint8(v)

# name, attributes, operands (None: absent), which operands are weights, outputs
CASES = [
    ("Gelu", {}, [f(3, 7)], [], 1),
    ("QuickGelu", {"alpha": 1.3}, [f(3, 7)], [], 1),
    ("FastGelu", {}, [f(2, 3, 8)], [], 1),
    ("FastGelu", {}, [f(2, 3, 8), f(8)], [1], 1),
    ("BiasGelu", {}, [f(2, 3, 8), f(8)], [1], 1),
    ("FusedMatMul", {"alpha": 0.5}, [f(2, 3, 4), f(2, 4, 5)], [], 1),
    ("FusedMatMul", {"transA": 1, "transB": 1}, [f(2, 4, 3), f(2, 5, 4)], [], 1),
    ("FusedGemm", {"activation": "Relu", "transB": 1}, [f(3, 4), f(5, 4), f(5)], [1, 2], 1),
    ("FusedConv", {"activation": "Relu", "pads": [1, 1, 1, 1]}, [f(1, 3, 6, 6), f(4, 3, 3, 3), f(4)], [1, 2], 1),
    ("SkipLayerNormalization", {"epsilon": 1e-5}, [f(2, 3, 8), f(2, 3, 8), f(8), f(8), f(8)], [2, 3, 4], 1),
    ("SkipLayerNormalization", {"epsilon": 1e-5}, [f(2, 3, 8), f(2, 3, 8), f(8)], [2], 1),
    ("SkipSimplifiedLayerNormalization", {"epsilon": 1e-5}, [f(2, 3, 8), f(2, 3, 8), f(8)], [2], 1),
    ("SkipSimplifiedLayerNormalization", {"epsilon": 1e-5}, [f(2, 3, 8), f(2, 3, 8), f(8), f(8)], [2, 3], 1),
    (":SimplifiedLayerNormalization", {"axis": -1, "epsilon": 1e-5}, [f(2, 3, 8), f(8)], [1], 1),
    ("QLinearAdd", {}, [u8(3, 5), f32(.1), z8(3), u8(3, 5), f32(.07), z8(120), f32(.2), z8(7)], [1, 2, 4, 5, 6, 7], 1),
    ("QLinearMul", {}, [u8(3, 5), f32(.1), z8(3), u8(3, 5), f32(.07), z8(120), f32(.9), z8(90)], [1, 2, 4, 5, 6, 7], 1),
    ("QLinearSigmoid", {}, [u8(3, 5), f32(.05), z8(120), f32(1 / 256), z8(0)], [1, 2, 3, 4], 1),
    ("QLinearLeakyRelu", {"alpha": .2}, [u8(3, 5), f32(.05), z8(120), f32(.05), z8(60)], [1, 2, 3, 4], 1),
    ("QLinearGlobalAveragePool", {"channels_last": 0}, [u8(1, 3, 4, 4), f32(.05), z8(100), f32(.04), z8(90)], [1, 2, 3, 4], 1),
    ("QLinearConcat", {"axis": 1}, [f32(.1), z8(5), u8(2, 3), f32(.1), z8(5), u8(2, 4), f32(.2), z8(9)], [0, 1, 3, 4, 6, 7], 1),
    ("QuantizeLinear", {}, [f(4, 5), f32(.03), z8(128)], [1, 2], 1),
    ("DequantizeLinear", {}, [u8(4, 5), f32(.03), z8(128)], [1, 2], 1),
    ("DynamicQuantizeMatMul", {}, [f(4, 6), i8(6, 5), f32(.02), np.int8(3)], [1, 2, 3], 1),
    ("DynamicQuantizeMatMul", {}, [f(4, 6), u8(6, 5), f(5) ** 2 + f32(.01), u8(5), f(5)], [1, 2, 3, 4], 1),
    ("MatMulIntegerToFloat", {}, [u8(4, 6), u8(6, 5), f32(.1), f32(.2), z8(100), z8(90), f(5)], [1, 2, 3, 4, 5, 6], 1),
    ("QGemm", {"transB": 1, "alpha": 1.0}, [u8(4, 6), f32(.1), z8(100), u8(5, 6), f32(.2), z8(90), None, f32(2.), z8(128)],
     [1, 2, 3, 4, 5, 7, 8], 1),
    ("MatMulNBits", {"K": 64, "N": 6, "bits": 4, "block_size": 32}, [f(3, 64), u8(6, 2, 16), f(12)], [1, 2], 1),
    ("MatMulNBits", {"K": 64, "N": 6, "bits": 4, "block_size": 32}, [f(3, 64), u8(6, 2, 16), f(12), u8(6)], [1, 2, 3], 1),
    ("MatMulNBits", {"K": 80, "N": 5, "bits": 4, "block_size": 16}, [f(2, 3, 80), u8(5, 5, 8), f(25), u8(15)], [1, 2, 3], 1),
    ("RotaryEmbedding", {}, [f(1, 2, 3, 8), np.array([0], np.int64), f(16, 4), f(16, 4)], [2, 3], 1),
    ("RotaryEmbedding", {"interleaved": 1}, [f(2, 2, 3, 8), np.arange(6).reshape(2, 3).astype(np.int64), f(16, 4), f(16, 4)],
     [2, 3], 1),
    ("GatherBlockQuantized", {"block_size": 16, "quantize_axis": 1, "gather_axis": 0},
     [u8(8, 16), np.array([3, 1], np.int64), f(8, 2), u8(8, 1)], [0, 2, 3], 1),
]


def make(name, attributes, operands, weights, outputs):
    domain = "com.microsoft"
    if name.startswith(":"):
        name, domain = name[1:], ""
    names = ["" if v is None else f"i{k}" for k, v in enumerate(operands)]
    init = [numpy_helper.from_array(np.asarray(operands[k]), names[k]) for k in weights]
    feed = {names[k]: np.asarray(v) for k, v in enumerate(operands) if v is not None and k not in weights}
    info = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feed.items()]
    node = helper.make_node(name, names, [f"o{k}" for k in range(outputs)], domain=domain, name="node", **attributes)
    out = [helper.make_empty_tensor_value_info(f"o{k}") for k in range(outputs)]
    g = helper.make_graph([node], "g", info, out, init)
    return helper.make_model(g, ir_version=9, opset_imports=[helper.make_opsetid("", 17),
                                                             helper.make_opsetid("com.microsoft", 1)]), feed


def reference(model, feed):
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    o.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"]).run(None, feed)


def differs(got, want):
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{got.shape} for {want.dtype}{want.shape}"
    if got.dtype.kind in "iu":     # quantised: one step for ties that fall the other way
        d = np.abs(got.astype(np.int64) - want.astype(np.int64)).max()
        return f"off by {d}" if d > 1 else ""
    ok = np.allclose(got, want, rtol=2e-3, atol=2e-4)
    return "" if ok else f"largest difference {np.abs(got - want).max():.3g} of {np.abs(want).max():.3g}"


passed = failed = skipped = 0
for case in CASES:
    model, feed = make(*case)
    try:
        want = reference(model, feed)
    except Exception as e:
        skipped += 1
        print(f"no reference: {case[0]} {case[1]}: {str(e).strip()[-150:]}")
        continue
    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        onnx.save(model, d / "m.onnx")
        words = [build / "cab", "run", d / "m.onnx", "--output-dir", d]
        for n, v in feed.items():
            np.save(d / f"{n}.npy", v)
            words += ["--input", f"{n}={d / n}.npy"]
        r = subprocess.run(words, capture_output=True, text=True)
        if r.returncode == 77:
            skipped += 1
            print(f"unsupported: {case[0]} {case[1]}: {r.stderr.strip()[:150]}")
            continue
        why = r.stderr.strip()[:200] if r.returncode else ""
        for k, w in enumerate(want):
            if not why:
                t = onnx.TensorProto()
                t.ParseFromString((d / f"output_{k}.pb").read_bytes())
                why = differs(numpy_helper.to_array(t), w)
    passed, failed = passed + (not why), failed + bool(why)
    if why:
        print(f"FAILED: {case[0]} {case[1]}: {why}")
print(f"contrib operators: {passed} passed, {failed} failed, {skipped} skipped")
sys.exit(bool(failed))
