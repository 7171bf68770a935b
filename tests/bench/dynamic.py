# SPDX-License-Identifier: Apache-2.0
"""dynamic.py BENCH CORPUS OUT [WHAT...]: models at sizes that change, on one symbolic artifact.

BENCH is tests/bench/bench_dynamic.  WHAT: names of cases, `batch`, `length`, `long`; default all.
A case compares the artifact with a compilation for each size alone; it fails when it takes more than
1.10 times as long or the results differ by more than 1e-5 of the largest.  The curves give the time per
row or token over size; a size fails when its time is more than 1.15 times that of the better neighbour.
OUT gets a plot of each curve as SVG.  What is printed is Markdown.  Exit status 1: something failed."""
import math
import pathlib
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

MOST_RATIO, MOST_ERROR, MOST_STEP = 1.10, 1e-5, 1.15
IDS = ["--below", "input_ids=30000"]
# name: model, flags, pattern of a size, sizes
CASES = {
    "minilm_l3": ("minilm_l3", IDS, "batch_size={},sequence_length={}",
                  [(b, n) for b in (1, 3, 8) for n in (7, 16, 33, 64, 128, 511)]),
    # The height has no name in the file: the artifact calls it d0.
    "ppocr_rec": ("ppocr_rec", [], "p2o.DynamicDimension.0=1,d0=48,p2o.DynamicDimension.1={}",
                  [(w,) for w in (96, 160, 320, 480, 640, 960)]),
    "yolov8n_320": ("yolov8n_320", [], "batch=1,height={0},width={0}", [(n,) for n in (256, 320, 416)]),
    "smollm2_135m": ("smollm2_135m", ["--below", "input_ids=49152", "--count", "position_ids", "--opens", "1",
                                      "--rounds", "7"], "S={},P=0", [(n,) for n in (16, 32, 64, 128, 256)]),
}
LENGTHS = [16, 17, 20, 23, 24, 28, 31, 32, 33, 40, 48, 56, 63, 64, 65, 80, 96, 112, 127, 128, 129, 160, 192,
           224, 255, 256, 257, 320, 384, 448, 511, 512]
CURVES = {
    "batch": ("minilm_l3", IDS, "batch_size={},sequence_length=16", list(range(1, 33)), "row of 16 tokens"),
    "length": ("minilm_l3", IDS, "batch_size=1,sequence_length={}", LENGTHS, "token"),
    # The position table of minilm_l3 ends at 512.
    "long": ("block", [], "batch=1,length={}",
             LENGTHS + [576, 640, 704, 768, 896, 1023, 1024, 1025, 1152, 1280, 1408, 1536, 1664, 1792, 1920,
                        2047, 2048], "token"),
}


def block(path):
    """A transformer block without positions: hidden 384, 12 heads, 1536 inside."""
    rng = np.random.default_rng(7)
    nodes, init = [], []

    def const(name, a):
        init.append(numpy_helper.from_array(np.asarray(a), name))
        return name

    def node(op, ins, out, **attrs):
        nodes.append(helper.make_node(op, ins, [out], **attrs))
        return out

    def dense(x, out, k, n):
        w = const(f"w_{out}", (rng.standard_normal((k, n)) / math.sqrt(k)).astype(np.float32))
        b = const(f"b_{out}", rng.standard_normal(n).astype(np.float32))
        return node("Add", [node("MatMul", [x, w], f"{out}_p"), b], out)

    def norm(x, out):
        s, b = const(f"s_{out}", np.ones(384, np.float32)), const(f"z_{out}", np.zeros(384, np.float32))
        return node("LayerNormalization", [x, s, b], out, axis=-1)

    def heads(x, out, perm):
        shape = const(f"h_{out}", np.array([0, 0, 12, 32], np.int64))
        return node("Transpose", [node("Reshape", [x, shape], f"{out}_r")], out, perm=perm)

    q = heads(dense("x", "q", 384, 384), "qh", [0, 2, 1, 3])
    k = heads(dense("x", "k", 384, 384), "kh", [0, 2, 3, 1])
    v = heads(dense("x", "v", 384, 384), "vh", [0, 2, 1, 3])
    scores = node("Mul", [node("MatMul", [q, k], "qk"), const("scale", np.float32(32 ** -0.5))], "scores")
    y = node("MatMul", [node("Softmax", [scores], "p", axis=-1), v], "pv")
    y = node("Transpose", [y], "back", perm=[0, 2, 1, 3])
    y = node("Reshape", [y, const("flat", np.array([0, 0, 384], np.int64))], "joined")
    y = norm(node("Add", ["x", dense(y, "o", 384, 384)], "r1"), "n1")
    up = dense(y, "up", 384, 1536)
    erf = node("Erf", [node("Mul", [up, const("rsqrt2", np.float32(2 ** -0.5))], "e0")], "e1")
    half = node("Mul", [node("Add", [erf, const("one", np.float32(1))], "e2"), const("half", np.float32(0.5))], "e3")
    down = dense(node("Mul", [up, half], "gelu"), "down", 1536, 384)
    norm(node("Add", [y, down], "r2"), "y")
    g = helper.make_graph(nodes, "block", [helper.make_tensor_value_info("x", T.FLOAT, ["batch", "length", 384])],
                          [helper.make_tensor_value_info("y", T.FLOAT, ["batch", "length", 384])], init)
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def run(bench, model, flags, sizes):
    """Numbers of each line that the program prints."""
    r = subprocess.run([bench, model, *flags, *sizes], capture_output=True, text=True)
    if r.returncode:
        sys.exit(r.stderr.strip())
    return [[float(x) for x in line.split()[1:]] for line in r.stdout.splitlines()]


