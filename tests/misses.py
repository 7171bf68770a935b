# SPDX-License-Identifier: Apache-2.0
"""misses.py RESULTS.json: every node test that does not pass, with its reason, a line each.

RESULTS.json is what run_node_tests.py --json writes; docs/conformance-misses.txt is made of it."""
import json
import re
import sys

for t in sorted(json.load(open(sys.argv[1]))["tests"], key=lambda t: t["test"]):
    if t["status"] != "pass":
        why = re.sub(r"^test_data_set_\d+: ", "", t["detail"])
        print(f"{t['test']}: {t['status']}: {why}")
