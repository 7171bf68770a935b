# SPDX-License-Identifier: Apache-2.0
"""smollm2_greedy.py BUILD CORPUS [MODEL]: 24 tokens of greedy decoding with one symbolic artifact.

Prefill with an empty cache, then a token at a time: each run's present caches are the next run's past.
The tokens must be those of the model's meta.json (greedy_24)."""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

build, corpus = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
name = sys.argv[3] if len(sys.argv) > 3 else "smollm2_135m"
model = corpus / name / "model.onnx"
extra = json.loads((corpus / "smollm2_135m" / "meta.json").read_text())["extra"]
prompt, want = extra["prompt_ids"], extra["greedy_24"]
graph = onnx.load(str(model), load_external_data=False).graph
inputs = [i.name for i in graph.input]
outputs = [o.name for o in graph.output]


def tensor(path):
    t = onnx.TensorProto()
    t.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(t)


with tempfile.TemporaryDirectory() as d:
    d = pathlib.Path(d)
    subprocess.run([build / "cab", "compile", model, "-o", d / "m.cab"], check=True, stdout=subprocess.DEVNULL)
    ids, start, got = prompt, 0, []
    cache = {n: np.zeros((1, 3, 0, 64), np.float32) for n in inputs if n.startswith("past.")}
    while len(got) < len(want):
        feeds = dict(cache, input_ids=np.array([ids]), position_ids=np.arange(start, start + len(ids))[None])
        command = [build / "cab-rt", d / "m.cab", "--output-dir", d]
        for n in inputs:
            np.save(d / f"{n}.npy", feeds[n])
            command += ["--input", f"{n}={d / n}.npy"]
        subprocess.run(command, check=True)
        out = {n: tensor(d / f"output_{i}.pb") for i, n in enumerate(outputs)}
        start += len(ids)
        ids = [int(out["logits"][0, -1].argmax())]
        got += ids
        cache = {n: out["present." + n[5:]] for n in cache}
bad = sum(a != b for a, b in zip(got, want))
print(f"{name}: {len(want)} tokens: {len(want) - bad} passed, {bad} failed")
sys.exit(bool(bad))
