#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models through their artifact: cab compile (a process each), then one cab-rt --lines that is kept.

  artifact_run.py BUILD [--no-values] [--flags CAB-FLAGS] [--rt-flags CAB-RT-FLAGS]

--no-values: cab compile is given no inputs, so the artifact reads every size that
data decides during the run.

One line in:   MODEL <TAB> OUTDIR <TAB> INPUT ...     (the --server protocol of
one line out:  ok | unsupported: why | error: why      run_node_tests.py)
"""
import argparse, os, shlex, subprocess, sys, tempfile


class Runtime:
    """cab-rt --lines, started again when it died."""

    def __init__(self, argv):
        self.argv, self.p = argv, None

    def ask(self, line):
        if self.p is None:
            self.p = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.p.stdin.write(line + "\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.p.stdout.readline().strip()
        if not answer:
            answer = f"error: cab-rt ended with {self.p.wait()}"
            self.p = None
        return answer


def compile_to(a, model, inputs, to):
    """None, or the answer when it would not compile."""
    argv = [os.path.join(a.build, "cab"), "compile", model, "-o", to, *shlex.split(a.flags)]
    offered = [] if a.no_values else inputs
    p = subprocess.run(argv + [w for i in offered for w in ("--input", i)], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode == 0:
        return None
    text = " ".join(p.stdout.decode("utf-8", "replace").split())[:300]
    return f"unsupported: {text}" if p.returncode == 77 else f"error: compile: exit {p.returncode}: {text}"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("build")
    ap.add_argument("--no-values", action="store_true", help="offer no inputs to cab compile")
    ap.add_argument("--flags", default="", help="of cab compile: --naive, --target ...")
    ap.add_argument("--rt-flags", default="--verify=full", help="of cab-rt")
    a = ap.parse_args()
    rt = Runtime([os.path.join(a.build, "cab-rt"), "--lines", *shlex.split(a.rt_flags)])
    with tempfile.TemporaryDirectory() as tmp:
        cab = os.path.join(tmp, "tmp.cab")
        for line in sys.stdin:
            model, outdir, *inputs = line.rstrip("\n").split("\t")
            answer = compile_to(a, model, inputs, cab) or rt.ask("\t".join([cab, outdir, *inputs]))
            print(answer, flush=True)


if __name__ == "__main__":
    main()
