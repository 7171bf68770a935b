#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hostile-build.py CAB_BUILD DIR: every DIR/*.onnx through the compile child.

Each must get an answer: a line of JSON and an exit status of 0, 1 or 77, in time, without a signal."""
import json
import pathlib
import subprocess
import sys
import tempfile

build, folder = sys.argv[1], pathlib.Path(sys.argv[2])
passed, failed, words = 0, 0, {}


def ask(path):
    with open(path, "rb") as model, tempfile.TemporaryFile() as artifact, tempfile.TemporaryFile() as report:
        fds = [model.fileno(), artifact.fileno(), report.fileno()]
        p = subprocess.run([build, "--model-fd", str(fds[0]), "--artifact-fd", str(fds[1]), "--report-fd", str(fds[2]),
                            "--max-memory", str(512 << 20), "--seconds", "20"], pass_fds=fds, timeout=60,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        report.seek(0)
        return p.returncode, report.read()


for path in sorted(folder.glob("*.onnx")):
    try:
        code, report = ask(path)
        said = json.loads(report)
        word = said["status"]
        wrong = code not in (0, 1, 77) or (code == 0) != (said["code"] == 0)
    except (subprocess.TimeoutExpired, ValueError, KeyError) as e:
        word, wrong = "no answer", f"{type(e).__name__}"
    words[word] = words.get(word, 0) + 1
    failed += bool(wrong)
    passed += not wrong
    if wrong:
        print(f"FAILED: {path.name}: {code}: {word} {wrong}")
print(", ".join(f"{n} {w}" for w, n in sorted(words.items())))
print(f"hostile models through the compile child: {passed} passed, {failed} failed")
sys.exit(failed > 0)
