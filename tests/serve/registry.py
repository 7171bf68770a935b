# SPDX-License-Identifier: Apache-2.0
"""registry.py BUILD: what is registered is what serves: promises and configurations that stay, artifacts that do not load,
changes that cannot be made true, rollbacks and their end, labels, garbage."""
import os, sys, tempfile, time
sys.path.insert(0, os.path.dirname(__file__))
from succession import *


def wait_for(what, seconds=60):
    """The first true answer; the last one when there is none."""
    end = time.time() + seconds * SLACK
    got = what()
    while not got and time.time() < end:
        time.sleep(0.02)
        got = what()
    return got


def version(s, name, n):
    found = s.ask("POST", "/discover", {"name": name, "version": n})[2]["models"]
    return found[0] if found else {}


def promise_kept(build):
    """kill -9 while a version is built: the next server holds it to the inputs that were promised."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, "--drain-ms=0", root=root)
    s.register("m", linear())
    for name, inputs in (("broken", [{"name": "image"}]), ("kept", [{"name": "x", "shape": [-1, 64]}])):
        check(s.register(name, slow(600, 64), inputs=inputs, wait=False)[0] == 202, "stored")
    s.p.kill()
    s.p.wait()
    s = Server(build, "--drain-ms=0", root=root)
    wait_for(lambda: version(s, "kept", 1)["state"] == "ready")
    v = version(s, "broken", 1)
    check(v["state"] == "failed" and "inputs" in v["reason"], ("held to its promise", v))
    check(version(s, "kept", 1)["state"] == "ready", ("as promised", version(s, "kept", 1)))
    st, _, v = s.register("broken", slow(600, 64))
    check(st == 201 and v["version"] == "1", ("built again without the promise", st, v))
    s.stop()
    shutil.rmtree(root)


def config_stays(s):
    """A configuration stays from one upload to the next until another one is sent."""
    batch = lambda: s.ask("GET", "/v2/models/conf/config")[2]["max_batch_size"]
    s.register("conf", linear(1, 0), config={"max_batch_size": 4})
    check(s.register("conf", linear(2, 0))[2]["config"] == {"max_batch_size": 4} and batch() == 4, "it stays")
    check(s.register("conf", linear(2, 0))[2]["version"] == "2", "the same again")
    check(s.register("conf", linear(3, 0), config={})[2]["config"] == {} and batch() == 0, "an empty one takes it away")


def main():
    build = sys.argv[1]
    promise_kept(build)
    s = Server(build, "--drain-ms=0")
    for part in (config_stays,):
        part(s)
    check(s.stop() == 0, "ends with 0")
    verdict("registry.py")


main()
