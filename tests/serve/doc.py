# SPDX-License-Identifier: Apache-2.0
"""doc.py BUILD: docs/serving.md is true: its examples give the answers it shows, its table of flags is options.def's."""
import os, re, subprocess, sys, tempfile
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from kit import *

TOP = os.path.join(HERE, "..", "..")


def examples(text):
    """-> [(command, the answer's lines)] of the indented blocks."""
    out = []
    for line in text.split("\n"):
        if line.startswith("    $ "):
            out.append((line[6:], []))
        elif line.startswith("    ") and out and out[-1] is not None:
            out[-1][1].append(line[4:])
        else:
            out.append(None)
    return [e for e in out if e]


def fits(answer, want):
    return re.fullmatch(".*".join(re.escape(p) for p in want.split("...")), answer, re.S) is not None


def main():
    with open(os.path.join(TOP, "docs", "serving.md")) as f:
        text = f.read()
    with open(os.path.join(TOP, "serve", "options.def")) as f:
        rows = re.findall(r'^OPTION\((\w+), \w+, "([^"]*)", [^"]*, "((?:[^"\\]|\\.)*)"\)', f.read(), re.M)
    for field, default, doc in rows:
        row = "| `--%s` | %s | %s |" % (field.replace("_", "-"), "`%s`" % default if default else "", doc.replace("|", "\\|"))
        check(row in text, ("docs/serving.md has no row", row))
    s = Server(sys.argv[1], "--drain-ms=0")
    folder = tempfile.mkdtemp()
    for name, onnx in (("linear.onnx", linear()), ("linear2.onnx", linear(10.0, 0.0))):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(onnx)
    all_ = examples(text)
    check(len(all_) > 10, "examples")
    for command, want in all_:
        r = subprocess.run(["sh", "-c", command.replace("127.0.0.1:8000", "127.0.0.1:%d" % s.port)], cwd=folder, capture_output=True, text=True, timeout=60)
        check(fits(r.stdout.rstrip("\n"), "\n".join(want)), ("docs/serving.md", command, r.stdout[:500], want))
    shutil.rmtree(folder)
    check(s.stop() == 0, "ends with 0")
    verdict("doc.py")


main()
