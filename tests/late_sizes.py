#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""late_sizes.py BUILD [--seed N] [--rounds N] [--only OP]: sizes that only data decide, on random data.

Every model is one node, compiled once without input values and with open extents; each round runs it on fresh
arrays.  NonZero, Compress, Unique and Slice are held to numpy, Resize to the reference of the onnx package,
the others to onnxruntime; where that refuses the data, cab-rt must refuse too, in words, and go on.  The
seed is printed."""
import argparse, os, pathlib, subprocess, sys, tempfile
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ap = argparse.ArgumentParser()
ap.add_argument("build", type=pathlib.Path)
ap.add_argument("--seed", type=int, default=20261127)
ap.add_argument("--rounds", type=int, default=12)
ap.add_argument("--only", default="")
ap.add_argument("--naive", action="store_true")
ap.add_argument("--no-c", action="store_true", help="leave C text out: a library with sanitizers does not link to it")
a = ap.parse_args()
print("seed", a.seed)
rng = np.random.default_rng(a.seed)
i64 = lambda *v: np.array(v, np.int64)
f32 = lambda *d: rng.standard_normal(d).astype(np.float32)
pick = lambda lo, hi: int(rng.integers(lo, hi))       # hi is outside
dims = lambda r, lo=1, hi=6: tuple(pick(lo, hi) for _ in range(r))


# ---- data: a list of arrays for each round ----
def coarse(*d):
    """Few values, so that rows meet again; now and then NaN, both zeros and infinities."""
    x = rng.integers(-2, 3, d).astype(np.float32)
    return np.where(rng.random(d) < .2, rng.choice(np.array([np.nan, -0., 0., np.inf, -np.inf], np.float32), d), x)


def bounds():
    big = [0, 1, -1, 2, -2, 3, -3, 5, -7, 9, 2**63 - 1, -2**63, 2**31, -2**31]
    return int(rng.choice(np.array(big, np.int64)))


def slices():
    r = pick(1, 4)
    return [f32(*dims(3, 0, 5)), i64(*[bounds() for _ in range(2)]), i64(*[bounds() for _ in range(2)]),
            i64(*rng.permutation([0, -2])), i64(*[int(rng.choice([1, 2, -1, -3, 0 if pick(0, 9) == 0 else 1])) for _ in "ab"])]


def shape_of(n, r):
    """r extents that multiply to n, with a 0 or a -1 in some of them."""
    s = []
    for i in range(r - 1):
        d = int(rng.choice([k for k in range(1, n + 1) if n % k == 0] or [1]))
        s.append(d)
        n //= d
    s.append(n)
    return s


def reshapes():
    x = f32(*dims(3))
    s = shape_of(x.size, 3)
    what = pick(0, 6)
    if what == 0:
        s[pick(0, 3)] = -1
    elif what == 1:
        s = [0, -1, x.shape[2]]
    elif what == 2:
        s = [x.shape[0], 0, 0]
    elif what == 3:
        s[pick(0, 3)] = int(rng.choice([-1, -2, 7, 0, 2**31, 2**62]))
    return [x, i64(*s)]


def expands():
    x = f32(*[1 if pick(0, 3) == 0 else 3 for _ in range(3)])
    return [x, i64(*[int(rng.choice([1, 3, 3, 0 if pick(0, 8) == 0 else 1, 2 if pick(0, 5) == 0 else 1])) for _ in range(4)])]


def ranges(dtype, steps):
    v = lambda s: np.array(s, dtype)
    return lambda: [v(rng.choice([-5, 0, 1, 3, 8])), v(rng.choice([-7, 0, 1, 2, 9])), v(rng.choice(steps))]


def boxes():
    b, c, n = pick(1, 3), pick(1, 3), pick(0 if pick(0, 6) == 0 else 1, 30)
    x = rng.random((b, n, 4)).astype(np.float32)
    if pick(0, 3) == 0:
        x = np.round(x * 4) / 4                        # ties and boxes without area
    s = np.round(rng.random((b, c, n)) * 6).astype(np.float32) / 6
    most = int(rng.choice([0, 1, 3, 100, 2**40, -1]))
    return [x, s, i64(most), np.array([rng.choice([0, .1, .5, 1])], np.float32), np.array([rng.choice([-1, .2, .5])], np.float32)]


def resizes(by_size, lo=1, hi=9):
    def make():
        x = f32(1, 2, pick(lo, hi), pick(lo, hi))
        if by_size:
            return [x, i64(1, 2, pick(1, 12), pick(1, 12))]
        return [x, np.array([1, 1, *rng.choice([.5, .6, .75, 1, 1.3, 2, 2.5], 2)], np.float32)]
    return make


def topks():
    x = coarse(*dims(2, 1, 7))
    x = np.where(np.isnan(x), np.float32(7), x)
    return [x, i64(int(rng.choice([0, 1, 2, x.shape[1], 7, -1])))]


def gathers(axis, dtype):
    """Indices of the axis, now and then one beyond its ends."""
    def make():
        x, n = f32(*dims(2, 1, 5)), pick(0, 4)
        e = x.shape[axis]
        at = rng.integers(-e, e, (n, 2)).astype(dtype)
        if n and pick(0, 3) == 0:
            at[pick(0, n), pick(0, 2)] = rng.choice([e, -e - 1, 2**31 - 1, -2**31] + [2**62, -2**63] * (dtype is np.int64))
        return [x, at]
    return make


def splits():
    n = [pick(0, 4) for _ in range(3)]
    return [f32(2, sum(n) + (pick(0, 6) == 0)), i64(*n)]


# ---- oracles of numpy ----
def unique(x, axis, is_sorted):
    y, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not is_sorted:
        order = np.argsort(first)
        to = np.empty_like(order)
        to[order] = np.arange(order.size)
        y, first, counts, inverse = np.take(y, order, axis or 0), first[order], counts[order], to[inverse]
    return [y, first, inverse.astype(np.int64), counts]


def compress(axis):
    def f(x, c):
        n = x.size if axis is None else x.shape[axis]
        return [np.compress(c[:n], x, axis)]
    return f


def sliced(x, starts, ends, axes=i64(2, 0), steps=i64(1, 1)):
    if 0 in steps:
        return "a step of 0"
    at = [slice(None)] * x.ndim
    for s, e, axis, step in zip(starts, ends, axes, steps):
        # An end before the first element cannot be said by a negative number in numpy.
        n = x.shape[axis]
        at[axis] = slice(int(s), None if step < 0 and e < -n else int(e), int(step))
    return [x[tuple(at)]]


# ---- cases: op, attributes, operands (dtype, rank or extents), number of outputs, data, oracle (None: onnxruntime) ----
D, I = T.FLOAT, T.INT64
CASES = [
    ("NonZero", {}, [(D, 3)], 1, lambda: [coarse(*dims(3, 0, 5))], lambda x: [np.array(np.nonzero(x))]),
    ("NonZero", {}, [(T.BOOL, 1)], 1, lambda: [rng.random(dims(1, 0, 3000)) < .3], lambda x: [np.array(np.nonzero(x))]),
    ("Compress", {}, [(D, 2), (T.BOOL, 1)], 1, lambda: [f32(*dims(2, 0)), rng.random(pick(0, 30)) < .5], compress(None)),
    ("Compress", {"axis": 1}, [(D, 3), (T.BOOL, 1)], 1, lambda: [f32(*dims(3, 0)), rng.random(pick(0, 7)) < .5], compress(1)),
    ("Compress", {"axis": -3}, [(I, 3), (T.BOOL, 1)], 1, lambda: [rng.integers(-9, 9, dims(3)), rng.random(pick(0, 7)) < .5],
     compress(0)),
    ("Tile", {}, [(D, 2), (I, [2])], 1, lambda: [f32(*dims(2)), i64(pick(-1, 4), pick(0, 4))], None),
    ("ConstantOfShape", {}, [(I, [3])], 1, lambda: [i64(pick(-1 if pick(0, 4) == 0 else 0, 4), pick(0, 4), pick(0, 4))], None),
    ("Reshape", {}, [(D, 3), (I, [3])], 1, reshapes, None),
    ("Reshape", {"allowzero": 1}, [(D, 2), (I, [3])], 1,
     lambda: [f32(*dims(2, 0, 4)), i64(*([pick(0, 4), pick(0, 3), pick(0, 4)], [-1, pick(1, 3), -1], [1, -1, pick(1, 3)])[pick(0, 3)])], None),
    ("Expand", {}, [(D, 3), (I, [4])], 1, expands, None),
    ("Expand", {}, [(D, [3, 1]), (I, [2])], 1, lambda: [f32(3, 1), i64(int(rng.choice([1, 3, 4])), pick(0, 5))], None),
    ("Slice", {}, [(D, 3), (I, [2]), (I, [2]), (I, [2]), (I, [2])], 1, slices, sliced),
    ("Slice", {"": [2, 0]}, [(D, 3), (I, [2]), (I, [2]), (I, [2])], 1,
     lambda: [f32(*dims(3, 0, 5)), i64(bounds(), bounds()), i64(bounds(), bounds()), i64(2, 0)], sliced),
    ("Pad", {}, [(D, 2), (I, [4]), (D, [])], 1,
     lambda: [f32(*dims(2)), i64(*[pick(-2, 4) for _ in "abcd"]), np.float32(7)], None),
    ("Pad", {"mode": "reflect"}, [(D, 2), (I, [4])], 1, lambda: [f32(4, 5), i64(*[pick(0, 4) for _ in "abcd"])], None),
    ("Pad", {"mode": "edge"}, [(D, 2), (I, [4])], 1, lambda: [f32(*dims(2)), i64(*[pick(0, 9) for _ in "abcd"])], None),
    ("Pad", {}, [(D, 3), (I, [2]), (D, []), (I, [1])], 1,
     lambda: [f32(*dims(3)), i64(pick(0, 4), pick(0, 4)), np.float32(0), i64(pick(-3, 3))], None),
    ("Range", {}, [(I, [])] * 3, 1, ranges(np.int64, [1, 2, 3, -1, -4]), None),
    ("Range", {}, [(D, [])] * 3, 1, ranges(np.float32, [1, .3, -.7, 2.5]), None),
    ("Gather", {}, [(D, 2), (I, 2)], 1, gathers(0, np.int64), None),
    ("Gather", {"axis": -1}, [(D, 2), (T.INT32, 2)], 1, gathers(1, np.int32), None),
    ("Split", {"axis": 1}, [(D, [2, "A"]), (I, [3])], 3, splits, None),
    ("TopK", {"axis": 1}, [(D, 2), (I, [1])], 2, topks, None),
    ("OneHot", {}, [(I, 1), (I, []), (D, [2])], 1,
     lambda: [rng.integers(-5, 6, pick(0, 6)), np.int64(pick(1, 6)), np.array([2, 5], np.float32)], None),
    ("Trilu", {}, [(D, 2), (I, [])], 1, lambda: [f32(*dims(2)), np.int64(pick(-4, 5))], None),
    ("NonMaxSuppression", {}, [(D, ["B", "N", 4]), (D, ["B", "C", "N"]), (I, [1]), (D, [1]), (D, [1])], 1, boxes, None),
    ("NonMaxSuppression", {"center_point_box": 1}, [(D, ["B", "N", 4]), (D, ["B", "C", "N"]), (I, [1]), (D, [1]), (D, [1])], 1,
     boxes, None),
    ("NonMaxSuppression", {}, [(D, ["B", "N", 4]), (D, ["B", "C", "N"]), (I, [1])], 1, lambda: boxes()[:3], None),
    ("CenterCropPad", {"axes": [0, 2]}, [(D, 3), (I, [2])], 1, lambda: [f32(*dims(3)), i64(pick(0, 9), pick(0, 9))], None),
    ("HannWindow", {}, [(I, [])], 1, lambda: [np.int64(pick(2, 20))], None),
    ("BlackmanWindow", {"periodic": 0}, [(I, [])], 1, lambda: [np.int64(pick(2, 20))], None),
]
for axis, is_sorted, data in [(None, 1, lambda: coarse(*dims(2, 0, 7))), (None, 0, lambda: coarse(*dims(1, 0, 500))),
                              (0, 1, lambda: coarse(pick(0, 30), pick(1, 3))), (1, 0, lambda: coarse(2, pick(1, 30), 1))]:
    CASES.append(("Unique", {"sorted": is_sorted} | ({} if axis is None else {"axis": axis}), [(D, data().ndim)], 4,
                  lambda data=data: [data()], lambda x, axis=axis, s=is_sorted: unique(x, axis, s)))
CASES.append(("Unique", {}, [(I, 1)], 4, lambda: [rng.choice(i64(-2**63, 2**63 - 1, 0, 2**53, 2**53 + 1), pick(0, 90))],
              lambda x: unique(x, None, 1)))
CASES.append(("Unique", {}, [(T.BOOL, 2)], 4, lambda: [rng.random(dims(2, 0, 4)) < .5], lambda x: unique(x, None, 1)))
for mode in "nearest", "linear", "cubic":
    for coord in "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel":
        for by_size in 0, 1:
            CASES.append(("Resize", {"mode": mode, "coordinate_transformation_mode": coord},
                          [(D, [1, 2, "H", "W"]), (I if by_size else D, [4])], 1, resizes(by_size, 2), None))
CASES.append(("Resize", {"mode": "linear", "antialias": 1}, [(D, [1, 2, "H", "W"]), (I, [4])], 1, resizes(1, 2), None))


def model_of(op, attrs, operands, n_out):
    ins, names = [], []
    for k, (dt, shape) in enumerate(operands):
        shape = [f"S{k}_{i}" for i in range(shape)] if isinstance(shape, int) else shape
        ins.append(helper.make_tensor_value_info(f"x{k}", dt, shape))
        names.append(f"x{k}")
    attrs = dict(attrs)
    inits = []
    if "" in attrs:                                    # the last operand is a constant
        inits = [numpy_helper.from_array(i64(*attrs.pop("")), names[-1])]
        ins.pop()
    if op == "Resize":
        names = ["x0", "", "", "x1"] if operands[1][0] == I else ["x0", "", "x1"]
    if op == "Pad" and attrs.get("mode"):
        names = names[:2]
    # onnxruntime knows opset 25 of some operators only in part.
    opset = 13 if op == "Resize" and not attrs.get("antialias") else 18 if op in ("Resize", "CenterCropPad", "Pad", "Split") else 17
    outs = [f"y{k}" for k in range(n_out)]
    g = helper.make_graph([helper.make_node(op, names, outs, **attrs)], "g", ins,
                          [helper.make_tensor_value_info(y, T.UNDEFINED, None) for y in outs], inits)
    for o in g.output:
        o.ClearField("type")
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)])
    m.ir_version = 9
    for o in onnx.shape_inference.infer_shapes(m).graph.output:
        next(x for x in g.output if x.name == o.name).CopyFrom(o)
    m.graph.CopyFrom(g)
    return m


class Runtime:
    def __init__(self, artifact):
        self.artifact = artifact
        self.p = subprocess.Popen([a.build / "cab-rt", "--lines", "--max-memory", "64M", "--deadline", "5000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, tmp, arrays, n_out):
        files = []
        for k, x in enumerate(arrays):
            files.append(os.path.join(tmp, f"in{k}.pb"))
            with open(files[-1], "wb") as f:
                f.write(numpy_helper.from_array(np.asarray(x)).SerializeToString())
        self.p.stdin.write("\t".join([self.artifact, tmp, *files]) + "\n")
        self.p.stdin.flush()
        answer = self.p.stdout.readline().strip()
        if not answer:
            raise SystemExit(f"cab-rt died with {self.p.wait()} on {[x.tolist() for x in map(np.asarray, arrays)]}")
        if answer != "ok":
            return answer, None
        return "ok", [numpy_helper.to_array(onnx.load_tensor(os.path.join(tmp, f"output_{k}.pb"))) for k in range(n_out)]


def impossible(arrays):
    """The same, but for integers that no size can be, and numbers that are none."""
    out = []
    for k, x in enumerate(map(np.asarray, arrays)):
        odd = i64(-2**63, -2**31 - 1, -2**31, -3, -1, 0, 1, 3, 2**31 - 1, 2**31, 2**40, 2**63 - 1)
        if x.dtype == np.int64 and x.size < 9:
            x = np.where(rng.random(x.shape) < .6, rng.choice(odd, x.shape), x)
        elif x.dtype == np.float32 and (k or len(arrays) == 3) and x.size < 5:
            x = np.where(rng.random(x.shape) < .6, rng.choice(np.array([np.nan, np.inf, -1, 0, 1e30, 1e9], np.float32), x.shape), x)
        out.append(x)
    return out


def oracle(case, session, arrays):
    if case[5]:
        return case[5](*arrays)
    try:
        return session.run(None, {f"x{k}": np.asarray(x) for k, x in enumerate(arrays)})
    except Exception as e:
        return str(e)


def differs(got, want):
    for k, (g, w) in enumerate(zip(got, want)):
        w = np.asarray(w)
        if g.shape != w.shape or g.dtype != w.dtype:
            return f"output {k} is {g.dtype}{list(g.shape)}, not {w.dtype}{list(w.shape)}"
        if not np.allclose(g, w, rtol=1e-4, atol=2e-5, equal_nan=g.dtype.kind == "f"):
            return f"output {k} differs: {g.ravel()[:8]}, not {w.ravel()[:8]}"
    return None


passed = failed = refused = survived = 0
options = ort.SessionOptions()
options.log_severity_level = 4
for case in CASES:
    op, attrs, operands, n_out, data, _ = case
    if a.only and op != a.only:
        continue
    with tempfile.TemporaryDirectory() as tmp:
        m = model_of(op, attrs, operands, n_out)
        path, cab = os.path.join(tmp, "m.onnx"), os.path.join(tmp, "m.cab")
        onnx.save(m, path)
        c = subprocess.run([a.build / "cab", "compile", path, "-o", cab, *(["--naive"] if a.naive else [])],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if c.returncode:
            failed += 1
            print(f"failed: {op} {attrs}: {c.stdout.strip()}")
            continue
        session = None if case[5] else ReferenceEvaluator(m) if op == "Resize" else ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
        rt = Runtime(cab)
        for _ in range(a.rounds):                     # only words, and no crash
            arrays = impossible(data())
            answer, _ = rt.run(tmp, arrays[:-1] if "" in attrs else arrays, n_out)
            ok = answer == "ok" or (answer.startswith("error: ") and "damaged" not in answer)
            survived += ok
            failed += not ok
            if not ok:
                print(f"failed: {op} {attrs} on {[x.tolist() for x in arrays]}: {answer}")
        for _ in range(a.rounds):
            arrays = data()
            want = oracle(case, session, arrays)
            if "" in attrs:
                arrays = arrays[:-1]
            answer, got = rt.run(tmp, arrays, n_out)
            if isinstance(want, str):
                refused += 1
                words = answer.startswith("error: ") and "damaged" not in answer and "node '" in answer
                why = None if words else f"{answer}, but the oracle refuses: {want[:200]}"
            else:
                why = differs(got, want) if answer == "ok" else answer
            passed += why is None
            failed += why is not None
            if why:
                print(f"failed: {op} {attrs} on {[np.asarray(x).tolist() if np.asarray(x).size < 13 else np.asarray(x).shape for x in arrays]}: {why}")
        rt.p.stdin.close()
        rt.p.wait()
def c_text():
    """The places alone of Unique need no size of the run: the helper that sorts, as C."""
    m = model_of("Unique", {"axis": 0}, [(T.FLOAT16, 2)], 4)
    del m.graph.output[:2], m.graph.output[1:]
    with tempfile.TemporaryDirectory() as tmp:
        x = rng.integers(-1, 2, (50, 2)).astype(np.float16)
        path, data = os.path.join(tmp, "m.onnx"), os.path.join(tmp, "x.pb")
        onnx.save(m, path)
        pathlib.Path(data).write_bytes(numpy_helper.from_array(x).SerializeToString())
        run = [sys.executable, pathlib.Path(__file__).with_name("emit_c_run.py"), a.build]
        answer = subprocess.run(run, input=f"{path}\t{tmp}\t{data}\n", stdout=subprocess.PIPE, text=True).stdout.strip()
        if answer != "ok":
            return answer
        got = numpy_helper.to_array(onnx.load_tensor(os.path.join(tmp, "output_0.pb")))
        return differs([got], [unique(x, 0, 1)[2]])


if not a.only and not a.no_c:
    why = c_text()
    passed += why is None
    failed += why is not None
    if why:
        print("failed: Unique as C text:", why)
print(f"{refused} of them refused by both sides; {survived} runs on impossible numbers ended in words")
print(f"late sizes: {passed} passed, {failed} failed")
sys.exit(failed != 0)
