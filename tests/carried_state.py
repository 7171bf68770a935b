# SPDX-License-Identifier: Apache-2.0
"""carried_state.py BUILD CORPUS: state that a session carries, in models of the corpus, by the shared library.

smollm2_135m: samples/decode gives the tokens of meta.json, and no run of a token moves the caches: the trace has the
launches of a run whose past is empty, and every copy in it takes no longer with a long past. silero_vad: the bound
hidden state gives the bytes of the state that is handed back, without a copy. A small decoder: the C text, where
nothing is bound, agrees."""
import ctypes as c
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

build, corpus = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
passed = failed = 0


class View(c.Structure):
    _fields_ = [("dtype", c.c_int), ("rank", c.c_int), ("dims", c.c_int64 * 8), ("data", c.c_void_p), ("bytes", c.c_size_t)]


class Error(c.Structure):
    _fields_ = [("code", c.c_int), ("text", c.c_char * 500)]


class Options(c.Structure):
    _fields_ = [("size", c.c_size_t), ("threads", c.c_int), ("trace", c.c_int), ("max_bytes", c.c_uint64)]


class Event(c.Structure):
    _fields_ = [("kind", c.c_char_p), ("name", c.c_char_p), ("layers", c.c_char_p), ("what", c.c_char_p),
                ("start_ns", c.c_int64), ("ns", c.c_int64), ("tasks", c.c_int64)]


class State(c.Structure):
    _fields_ = [("input", c.c_int), ("output", c.c_int), ("axis", c.c_int)]


rt = c.CDLL(str(build / "libcabrt.so.0"))
TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}


def check(what, ok):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("failed", what)


def view(a):
    v = View(TYPES[a.dtype], a.ndim, (c.c_int64 * 8)(*a.shape), a.ctypes.data, a.nbytes)
    return v


class Session:
    """A session of a model, with its trace; inputs by name, None where a state is bound."""

    def __init__(self, path):
        self.e, self.m, self.s = Error(), c.c_void_p(), c.c_void_p()
        self.ask(rt.cab_model_load(str(path).encode(), None, c.byref(self.m), c.byref(self.e)))
        o = Options(c.sizeof(Options), 1, 1, 0)
        self.ask(rt.cab_session_create(self.m, c.byref(o), c.byref(self.s), c.byref(self.e)))
        self.n_in, self.n_out = rt.cab_model_input_count(self.m), rt.cab_model_output_count(self.m)
        self.out = (View * self.n_out)()

    def ask(self, rc):
        if rc:
            raise SystemExit(self.e.text.decode())

    def find(self, name, output=False):
        f = rt.cab_model_find_output if output else rt.cab_model_find_input
        return f(self.m, name.encode())

    def bind(self, i, o, start=None):
        v = c.byref(view(start)) if start is not None else None
        self.ask(rt.cab_session_bind_state(self.s, i, o, v, c.c_int64(0), c.byref(self.e)))

    def bind_all(self):
        s = State()
        for i in range(rt.cab_model_state_count(self.m)):
            rt.cab_model_state(self.m, i, c.byref(s))
            self.bind(s.input, s.output)
        return rt.cab_model_state_count(self.m)

    def run(self, feeds):
        ins = (View * self.n_in)()
        self.keep = {n: np.array(a, order="C") for n, a in feeds.items()}
        for n, a in self.keep.items():
            ins[self.find(n)] = view(a)
        self.ask(rt.cab_session_run(self.s, ins, self.out, c.byref(self.e)))

    def output(self, name):
        v = self.out[self.find(name, True)]
        shape = tuple(v.dims[:v.rank])
        n = int(np.prod(shape))
        return np.frombuffer((c.c_float * n).from_address(v.data), np.float32).reshape(shape).copy()

    def moves(self):
        """(what, tasks, ns) of launches and copies that compute nothing."""
        ev, n = c.POINTER(Event)(), c.c_size_t()
        self.ask(rt.cab_session_trace(self.s, c.byref(ev), c.byref(n)))
        only = {"copy", "transpose", "reshape", "expand", "concat", "slice", "relayout"}
        return [(e.what.decode(), e.tasks, e.ns) for e in ev[:n.value]
                if e.kind == b"copy" or e.kind == b"launch" and set(e.what.decode().split("+")) <= only]

    def grew(self):
        ev, n = c.POINTER(Event)(), c.c_size_t()
        self.ask(rt.cab_session_trace(self.s, c.byref(ev), c.byref(n)))
        return sum(e.kind == b"alloc" for e in ev[:n.value])


def compile_to(model, path, *flags):
    subprocess.run([build / "cab", "compile", model, "-o", path, *flags], check=True, stdout=subprocess.DEVNULL)


