# SPDX-License-Identifier: Apache-2.0
"""minilm_lengths.py CAB-RT MODEL.cab MODEL.onnx: one symbolic artifact at many batches and lengths,
against onnxruntime without graph optimisations."""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

runner, artifact, model = sys.argv[1:4]
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(20261123)
passed = failed = 0
for batch, length in [(1, 1), (1, 7), (3, 16), (2, 33), (1, 64), (8, 40), (1, 200), (1, 511)]:
    ids = rng.integers(1, 30000, (batch, length))
    mask = np.ones((batch, length), np.int64)
    mask[:, max(1, length - length // 4):] = 0
    want = session.run(None, {"input_ids": ids, "attention_mask": mask})
    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        np.save(d / "ids.npy", ids)
        np.save(d / "mask.npy", mask)
        r = subprocess.run([runner, artifact, "--input", f"input_ids={d / 'ids.npy'}", "--input",
                            f"attention_mask={d / 'mask.npy'}", "--output-dir", str(d)],
                           capture_output=True, text=True)
        bad = r.stderr.strip() if r.returncode else ""
        for i, w in enumerate(want):
            if bad:
                break
            t = onnx.TensorProto()
            t.ParseFromString((d / f"output_{i}.pb").read_bytes())
            got = numpy_helper.to_array(t)
            if got.shape != w.shape:
                bad = f"output {i}: shape {got.shape}, expected {w.shape}"
            elif not np.allclose(got, w, rtol=1e-3, atol=1e-4):
                bad = f"output {i}: largest difference {np.abs(got - w).max()}"
    if bad:
        failed += 1
        print(f"FAILED: batch {batch} length {length}: {bad}")
    else:
        passed += 1
print(f"lengths: {passed} passed, {failed} failed")
