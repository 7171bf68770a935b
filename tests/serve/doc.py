# SPDX-License-Identifier: Apache-2.0
"""doc.py BUILD: docs/serving.md is true: its examples give the answers it shows, its table of flags is serve_options.def's."""
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


def model_repository(folder):
    """What somebody has who comes from Triton."""
    for version, a in (("1", 4.0), ("2", 5.0)):
        os.makedirs(os.path.join(folder, version))
        with open(os.path.join(folder, version, "model.onnx"), "wb") as f:
            f.write(linear(a, 1.0))
    with open(os.path.join(folder, "config.pbtxt"), "w") as f:
        f.write('''# a comment
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x", data_type: TYPE_FP32, dims: [ 1 ] } ]
output { name: "y" data_type: TYPE_FP32 dims: 1 label_filename: "labels.txt" }
version_policy: { specific { versions: [1, 2] } }
instance_group [ { kind: KIND_CPU count: 2 } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
''')
    with open(os.path.join(folder, "labels.txt"), "w") as f:
        f.write("the only one\n")


def main():
    with open(os.path.join(TOP, "docs", "serving.md")) as f:
        text = f.read()
    with open(os.path.join(TOP, "serve", "serve_options.def")) as f:
        rows = re.findall(r'^OPTION\((\w+), \w+, "([^"]*)", [^"]*, "((?:[^"\\]|\\.)*)"\)', f.read(), re.M)
    for field, default, doc in rows:
        row = "| `--%s` | %s | %s |" % (field.replace("_", "-"), "`%s`" % default if default else "", doc.replace("|", "\\|"))
        check(row in text, ("docs/serving.md has no row", row))
    s = Server(sys.argv[1], "--drain-ms=0")
    folder = tempfile.mkdtemp()
    os.symlink(os.path.abspath(os.path.join(TOP, "samples")), os.path.join(folder, "samples"))
    model_repository(os.path.join(folder, "model_repository", "other"))
    env = dict(os.environ, PATH=os.path.abspath(sys.argv[1]) + ":" + os.environ["PATH"])
    all_ = examples(text)
    check(len(all_) > 10, "examples")
    for command, want in all_:
        r = subprocess.run(["sh", "-c", command.replace("127.0.0.1:8000", "127.0.0.1:%d" % s.port)], cwd=folder, env=env, capture_output=True, text=True,
                           timeout=60)
        check(fits(r.stdout.rstrip("\n"), "\n".join(want)), ("docs/serving.md", command, r.stdout[:500], want))
    st, _, v = s.ask("GET", "/v2/models/other/versions/1/config")
    check(st == 200 and v["max_batch_size"] == 8 and v["dynamic_batching"]["preferred_batch_size"] == [4, 8] and
          v["output"][0]["labels"] == ["the only one"] and v["instance_group"][0]["count"] == 2, ("from Triton", st, v))
    check(s.ask("POST", "/predict", {"name": "other", "version": "2", "X": 2})[2] == {"Y": [[11.0]]}, "from Triton: both versions")
    shutil.rmtree(folder)
    check(s.stop() == 0, "ends with 0")
    verdict("doc.py")


main()