def language_model(d):
    extra = json.loads((corpus / "smollm2_135m/meta.json").read_text())["extra"]
    compile_to(corpus / "smollm2_135m/model.onnx", d / "m.cab")
    sample = subprocess.run([build / "samples/decode/decode", d / "m.cab", str(len(extra["greedy_24"])),
                             *map(str, extra["prompt_ids"])], check=True, capture_output=True, text=True)
    check("the tokens of the sample", [int(x) for x in sample.stdout.split()] == extra["greedy_24"])
    s = Session(d / "m.cab")
    check("60 caches are found", s.bind_all() == 60)
    ids, at, got, grew = extra["prompt_ids"], 0, [], []
    while len(got) < 24:
        s.run({"input_ids": np.array([ids]), "position_ids": np.arange(at, at + len(ids))[None]})
        at += len(ids)
        ids = [int(s.output("logits")[0, -1].argmax())]
        got += ids
        grew.append(s.grew())
        if len(got) == 1:
            continue
        # Two of q and k a layer turn half of the new token's heads (rotary positions), one copies positions.
        check("what is moved is the token's", {w for w, _, _ in s.moves()} == {"copy"} and len(s.moves()) == 61)
    check("the tokens of the library", got == extra["greedy_24"])
    check("caches grow at times", set(grew) == {0, 60} and sum(grew) <= 60 * 3)
    few = sum(ns for _, _, ns in s.moves())
    for length in (600, 1200):
        s.run({"input_ids": np.full((1, length), 7), "position_ids": np.arange(at, at + length)[None]})
        at += length
    best = 1 << 60
    for _ in range(5):
        s.run({"input_ids": np.array([[7]]), "position_ids": np.array([[at]])})
        at += 1
        best = min(best, sum(ns for _, _, ns in s.moves()))
    # The caches are 84 MB by now: copying them takes milliseconds, a token's heads microseconds.
    check(f"a long past is not moved ({few} and {best} ns)", best < 1_000_000)


def recurrent(d):
    data = corpus / "silero_vad/test_data_set_0"       # the rate decides sizes
    offered = [x for i in range(3) for x in ("--input", data / f"input_{i}.pb")]
    compile_to(corpus / "silero_vad/model.onnx", d / "v.cab", *offered)
    bound, handed = Session(d / "v.cab"), Session(d / "v.cab")
    start = np.zeros((2, 1, 128), np.float32)
    bound.bind(bound.find("state"), bound.find("stateN", True), start)
    rng, state = np.random.default_rng(1), start
    for _ in range(5):
        feeds = {"input": rng.standard_normal((1, 576)).astype(np.float32), "sr": np.array(16000)}
        bound.run(feeds)
        handed.run(dict(feeds, state=state))
        state = handed.output("stateN")
        check("the voice's state", np.array_equal(bound.output("stateN"), state) and
              np.array_equal(bound.output("output"), handed.output("output")))
        check("no copy of it", not [m for m in bound.moves() if m[0] == "output onto input"])


def small_decoder(d):
    """Grouped attention over caches with symbolic extents: one file, its C text and an artifact."""
    def f32(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    ints = {"s1": [1, 2, 1, -1, 8], "s2": [1, 2, 2, 1, 8], "s3": [1, 4, -1, 8]}
    nodes = [helper.make_node("Concat", ["k", "x"], ["kk"], axis=2), helper.make_node("Concat", ["v", "x"], ["vv"], axis=2)]
    for a, b in (("kk", "rk"), ("vv", "rv")):
        nodes += [helper.make_node("Reshape", [a, "s1"], [a + "1"]), helper.make_node("Expand", [a + "1", "s2"], [a + "2"]),
                  helper.make_node("Reshape", [a + "2", "s3"], [b])]
    nodes += [helper.make_node("Transpose", ["rk"], ["kt"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["q", "kt"], ["s"]),
              helper.make_node("Softmax", ["s"], ["p"], axis=-1), helper.make_node("MatMul", ["p", "rv"], ["y"])]
    g = helper.make_graph(nodes, "d", [f32("q", [1, 4, "S", 8]), f32("x", [1, 2, "S", 8]), f32("k", [1, 2, "P", 8]),
                                       f32("v", [1, 2, "P", 8])],
                          [f32("y", [1, 4, "S", 8]), f32("kk", [1, 2, "T", 8]), f32("vv", [1, 2, "T", 8])],
                          [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in ints.items()])
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), d / "d.onnx")
    compile_to(d / "d.onnx", d / "d.cab")
    compile_to(d / "d.onnx", d / "d.so", "--emit", "so")
    s, text, rng = Session(d / "d.cab"), c.CDLL(str(d / "d.so")), np.random.default_rng(2)
    check("two caches", s.bind_all() == 2)
    k = v = np.zeros((1, 2, 0, 8), np.float32)
    for n in (1, 6, 1, 3, 5, 1):
        q, x = (rng.standard_normal((1, h, n, 8)).astype(np.float32) for h in (4, 2))
        s.run({"q": q, "x": x})
        ins, outs = (View * 4)(*map(view, (q, x, k, v))), (View * 3)()
        check("the C text runs", text.d_run(ins, outs) == 0)
        y, k, v = (np.frombuffer((c.c_float * int(np.prod(o.dims[:o.rank]))).from_address(o.data), np.float32)
                   .reshape(o.dims[:o.rank]).copy() for o in outs)
        check("the C text agrees", np.array_equal(y, s.output("y")))


with tempfile.TemporaryDirectory() as t:
    small_decoder(pathlib.Path(t))
    recurrent(pathlib.Path(t))
    language_model(pathlib.Path(t))
print(f"carried state: {passed} passed, {failed} failed")
sys.exit(bool(failed))
