# SPDX-License-Identifier: Apache-2.0
"""hostile.py CAB DIR: every DIR/*/*.onnx through one `cab run --lines`, held to the promises for bad files.

Each gets an answer (ok, unsupported, error), a small file within 3 seconds, and the process stays under
256 MB and the size of the file.  A process that died is a failure and started again, so is one that is
too large, so that one file is to blame.  CAB_HOSTILE_KEEP=DIR keeps the files that failed."""
import collections
import os
import pathlib
import select
import shutil
import subprocess
import sys
import time

SECONDS, PATIENCE, MEGABYTES = 3, 60, int(os.environ.get("CAB_HOSTILE_RSS", 256))
cab, folder = sys.argv[1], pathlib.Path(sys.argv[2])
keep = os.environ.get("CAB_HOSTILE_KEEP")
out = folder / "out"
out.mkdir(exist_ok=True)


def feeds(path):
    """The inputs of the model that was mutated: what survives is compiled and run."""
    files = (path.parent / "feeds").glob("input_*.pb")
    return sorted(files, key=lambda f: int(f.stem.split("_")[1]))


class Server:
    def __init__(self):
        self.p = subprocess.Popen([cab, "run", "--lines", "--threads", "1"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, bufsize=0)

    def ask(self, path):
        """The answer's line; "" when the process died or was ended for its slowness."""
        self.p.stdin.write("\t".join(map(str, [path, out, *feeds(path)])).encode() + b"\n")
        line, end = b"", time.monotonic() + PATIENCE
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.p.stdout], [], [], left)[0]:
                break
            part = os.read(self.p.stdout.fileno(), 65536)
            if not part:
                break
            line += part
        return line.decode(errors="replace")

    def peak(self):
        """Most resident memory so far, MB."""
        for line in open(f"/proc/{self.p.pid}/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0

    def end(self):
        self.p.kill()
        return self.p.wait()


def wrong(server, path):
    """(why the answer will not do or None, its first word, seconds, whether the process must go)."""
    size = path.stat().st_size
    start = time.monotonic()
    line = server.ask(path)
    seconds = time.monotonic() - start
    word = line.split(":")[0].strip()
    if word not in ("ok", "unsupported", "error"):
        return f"no answer after {seconds:.1f} s ({line!r})", "none", seconds, True
    peak, most = server.peak(), MEGABYTES + size / 2**20
    if MEGABYTES and peak > most:
        return f"{peak:.0f} MB resident, {most:.0f} allowed ({word})", word, seconds, True
    if seconds > SECONDS and size < 2**20:
        return f"{seconds:.1f} s ({word})", word, seconds, False
    return None, word, seconds, False


passed = failed = 0
words = collections.Counter()
slowest = largest = (0, "")
server = Server()
for path in sorted(folder.glob("*/*.onnx")):
    name = f"{path.parent.name}/{path.name}"
    why, word, seconds, dead = wrong(server, path)
    words[word] += 1
    slowest = max(slowest, (seconds, name))
    if not dead:
        largest = max(largest, (server.peak(), name))
    if why:
        failed += 1
        status = f", exit {server.end()}" if dead else ""
        print(f"failed: {name}: {why}{status}")
        if keep:
            shutil.copy(path, os.path.join(keep, name.replace("/", "-")))
    else:
        passed += 1
    if dead:
        server = Server()
server.end()
print(", ".join(f"{n} {w}" for w, n in sorted(words.items())) +
      f"; slowest {slowest[0]:.2f} s ({slowest[1]}), largest {largest[0]:.0f} MB ({largest[1]})")
print(f"hostile: {passed} passed, {failed} failed")
sys.exit(failed > 0)