def compare(bench, corpus, name):
    model, flags, pattern, sizes = CASES[name]
    lines = run(bench, corpus / model / "model.onnx", flags, [pattern.format(*s) for s in sizes])
    print(f"\n{name}, {pattern}:\n\n| size | symbolic ms | static ms | ratio | largest difference |")
    print("|---|---|---|---|---|")
    bad = 0
    for size, (sym, fixed, ratio, error) in zip(sizes, lines):
        fails = ratio > MOST_RATIO or not error <= MOST_ERROR
        bad += fails
        print(f"| {' x '.join(map(str, size))} | {sym / 1e3:.2f} | {fixed / 1e3:.2f} | {ratio:.3f}"
              f"{' FAILED' if fails else ''} | {error:.1e} |", flush=True)
    return bad


def steps(each):
    """Of every size: time per item over that of the better neighbour."""
    out = []
    for i, t in enumerate(each):
        near = each[max(0, i - 1):i] + each[i + 1:i + 2]
        out.append(t / min(near) if 0 < i < len(each) - 1 else 0)
    return out


def plot(path, sizes, each, flagged, x_title, y_title):
    w, h, left, bottom = 720, 320, 70, 40
    lo, hi, top = math.log2(sizes[0]), math.log2(sizes[-1]), max(each) * 1.1
    px = [left + (math.log2(s) - lo) / (hi - lo) * (w - left - 20) for s in sizes]
    py = [h - bottom - t / top * (h - bottom - 20) for t in each]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" font-family="sans-serif" font-size="12">',
           f'<rect width="{w}" height="{h}" fill="white"/>']
    for i in range(6):
        y = h - bottom - i / 5 * (h - bottom - 20)
        out.append(f'<path d="M{left} {y:.1f}H{w - 20}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{top * i / 5:.0f}</text>')
    for p in range(math.ceil(lo), math.floor(hi) + 1):
        x = left + (p - lo) / (hi - lo) * (w - left - 20)
        out.append(f'<text x="{x:.1f}" y="{h - bottom + 16}" text-anchor="middle">{2 ** p}</text>')
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(px, py))
    out.append(f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.5"/>')
    for x, y, f in zip(px, py, flagged):
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{"#c00" if f else "#06c"}"/>')
    out.append(f'<text x="{w // 2}" y="{h - 6}" text-anchor="middle">{x_title}</text>')
    out.append(f'<text x="14" y="{h // 2}" text-anchor="middle" transform="rotate(-90 14 {h // 2})">{y_title}</text></svg>')
    path.write_text("\n".join(out) + "\n")


def curve(bench, corpus, out, name):
    model, flags, pattern, sizes, item = CURVES[name]
    path = corpus / model / "model.onnx"
    if model == "block":
        path = out / "block.onnx"
        block(path)
    lines = run(bench, path, ["--curve", "--rounds", "9", *flags], [pattern.format(s) for s in sizes])
    each = [us / s for (us,), s in zip(lines, sizes)]
    up = steps(each)
    flagged = [u > MOST_STEP for u in up]
    print(f"\n{model}, {pattern}: us per {item} (over the better neighbour):\n")
    print(", ".join(f"{s}: {t:.1f}{f' ({u:.2f})' if u > 1.05 else ''}{' FAILED' if f else ''}"
                    for s, t, u, f in zip(sizes, each, up, flagged)), flush=True)
    plot(out / f"dynamic-{name}.svg", sizes, each, flagged, f"{model}, {pattern}".replace("{}", "size"),
         f"us per {item}")
    return sum(flagged)


def main():
    bench, corpus, out = (pathlib.Path(p).resolve() for p in sys.argv[1:4])
    what = sys.argv[4:] or [*CASES, *CURVES]
    bad = 0
    for name in what:
        bad += compare(bench, corpus, name) if name in CASES else curve(bench, corpus, out, name)
    print(f"\n{bad} failed")
    sys.exit(bad > 0)


main()
