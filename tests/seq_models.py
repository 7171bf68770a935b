# SPDX-License-Identifier: Apache-2.0
"""seq_models.py BUILD: sequences and optionals against onnxruntime, in small models: compiled in one step, and
as an artifact that knows no values; optimised and naive; then what must be refused, in words.

Elements change from run to run (seed printed)."""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper as nh, parser

build = pathlib.Path(sys.argv[1])
seed = 20261127
rng = np.random.default_rng(seed)
f = lambda *d: rng.standard_normal(d).astype(np.float32)
i = lambda v: np.array(v, np.int64)
HEAD = '<ir_version: 9, opset_import: ["": 18]>\n'

# name, model, feeds
CASES = [
    ("at, both ends", """m (seq(float[n]) s, int64 p) => (float[k] y, float[j] z) {
        y = SequenceAt(s, p)
        one = Constant<value = int64 {-1}>()
        z = SequenceAt(s, one)
    }""", dict(s=[f(3), f(5), f(2)], p=i(1))),
    ("insert in the middle, erase, length", """m (seq(float[n]) s, float[n] x, int64 p) => (seq(float) y, int64 n) {
        a = SequenceInsert(s, x, p)
        b = SequenceInsert(a, x)
        y = SequenceErase(b, p)
        n = SequenceLength(a)
    }""", dict(s=[f(3), f(1)], x=f(4), p=i(-1))),
    ("construct, concat along an axis", """m (float[2,n] a, float[2,m] b) => (float[2,k] y) {
        s = SequenceConstruct(a, b, a)
        y = ConcatFromSequence<axis = 1>(s)
    }""", dict(a=f(2, 3), b=f(2, 5))),
    ("concat along a new axis, in the middle", """m (seq(float[3,4]) s) => (float[3,k,4] y) {
        y = ConcatFromSequence<axis = 1, new_axis = 1>(s)
    }""", dict(s=[f(3, 4), f(3, 4), f(3, 4)])),
    ("the sequence that was changed is read afterwards", """m (seq(float[n]) s, float[n] x) => (seq(float) t, seq(float) s2, int64 n) {
        t = SequenceInsert(s, x)
        n = SequenceLength(s)
        s2 = Identity(s)
    }""", dict(s=[f(2)], x=f(3))),
    ("empty, then filled by a loop; joined", """m (int64 n, float[2] x) => (float[k,2] y) {
        s0 = SequenceEmpty<dtype = 1>()
        yes = Constant<value = bool {1}>()
        s = Loop(n, yes, s0) <body = b (int64 it, bool c, seq(float) t) => (bool c2, seq(float) t2) {
            c2 = Identity(c)
            k = Cast<to = 1>(it)
            e = Add(x, k)
            t2 = SequenceInsert(t, e)
        }>
        y = ConcatFromSequence<axis = 0, new_axis = 1>(s)
    }""", dict(n=i(5), x=f(2))),
    ("a loop that takes a sequence apart", """m (seq(float[n]) s) => (float total) {
        n = SequenceLength(s)
        zero = Constant<value = float {0.}>()
        yes = Constant<value = bool {1}>()
        total = Loop(n, yes, zero) <body = b (int64 it, bool c, float acc) => (bool c2, float acc2) {
            c2 = Identity(c)
            e = SequenceAt(s, it)
            r = ReduceSum<keepdims = 0>(e)
            acc2 = Add(acc, r)
        }>
    }""", dict(s=[f(4), f(1), f(7)])),
    ("branches that give sequences", """m (bool c, seq(float[n]) s, float[n] x) => (seq(float) y) {
        y = If(c) <then_branch = t () => (seq(float) a) { a = SequenceInsert(s, x) },
                   else_branch = e () => (seq(float) b) { b = SequenceConstruct(x, x) }>
    }""", dict(c=np.array(True), s=[f(3)], x=f(2))),
    ("split into equal parts, many", """m (float[n,2] x, int64 k) => (seq(float) y) {
        y = SplitToSequence<axis = 0>(x, k)
    }""", dict(x=f(101, 2), k=i(1))),
    ("split by sizes of the run", """m (float[2,n] x, int64[m] k) => (seq(float) y) {
        y = SplitToSequence<axis = 1>(x, k)
    }""", dict(x=f(2, 9), k=i([2, 0, 4, 3]))),
    ("split into items without the axis", """m (float[3,n] x) => (seq(float) y, int64 n) {
        y = SplitToSequence<axis = 0, keepdims = 0>(x)
        n = SequenceLength(y)
    }""", dict(x=f(3, 5))),
    ("map over two sequences and a tensor", """m (seq(float[n]) s, seq(float[n]) t, float x) => (seq(float) y, seq(int64) z) {
        y, z = SequenceMap(s, t, x) <body = b (float[n] u, float[n] v, float w) => (float[n] p, int64[1] q) {
            a = Mul(u, v)
            p = Add(a, w)
            q = Shape(u)
        }>
    }""", dict(s=[f(3), f(1), f(6)], t=[f(3), f(1), f(6)], x=np.array(2, np.float32))),
    ("elements of another rank out of a map", """m (seq(float[n]) s) => (float[k,3] y) {
        t = SequenceMap(s) <body = b (float[n] u) => (float[1,3] p) {
            d = Constant<value = int64[2] {1, 3}>()
            r = ReduceSum<keepdims = 1>(u)
            p = Expand(r, d)
        }>
        y = ConcatFromSequence<axis = 0>(t)
    }""", dict(s=[f(2), f(5)])),
]

