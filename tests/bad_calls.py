# SPDX-License-Identifier: Apache-2.0
"""bad_calls.py BUILD: makes wrong models and wrong calls, and holds what cab answers to docs/errors.md.

CAB_BLESS=1 rewrites the page.  Needs numpy and onnx."""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto as T, helper

top = pathlib.Path(__file__).resolve().parent.parent
page = top / "docs" / "errors.md"
build = pathlib.Path(sys.argv[1]).resolve()
digits = (top / "samples" / "digits" / "digits.onnx").read_bytes()

x = helper.make_tensor_value_info("x", T.FLOAT, ["N", 4])
y = helper.make_tensor_value_info("y", T.FLOAT, None)


def model(*nodes, weights=()):
    g = helper.make_graph(list(nodes), "g", [x], [y], list(weights))
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weight(*dims):
    return helper.make_tensor("w", T.FLOAT, dims, [0.0] * int(np.prod(dims)))


node = helper.make_node
short = model(node("MatMul", ["x", "w"], ["y"], name="mm"), weights=[weight(4, 3)])
short.graph.initializer[0].dims[0] = 1000
custom = model(node("Relu", ["x"], ["h"], name="r"), node("Swirl", ["h"], ["y", "c"], name="swirl", domain="acme", gain=2.0))
custom.opset_import.append(helper.make_opsetid("acme", 1))
files = {
    "digits.onnx": digits,
    "cut.onnx": digits[:9000],
    "unknown.onnx": model(node("FooBar", ["x"], ["y"], name="foo")),
    "custom.onnx": custom,
    "unsupported.onnx": model(node("Relu", ["x"], ["h"], name="r"), node("Bernoulli", ["h"], ["a"], name="coin"),
                              node("RandomNormalLike", ["h"], ["y"], name="noise")),
    "arity.onnx": model(node("Conv", ["x"], ["y"], name="conv")),
    "attribute.onnx": model(node("Relu", ["x"], ["y"], name="r", bogus=3)),
    "dangling.onnx": model(node("Relu", ["nowhere"], ["y"], name="r")),
    "shapes.onnx": model(node("MatMul", ["x", "w"], ["y"], name="mm"), weights=[weight(5, 3)]),
    "short.onnx": short,
    "doubles.npy": np.zeros((2, 1, 8, 8)),
    "rank3.npy": np.zeros((1, 8, 8), np.float32),
    "wide.npy": np.zeros((2, 1, 8, 9), np.float32),
    "ok.npy": np.zeros((2, 1, 8, 8), np.float32),
}
calls = [
    ("a file that is not there", "cab run missing.onnx"),
    ("a file cut short", "cab run cut.onnx"),
    ("an operator nobody knows", "cab run unknown.onnx"),
    ("a custom operator that is not registered, to compile", "cab check custom.onnx"),
    ("a custom operator that is not registered, to run", "cab-rt custom.cab --input ok.npy"),
    ("operators that are not supported yet: all at once", "cab check unsupported.onnx"),
    ("a missing operand", "cab run arity.onnx"),
    ("an attribute the operator does not have", "cab run attribute.onnx"),
    ("a value nobody defines", "cab run dangling.onnx"),
    ("shapes that do not fit", "cab run shapes.onnx"),
    ("a weight with fewer bytes than its shape says", "cab run short.onnx"),
    ("an input of another type", "cab run digits.onnx --input doubles.npy"),
    ("an input of another rank", "cab run digits.onnx --input rank3.npy"),
    ("an input of another extent", "cab run digits.onnx --input wide.npy"),
    ("one input too many", "cab run digits.onnx --input ok.npy --input ok.npy"),
    ("a flag value that is no number", "cab run digits.onnx --threads many"),
    ("a model where an artifact is wanted", "cab-rt digits.onnx --input ok.npy"),
    ("a target that does not exist", "cab compile digits.onnx -o d.cab --target x86-64-v9"),
    ("a memory limit too small to compile", "cab run digits.onnx --max-memory 100K"),
]
text = ["# What errors look like", "",
        "Every answer names the node or the argument, the reason and, where there is one, the way out. Exit status:",
        "0 done, 77 unsupported, 2 usage, 1 any other failure. Written by `tests/bad_calls.py`, which also checks",
        "that it is still true.", ""]
bad = 0
with tempfile.TemporaryDirectory() as d:
    d = pathlib.Path(d)
    for name, what in files.items():
        if isinstance(what, bytes):
            (d / name).write_bytes(what)
        elif isinstance(what, np.ndarray):
            np.save(d / name, what)
        else:
            onnx.save(what, d / name)
    # An artifact that needs a custom operator: made with the library of tests/swirl.c.
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", f"-I{top}", "-o", d / "swirl.so",
                    top / "tests" / "swirl.c"], check=True)
    subprocess.run([build / "cab", "compile", "custom.onnx", "--custom", "./swirl.so", "-o", "custom.cab"],
                   cwd=d, check=True, capture_output=True)
    for title, call in calls:
        words = call.split()
        r = subprocess.run([build / words[0], *words[1:]], cwd=d, capture_output=True, text=True, timeout=60)
        if r.returncode not in (1, 2, 77) or not r.stderr.strip():
            bad += 1
            print(f"FAILED: {call}: exit {r.returncode}, {r.stderr!r}")
        text += [f"## {title[0].upper()}{title[1:]}", "", f"    $ {call}"]
        text += [f"    {line}" for line in r.stderr.rstrip().split("\n")] + [f"    [exit {r.returncode}]", ""]
now = "\n".join(text)
if os.environ.get("CAB_BLESS"):
    page.write_text(now)
if not page.exists() or page.read_text() != now:
    bad += 1
    print("FAILED: docs/errors.md is not what cab says (CAB_BLESS=1 rewrites it)")
print(f"bad calls: {len(calls) + 1 - bad} passed, {bad} failed")
sys.exit(bool(bad))
