# SPDX-License-Identifier: Apache-2.0
"""openapi.py BUILD [SEED]: schemathesis asks what /openapi.json says may be asked, and some that it says may not; the
answers must be what the document says.  The seed is printed."""
import os, re, subprocess, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


GENTLE = ["remove", "version_remove", "unload", "rollback", "policy"]    # left out of the first round


def round_of(s, seed, parameters, flags):
    """One run over the document -> its output."""
    config = os.path.join(s.root, "schemathesis.toml")
    with open(config, "w") as f:
        # TRACE is no method that this server knows: 501, as RFC 9110 says
        # ... and a request may ask for no more than a microsecond: 504, as the document says
        f.write(parameters + '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]\n'
                '[phases.coverage]\nunexpected-methods = ["PUT", "PATCH", "DELETE", "OPTIONS"]\n')
    st = os.path.join(os.path.dirname(sys.executable), "st")
    out = subprocess.run([st, "--config-file", config, "run", "http://127.0.0.1:%d/openapi.json" % s.port, "--checks", CHECKS,
                          "--max-examples", "25", "--seed", seed, "--phases", "examples,coverage,fuzzing", "--generation-database", "none",
                          "--request-timeout", "20", "--no-color", "--continue-on-failure", *flags],
                         capture_output=True, text=True, timeout=200, cwd=s.root)
    if not check(out.returncode == 0, "schemathesis found what the document does not say"):
        print(out.stdout[-8000:], out.stderr[-2000:])
    asked = re.search(r"(\d+) generated", out.stdout)
    check(asked and int(asked.group(1)) > 100, ("requests", asked and asked.group(0)))


def main():
    seed = sys.argv[2] if len(sys.argv) > 2 else "20260101"
    s = Server(sys.argv[1], "--drain-ms=0")
    for name, onnx in (("linear", linear()), ("echo", identity())):
        check(s.register(name, onnx)[0] == 201, name)
    print("schemathesis, seed %s" % seed)
    round_of(s, seed, '[parameters]\n"path.model" = "linear"\n"path.version" = "1"\n',
             [f for id_ in GENTLE for f in ("--exclude-operation-id", id_)])
    check(s.ask("POST", "/predict", {"model": "linear", "X": 1})[0] == 200, "it still answers")
    round_of(s, seed, "", [])
    check(s.ask("GET", "/v2/health/live")[0] == 200, "it still runs")
    check(s.stop() == 0, "ends with 0")
    verdict("openapi.py")


main()
