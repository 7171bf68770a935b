#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill-registry.py BUILD [TIMES]: kill -9 of a process that registers, at random points.

Afterwards every version that was acknowledged is there, with its bytes; no stored file is torn; nothing
lies about in tmp/.  The seed is printed."""
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time

build = sys.argv[1]
loop, times = os.path.join(build, "tests/serve/register_loop"), int(sys.argv[2]) if len(sys.argv) > 2 else 40
seed = int(os.environ.get("CAB_SEED", int(time.time())))
rng = random.Random(seed)
root = tempfile.mkdtemp(prefix="cab-kill-")
acknowledged, failures = [], []


def verify():
    r = subprocess.run([loop, root, "verify"], input="".join(acknowledged), text=True, capture_output=True)
    if r.returncode:
        failures.append(r.stderr.strip()[-300:] or r.stdout.strip())
    return r.stdout.strip()


def lines_until(p, n, seconds):
    """What it says until that were n lines, or time is over."""
    said, end = b"", time.monotonic() + seconds
    while said.count(b"\n") < n and select.select([p.stdout], [], [], max(0, end - time.monotonic()))[0]:
        part = os.read(p.stdout.fileno(), 65536)
        if not part:
            break
        said += part
    return said


for i in range(times):
    p = subprocess.Popen([loop, root, str(rng.getrandbits(60))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    # Half of the time while it opens its files, else some registrations later.
    said = lines_until(p, rng.randint(1, 30), 0.3) if i % 2 else b""
    time.sleep(rng.uniform(0, 0.003 if i % 2 else 0.06))
    early = p.poll()
    p.kill()
    out, err = p.communicate()
    if early is not None:
        failures.append(f"round {i}: it ended by itself ({early}): {err.decode().strip()}")
    acknowledged += [line.decode() + "\n" for line in (said + out).split(b"\n")[:-1]]
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
