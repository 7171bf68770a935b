# SPDX-License-Identifier: Apache-2.0
"""warm_start.py CAB MODEL [RUNS]: time from starting `cab run --cache` to its first launch, for a
model whose artifact is in the cache (CAB_DEBUG=1 tells when).  Prints "N passed, N failed"."""
import os, re, subprocess, sys, tempfile, time

def once(cab, model, cache):
    env = dict(os.environ, CAB_DEBUG="1")
    t = time.monotonic_ns()
    p = subprocess.run([cab, "run", model, "--cache", cache, "--threads", "1"], env=env,
                       capture_output=True, text=True)
    ready = re.search(r"ready to run at (\d+) us", p.stderr)
    found = "cache: found" in p.stderr
    if p.returncode or not ready:
        sys.exit(p.stderr[-2000:])
    return found, (int(ready.group(1)) - t / 1e3) / 1e3

def main():
    cab, model = sys.argv[1], sys.argv[2]
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    with tempfile.TemporaryDirectory() as cache:
        found, cold = once(cab, model, cache)
        warm = [once(cab, model, cache) for _ in range(runs)]
    ms = sorted(w[1] for w in warm)
    good = not found and all(w[0] for w in warm)
    print("%s: cold start %.0f ms, warm start median %.1f ms, best %.1f ms" %
          (model, cold, ms[len(ms) // 2], ms[0]))
    print("warm start: %d passed, %d failed" % (good, not good))
    sys.exit(not good)

main()