# name, model, feeds, a part of the story
REFUSED = [
    ("place outside", CASES[0][1], dict(s=[f(2), f(2)], p=i(2)), "place 2 in a sequence of 2"),
    ("place before the first", CASES[1][1], dict(s=[f(2)], x=f(1), p=i(-2)), "place -2"),
    ("extents that do not fit", CASES[3][1], dict(s=[f(3, 4), f(3, 5)]), "differ in extent 1"),
    ("an empty sequence joined", CASES[5][1], dict(n=i(0), x=f(2)), "empty sequence"),
    ("lengths that differ", CASES[11][1], dict(s=[f(2)], t=[f(2), f(2)], x=np.array(0, np.float32)), "sequences are of one length"),
]


def write(path, v):
    m = nh.from_list(v) if isinstance(v, list) else nh.from_array(np.asarray(v))
    path.write_bytes(m.SerializeToString())


def read(path, like):
    m = onnx.SequenceProto() if isinstance(like, list) else onnx.TensorProto()
    m.ParseFromString(path.read_bytes())
    return nh.to_list(m) if isinstance(like, list) else nh.to_array(m)


def equal(a, b):
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    return a.shape == b.shape and a.dtype == b.dtype and np.allclose(a, b, rtol=1e-5, atol=1e-6)


def prepare(tmp, text, feeds):
    m = parser.parse_model(HEAD + text)
    onnx.save(m, tmp / "m.onnx")
    args = []
    for n, g in enumerate(m.graph.input):
        write(tmp / f"in{n}.pb", feeds[g.name])
        args += ["--input", str(tmp / f"in{n}.pb")]
    return m, args


def ways(tmp, args):
    for flag in ([], ["--naive"]):
        yield [[build / "cab", "run", tmp / "m.onnx", *args, *flag, "--output-dir", tmp]]
        yield [[build / "cab", "compile", tmp / "m.onnx", *flag, "-o", tmp / "m.cab"],
               [build / "cab-rt", tmp / "m.cab", *args, "--output-dir", tmp]]


def run(commands):
    for c in commands:
        r = subprocess.run(c, capture_output=True, text=True, timeout=60)
        if r.returncode:
            return r
    return r


passed = failed = 0
print("seed", seed)
for name, text, feeds in CASES:
    with tempfile.TemporaryDirectory() as d:
        tmp = pathlib.Path(d)
        m, args = prepare(tmp, text, feeds)
        want = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
        for commands in ways(tmp, args):
            for old in tmp.glob("output_*.pb"):
                old.unlink()
            r = run(commands)
            ok = r.returncode == 0 and all(equal(read(tmp / f"output_{k}.pb", w), w) for k, w in enumerate(want))
            passed, failed = passed + ok, failed + (not ok)
            if not ok:
                print("FAILED:", name, *map(str, commands[0][:2]), r.stderr[-300:])
for name, text, feeds, story in REFUSED:
    with tempfile.TemporaryDirectory() as d:
        tmp = pathlib.Path(d)
        m, args = prepare(tmp, text, feeds)
        for commands in ways(tmp, args):
            r = run(commands)
            ok = 0 < r.returncode < 10 and story in r.stderr
            passed, failed = passed + ok, failed + (not ok)
            if not ok:
                print("FAILED to refuse:", name, r.returncode, r.stderr[-300:])
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
