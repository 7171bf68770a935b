#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill-registry.py REGISTER_LOOP [TIMES]: kill -9 of a process that registers, at random points.

Afterwards every version that was acknowledged is there, with its bytes; no stored file is torn; nothing
lies about in tmp/.  The seed is printed."""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

loop, times = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40
seed = int(os.environ.get("CAB_SEED", int(time.time())))
rng = random.Random(seed)
root = tempfile.mkdtemp(prefix="cab-kill-")
acknowledged, failures = [], []


def verify():
    r = subprocess.run([loop, root, "verify"], input="".join(acknowledged), text=True, capture_output=True)
    if r.returncode:
        failures.append(r.stderr.strip()[-300:] or r.stdout.strip())
    return r.stdout.strip()


for i in range(times):
    p = subprocess.Popen([loop, root, str(rng.getrandbits(60))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(rng.uniform(0, 0.12))
    early = p.poll()
    p.kill()
    out, err = p.communicate()
    if early is not None:
        failures.append(f"round {i}: it ended by itself ({early}): {err.strip()}")
    acknowledged += [line + "\n" for line in out.split("\n")[:-1]]
    if i % 50 == 49:
        verify()
said = verify()
shutil.rmtree(root)
for f in failures[:10]:
    print("FAILED:", f)
if not acknowledged:
    failures.append("nothing was ever acknowledged")
print(f"kill -9 of a process that registers, {times} times (seed {seed}; {said}): "
      f"{0 if failures else times} passed, {len(failures)} failed")
sys.exit(bool(failures))
