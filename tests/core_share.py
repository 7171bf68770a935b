# SPDX-License-Identifier: Apache-2.0
"""core_share.py RESULTS.json SUITE GROUPS.md: how many tests pass of the operators of group "core" whose
graphs take and give f32, i64, i32 and bool only, with and without the _expanded ones.

RESULTS.json: run_node_tests.py --json.  SUITE: the folder of the tests.  GROUPS.md: a page with headings
"### GROUP: N ops" and a table row per operator ($CAB_SHARED/design/onnx.md).  Needs the onnx package."""
import json
import pathlib
import re
import sys

import onnx

results, suite, page = json.load(open(sys.argv[1])), pathlib.Path(sys.argv[2]), open(sys.argv[3]).read()
group, core = None, set()
for line in page[page.index("Appendix"):].splitlines():
    if m := re.match(r"### (.+?): \d+ ops", line):
        group = m[1]
    elif group == "core" and (m := re.match(r"\| ([A-Z]\w+) \| \d+ \|", line)):
        core.add(m[1])
F32, I32, I64, BOOL = 1, 6, 7, 9


def plain(test):
    g = onnx.load(suite / test / "model.onnx", load_external_data=False).graph
    return all(v.type.WhichOneof("value") == "tensor_type" and
               v.type.tensor_type.elem_type in (F32, I32, I64, BOOL) for v in [*g.input, *g.output])


tests = [t for t in results["tests"] if t["op"] in core and plain(t["test"])]
for name, some in (("all", tests), ("without _expanded", [t for t in tests if "_expanded" not in t["test"]])):
    ok = sum(t["status"] == "pass" for t in some)
    print(f"{name}: {ok} of {len(some)} ({100 * ok / len(some):.1f} %)")
