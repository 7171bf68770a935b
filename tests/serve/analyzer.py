# SPDX-License-Identifier: Apache-2.0
"""analyzer.py BUILD PERF_ANALYZER: NVIDIA's perf_analyzer, unchanged, over REST, gRPC and gRPC streams, in batches and at a rate.

The program is in tritonclient's wheels up to 2.40 (it wants libb64 and libcudart on its library path)."""
import os, re, sys
sys.path.insert(0, os.path.dirname(__file__))
from kit import *

WAYS = (["-i", "http"], ["-i", "grpc"], ["-i", "grpc", "--streaming"], ["-i", "http", "-b", "4"], ["-i", "grpc", "-b", "8"],
        ["-i", "http", "--request-rate-range", "500"], ["-i", "grpc", "--concurrency-range", "4"])


def main():
    build, program = sys.argv[1:]
    s = Server(build, "--drain-ms=0")
    check(s.register("echo", identity(), config={"max_batch_size": 8})[0] == 201, "register")
    for way in WAYS:
        p = subprocess.run([program, "-m", "echo", "-u", "127.0.0.1:%d" % s.port, "--shape", "x:16", "--measurement-interval", "1000",
                            "-s", "60", "--max-trials", "3", *way], capture_output=True, text=True, timeout=120)
        rate = re.search(r"throughput: ([\d.]+) infer/sec", p.stdout)
        server = re.search(r"Server:\s+Inference count: (\d+)", p.stdout)
        check(p.returncode == 0 and rate and float(rate.group(1)) > 100 and server and int(server.group(1)) > 0,
              (way, p.returncode, p.stdout[-500:], p.stderr[-500:]))
        print("%-42s %s infer/s" % (" ".join(way), rate and rate.group(1)))
    check(s.stop() == 0, "ends with 0")
    verdict("analyzer.py")


main()
