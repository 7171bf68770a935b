# SPDX-License-Identifier: Apache-2.0
"""What tests that make ONNX models share: reading tensors, counting checks, the verdict."""
import sys
import onnx
from onnx import numpy_helper

passed = failed = 0


def read(path):
    t = onnx.TensorProto()
    t.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(t)


def check(ok, *story):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAILED:", *story)


def verdict():
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)
