#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""strip_shapes.py SUITE OUT: the node tests without value_info and without the extents of outputs.

Only what a compiler must be able to find out is taken away: the types of intermediate values, and the
shapes of outputs, also of those of the graphs inside nodes.  Data sets are linked, not copied."""
import os
import pathlib
import sys

import onnx


def strip_type(t):
    kind = t.WhichOneof("value")
    if kind == "tensor_type":
        t.tensor_type.ClearField("shape")
    elif kind in ("sequence_type", "optional_type"):
        strip_type(getattr(t, kind).elem_type)


def strip_graph(g):
    g.ClearField("value_info")
    for o in g.output:
        strip_type(o.type)
    for n in g.node:
        for a in n.attribute:
            for sub in ([a.g] if a.type == onnx.AttributeProto.GRAPH else a.graphs):
                strip_graph(sub)


suite, out = map(pathlib.Path, sys.argv[1:])
for test in sorted(suite.iterdir()):
    model = test / "model.onnx"
    if not model.exists():
        continue
    to = out / test.name
    to.mkdir(parents=True, exist_ok=True)
    m = onnx.load(model, load_external_data=False)
    strip_graph(m.graph)
    onnx.save(m, to / "model.onnx")
    for f in test.iterdir():
        if f.name != "model.onnx" and not (to / f.name).exists():
            os.symlink(f.resolve(), to / f.name)
print(sum(1 for _ in out.iterdir()), "tests")
