# SPDX-License-Identifier: Apache-2.0
"""ms_ops.py BUILD: contrib operators (com.microsoft) against onnxruntime, one node each, seeded values,
optimised and naive.

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

# name, attributes, operands (None: absent), which operands are weights, outputs (places: the others are absent)
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
    ("SkipLayerNormalization", {}, [f(2, 5, 8), f(5, 8), f(8)], [], 1),
    ("SkipLayerNormalization", {}, [f(2, 5, 8), f(2, 5, 8), f(8), None, f(8)], [], [0, 3]),
    ("SkipSimplifiedLayerNormalization", {}, [f(2, 5, 8), f(1, 5, 8), f(8), f(8)], [], [0, 3]),
    (":SimplifiedLayerNormalization", {"axis": 1}, [f(2, 5, 8), f(5, 8)], [], 1),
    ("FusedMatMul", {"transBatchA": 1}, [f(3, 2, 4), f(2, 4, 5)], [], 1),
    ("FusedMatMul", {"transBatchA": 1, "transA": 1, "transBatchB": 1}, [f(4, 2, 3), f(4, 2, 5)], [], 1),
    ("FusedMatMul", {"transBatchB": 1, "transB": 1}, [f(2, 3, 4), f(5, 2, 4)], [], 1),
    ("FusedGemm", {"activation": "LeakyRelu", "activation_alpha": .25}, [f(3, 4), f(4, 5)], [], 1),
    ("FusedConv", {"activation": "Relu"}, [f(1, 4, 6, 6), f(4, 4, 3, 3), f(4), f(1, 4, 4, 4)], [1, 2], 1),
    ("FusedConv", {"activation": "HardSigmoid", "activation_params": [.2, .5]}, [f(1, 3, 6, 6), f(4, 3, 3, 3)], [1], 1),
    ("FusedConv", {"activation": "Clip", "activation_params": [-.5, 1.5]}, [f(1, 3, 6, 6), f(4, 3, 3, 3)], [1], 1),
    ("RotaryEmbedding", {}, [f(2, 5, 24), np.array([3]), f(16, 4), f(16, 4)], [], 1),
    ("RotaryEmbedding", {"num_heads": 3, "rotary_embedding_dim": 4}, [f(2, 5, 24), np.array([2]), f(16, 2), f(16, 2)], [], 1),
    ("QLinearConv", {"pads": [1, 1, 1, 1]}, [u8(1, 3, 6, 6), f32(.02), z8(128), i8(4, 3, 3, 3), f32(.01), np.int8(0), f32(.1),
                                             z8(100)], range(1, 8), 1),
    ("QGemm", {"alpha": .5}, [u8(3, 8), f32(.02), z8(120), i8(8, 5), f32(.01), np.int8(3)], [], 1),
    ("QGemm", {"transB": 1}, [u8(3, 8), f32(.02), z8(120), i8(5, 8), f(5) ** 2, i8(5),
                              rng.integers(-999, 999, 5).astype(np.int32), f32(.1), z8(99)], [3, 4, 5], 1),
    ("DynamicQuantizeMatMul", {}, [f(2, 3, 8), i8(8, 5), f(5)], [1, 2], 1),
    ("MatMulIntegerToFloat", {}, [u8(3, 8), i8(8, 5), f32(.1), f(5), z8(7), i8(5), f(5)], [1, 2, 3, 4, 5, 6], 1),
    ("MatMulIntegerToFloat", {}, [i8(2, 3, 8), i8(8, 5), f32(.1), f32(.3)], [], 1),
    ("QuantizeLinear", {"axis": 1}, [f(2, 5, 3), f(5) ** 2 + f32(.01), u8(5)], [], 1),
    ("QuantizeLinear", {}, [f(2, 5), f32(.01), np.int16(300)], [], 1),
    ("DequantizeLinear", {}, [u8(2, 5, 3), f(5), u8(5)], [], 1),
    ("QLinearAdd", {}, [i8(2, 3, 9), f32(.04), np.int8(3), i8(3, 9), f32(.07), np.int8(5), f32(.1), np.int8(-9)], [], 1),
    ("QLinearMul", {}, [i8(2, 3, 9), f32(.04), np.int8(3), i8(3, 9), f32(.07), np.int8(5), f32(.1), np.int8(-9)], [], 1),
    ("QLinearConcat", {"axis": 0}, [f32(.1), np.int8(4), i8(2, 3), f32(.04), np.int8(3)], [0, 1, 3, 4], 1),
]
for bits, k, zero in [(8, 64, None), (8, 96, "u8"), (2, 64, None), (4, 80, "u8"), (4, 96, "f32"), (4, 576, "u8")]:
    blocks = -(-k // 32)
    zeros = {None: None, "u8": u8(6 * -(-blocks * bits // 8)), "f32": f(6 * blocks)}[zero]
    CASES.append(("MatMulNBits", {"K": k, "N": 6, "bits": bits, "block_size": 32},
                  [f(2, 3, k), u8(6, blocks, 4 * bits), f(6 * blocks) / f32(2 ** bits), zeros, None, f(6)],
                  [1, 2, 3, 5] if zero else [1, 2, 5], 1))
for bits in (4, 8):
    for zeros in ([], [u8(20, -(-3 * bits // 8))]):
        CASES.append(("GatherBlockQuantized", {"bits": bits, "block_size": 16, "quantize_axis": 1, "gather_axis": 0},
                      [u8(20, 6 * bits), rng.integers(-20, 20, (2, 3)), f(20, 3), *zeros], [0, 2], 1))

# Operators of the standard that read between pixels, and others of which the node tests show little.
for mode in "bilinear", "nearest", "bicubic":
    for pad in "zeros", "border", "reflection":
        for corners in 0, 1:
            CASES.append((":GridSample", {"mode": mode, "padding_mode": pad, "align_corners": corners},
                          [f(2, 3, 5, 7), f(2, 4, 6, 2) * f32(1.3)], [], 1))
for coord in "half_pixel", "output_half_pixel":
    for ratio in 0, 2, 3:
        for mode in "avg", "max":
            at = (rng.random((5, 2)) * 12 - 2).astype(np.float32)
            CASES.append((":RoiAlign", {"coordinate_transformation_mode": coord, "sampling_ratio": ratio, "mode": mode,
                                        "output_height": 3, "output_width": 2, "spatial_scale": .7},
                          [f(2, 3, 9, 8), np.concatenate([at, at + (rng.random((5, 2)) * 8).astype(np.float32)], 1),
                           rng.integers(0, 2, 5)], [], 1))
CASES += [(":Det", {}, [f(2, 3, n, n)], [], 1) for n in (1, 2, 3, 5, 8)]
CASES.append((":Det", {}, [np.array([[[0, 1], [1, 0]], [[1, 2], [2, 4]]], np.float32)], [], 1))
CASES += [(":STFT", {"onesided": one}, [f(2, 40, 1), np.int64(6), f(16)], [1], 1) for one in (0, 1)]


def make(name, attributes, operands, weights, outputs):
    domain = "com.microsoft"
    if name.startswith(":"):
        name, domain = name[1:], ""
    names = ["" if v is None else f"i{k}" for k, v in enumerate(operands)]
    init = [numpy_helper.from_array(np.asarray(operands[k]), names[k]) for k in weights]
    feed = {names[k]: np.asarray(v) for k, v in enumerate(operands) if v is not None and k not in weights}
    info = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feed.items()]
    places = range(outputs) if isinstance(outputs, int) else outputs
    results = [f"o{k}" if k in places else "" for k in range(max(places) + 1)]
    node = helper.make_node(name, names, results, domain=domain, name="node", **attributes)
    out = [helper.make_empty_tensor_value_info(r) for r in results if r]
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
        for flags in ([], ["--naive"]):
            r = subprocess.run(words + flags, capture_output=True, text=True)
            name = f"{case[0]} {case[1]} {' '.join(flags)}".strip()
            if r.returncode == 77:
                skipped += 1
                print(f"unsupported: {name}: {r.stderr.strip()[:150]}")
                continue
            why = r.stderr.strip()[:200] if r.returncode else ""
            for k, w in enumerate(want):
                if not why:
                    t = onnx.TensorProto()
                    t.ParseFromString((d / f"output_{k}.pb").read_bytes())
                    why = differs(numpy_helper.to_array(t), w)
                (d / f"output_{k}.pb").unlink(missing_ok=True)
            passed, failed = passed + (not why), failed + bool(why)
            if why:
                print(f"FAILED: {name}: {why}")
print(f"contrib operators: {passed} passed, {failed} failed, {skipped} skipped")
sys.exit(bool(failed))
