#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models through their C text, or through their shared library: cab compile --emit=c|so, cc, run.

  emit_c_run.py BUILD [--form c|so] [--cc CC] [--cflags FLAGS] [--flags CAB-FLAGS]

One line in:   MODEL <TAB> OUTDIR <TAB> INPUT ...     (the --server protocol of
one line out:  ok | unsupported: why | error: why      run_node_tests.py)

The text must compile without a warning; the program around it is
emit_c_driver.c, which sees the --emit=header form only.
"""
import argparse, os, shlex, subprocess, sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STRICT = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror"]


def call(argv, timeout=600):
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=timeout)
    text = " ".join(p.stdout.decode("utf-8", "replace").split())
    return p.returncode, text


class Refused(Exception):
    pass


def emit(a, form, model, inputs, to):
    argv = [os.path.join(a.build, "cab"), "compile", model, f"--emit={form}", "-o", to]
    rc, text = call(argv + shlex.split(a.flags) + [w for i in inputs for w in ("--input", i)])
    if rc == 77:
        raise Refused("unsupported: " + text[:300])
    if rc:
        raise Refused(f"error: --emit={form}: exit {rc}: {text[:300]}")


def one(a, model, outdir, inputs):
    work = os.path.join(outdir, "c")       # goes with the folder
    os.makedirs(work, exist_ok=True)
    source, header, program = (os.path.join(work, n) for n in (f"model.{a.form}", "model.h", "program"))
    emit(a, a.form, model, inputs, source)
    emit(a, "header", model, inputs, header)
    rc, text = call([a.cc, *STRICT, *shlex.split(a.cflags), "-o", program, f"-I{work}", f"-I{TOP}",
                     os.path.join(TOP, "tests/emit_c_driver.c"), source,
                     os.path.join(a.build, "tools/rt_tensor.o"), os.path.join(a.build, "libcabrt.a"),
                     "-lm", f"-Wl,-rpath,{work}"])
    if rc:
        raise Refused(f"error: cc: {text[:300]}")
    rc, text = call([program, outdir, *inputs])
    if rc:
        raise Refused(f"error: {'signal ' + str(-rc) if rc < 0 else 'exit ' + str(rc)}: {text[-300:]}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("build")
    ap.add_argument("--form", default="c", choices=["c", "so"])
    ap.add_argument("--cc", default="cc")
    ap.add_argument("--cflags", default="-O0")
    ap.add_argument("--flags", default="", help="of cab: --naive, --target ...")
    a = ap.parse_args()
    for line in sys.stdin:
        model, outdir, *inputs = line.rstrip("\n").split("\t")
        try:
            one(a, model, outdir, inputs)
            print("ok", flush=True)
        except Refused as e:
            print(e, flush=True)
        except subprocess.TimeoutExpired as e:
            print(f"error: {e.cmd[0]} took over {e.timeout} s", flush=True)


if __name__ == "__main__":
    main()
