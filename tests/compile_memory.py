# SPDX-License-Identifier: Apache-2.0
"""compile_memory.py CAB MODEL [--trace]: memory that only a compilation needs, and a run from the cache.

Most bytes at one moment that are anonymous (heap, stacks) or an artifact that is not a file yet (a JIT's anonymous file
counts like the heap: nothing but swap takes it back), sampled every millisecond while `cab run` compiles and while it
finds its artifact in the cache. The limits are for resnet50, a model of 102 MB; smaller ones are below them anyhow.
Prints "N passed, N failed"."""
import subprocess, sys, tempfile, time

COLD_MB, WARM_MB = 260, 40

def now_mb(pid):
    try:
        lines = dict(l.split(":", 1) for l in open(f"/proc/{pid}/status"))
    except (OSError, ValueError):
        return 0
    return sum(int(lines.get(k, "0").split()[0]) for k in ("RssAnon", "RssShmem")) / 1024

def most(cmd, trace):
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    top, start = 0, time.monotonic()
    while p.poll() is None:
        mb = now_mb(p.pid)
        if trace:
            print(f"{time.monotonic() - start:.3f} s {mb:.1f} MB")
        top = max(top, mb)
        time.sleep(0.001)
    if p.returncode:
        sys.exit(p.stderr.read()[-2000:])
    return top, time.monotonic() - start

def main():
    cab, model = sys.argv[1], sys.argv[2]
    with tempfile.TemporaryDirectory() as cache:
        cmd = [cab, "run", model, "--cache", cache, "--threads", "1"]
        cold, cold_s = most(cmd, "--trace" in sys.argv)
        warm, warm_s = most(cmd, "--trace" in sys.argv)
    print(f"{model}: most anonymous, compiled {cold:.0f} MB (limit {COLD_MB}, {cold_s:.2f} s), "
          f"from the cache {warm:.0f} MB (limit {WARM_MB}, {warm_s:.2f} s)")
    good = [cold <= COLD_MB, warm <= WARM_MB]
    print(f"compile memory: {sum(good)} passed, {2 - sum(good)} failed")
    sys.exit(not all(good))

main()
