# SPDX-License-Identifier: Apache-2.0
"""Writes rownorm.onnx, a model with an operator that no standard has.

  python3 make_model.py [OUTDIR]      needs onnx

x [N, 4] -> Relu -> sample::RowNorm {epsilon} -> unit [N, 4], length [N]; unit + 1 -> y
"""
import pathlib
import sys

import onnx
from onnx import TensorProto, helper

node = helper.make_node
value = helper.make_tensor_value_info
nodes = [
    node("Relu", ["x"], ["h"], name="relu"),
    # Only the domain says that it is ours.
    node("RowNorm", ["h"], ["unit", "length"], name="norm", domain="sample", epsilon=1e-6),
    node("Add", ["unit", "one"], ["y"], name="shift"),
]
one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
graph = helper.make_graph(
    nodes, "rownorm",
    [value("x", TensorProto.FLOAT, ["N", 4])],
    [value("y", TensorProto.FLOAT, ["N", 4]), value("length", TensorProto.FLOAT, ["N"])],
    [one])
model = helper.make_model(
    graph, producer_name="samples/custom_op/make_model.py",
    opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("sample", 1)])
model.ir_version = 8
out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
onnx.save(model, out / "rownorm.onnx")
