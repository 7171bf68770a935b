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
    check(s.stop() == 0, "ends with 0")
    shutil.rmtree(root)


# ---- artifacts that do not load ----

def blob(s, version, what="artifact"):
    digest = version[what][7:]
    return os.path.join(s.root, "registry/blobs/sha256", digest[:2], digest)


def damage(s, version, what="artifact"):
    """As another file: the server has the old one in memory."""
    with open(blob(s, version, what), "rb") as f:
        data = f.read()
    os.remove(blob(s, version, what))
    with open(blob(s, version, what), "wb") as f:
        f.write(bytes(64) + data[64:])


def index(s, name):
    return {v["version"]: (v["state"], v["reason"]) for v in s.ask("POST", "/v2/repository/index")[2] if v["name"] == name}


def answer(s, name, version=None):
    """What a version makes of 1; None where it does not serve."""
    path = "/v2/models/%s%s/infer" % (name, "/versions/%s" % version if version else "")
    st, _, v = s.ask("POST", path, {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]})
    return v["outputs"][0]["data"][0] if st == 200 else None


def logged(s, event):
    return [l["text"] for l in s.lines() if l["event"] == event]


def healed_at_start(build):
    """Versions whose artifacts are damaged or lost: the others serve, and these are made again from their models."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, "--drain-ms=0", root=root)
    v = [s.register("m", linear(i, 0))[2] for i in (1, 2, 3)]
    s.ask("POST", "/v2/models/m/policy", {"all": True})
    damage(s, v[0])
    os.remove(blob(s, v[1]))
    check(s.stop() == 0, "ends with 0")
    s = Server(build, "--drain-ms=0", root=root)
    check(answer(s, "m", 3) == 3, "what loads is served")
    check(wait_for(lambda: answer(s, "m", 1) == 1 and answer(s, "m", 2) == 2), ("made again", index(s, "m")))
    again = sorted((l["model"], l["version"]) for l in s.lines() if l["event"] == "built again")
    check([(m, int(v)) for m, v in again] == [("m", 1), ("m", 2)], again)
    check(all(r == ("READY", "") for r in index(s, "m").values()), index(s, "m"))
    check(s.stop() == 0, "ends with 0")
    s = Server(build, "--drain-ms=0", root=root)
    check([answer(s, "m", i) for i in (1, 2, 3)] == [1, 2, 3] and not logged(s, "load failed"), "for good")
    check(s.stop() == 0, "ends with 0")
    shutil.rmtree(root)


def not_healed(build):
    """The model is damaged, too: the version says why it does not serve, others serve, and it heals when it is sent again."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, "--drain-ms=0", root=root)
    v = [s.register("m", linear(i, 0))[2] for i in (1, 2)]
    s.ask("POST", "/v2/models/m/policy", {"all": True})
    damage(s, v[1])
    damage(s, v[1], "model")
    os.remove(blob(s, v[0]))
    check(s.stop() == 0, "ends with 0")
    s = Server(build, "--drain-ms=0", root=root)
    check(wait_for(lambda: answer(s, "m", 1) == 1), "the other version")
    state, why = index(s, "m")["2"]
    check(state == "UNAVAILABLE" and "not a Cabochon artifact" in why and "is damaged" in why, (state, why))
    st, _, got = s.ask("POST", "/v2/models/m/policy", {"latest": 1})
    check(st == 422 and answer(s, "m") == 1, ("a policy that would leave only that one", st, got))
    st, _, v3 = s.register("m", linear(3, 0))
    check(st == 201 and v3["serving"] and answer(s, "m") == 3, ("a later version is not held up by it", st, v3))
    st, _, got = s.register("m", linear(2, 0), version=2)
    check(st == 201 and got["serving"] and answer(s, "m", 2) == 2, ("sent again", st, got))
    check(s.stop() == 0, "ends with 0")
    shutil.rmtree(root)


def successor_heals(build):
    """What the predecessor serves the successor makes again before it takes over; where it cannot it gives up."""
    s = Server(build, "--drain-ms=100")
    v = s.register("linear", linear())[2]
    other = s.register("m", linear(2, 0))[2]
    damage(s, v)
    os.remove(blob(s, other))
    clients = [Client(s.port, i % 2 == 1) for i in range(2)]
    for c in clients:
        c.start()
    old = s.pid
    s.p.send_signal(signal.SIGUSR2)
    s.wait_ready(2, 30 * SLACK)
    check(gone(old, 10), "the predecessor ends")
    check(answer(s, "linear") == 5 and answer(s, "m") == 2, "made again")
    current = [p for p in processes(s) if p != old][0]
    damage(s, v)
    damage(s, v, "model")
    os.kill(current, signal.SIGUSR2)
    check(wait_for(lambda: logged(s, "hand-over failed"), 20), "it gives up")
    time.sleep(0.2)
    for c in clients:
        c.stop()
    check(not any(c.bad for c in clients), ("failed requests", [c.bad[:2] for c in clients]))
    check(answer(s, "linear") == 5 and s.ask("GET", "/v2/health/ready")[0] == 200, "and the one before serves on")
    finish(s, 2)


def taken_back(build):
    """A change that cannot be made true: 503 while what it needs is made again, nothing is changed, a restart serves as before."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, "--drain-ms=0", root=root)
    v = [s.register("m", linear(i, 0))[2] for i in (1, 2)]
    damage(s, v[0])
    damage(s, v[0], "model")
    for path, body in (("rollback", None), ("labels", {"name": "stable", "version": 1}), ("policy", {"all": True})):
        st, _, got = s.ask("POST", "/v2/models/m/" + path, body)
        check(st == 422 and "not a Cabochon artifact" in got["error"], ("not made again: its model is damaged, too", path, st, got))
    models = s.ask("GET", "/v2/models")[2]["models"][0]
    check(models["policy"] == {"latest": 1} and "pin" not in models and not models["labels"], models)
    check(s.stop() == 0, "ends with 0")
    s = Server(build, "--drain-ms=0", root=root)
    check(answer(s, "m") == 2, "after a restart")
    s.register("m", linear(1, 0), version=1)       # brings the model back
    damage(s, v[0])
    st, _, got = s.ask("POST", "/v2/models/m/rollback")
    check(st == 503 and "ask again" in got["error"] and answer(s, "m") == 2, ("it is made again", st, got))
    check(wait_for(lambda: s.ask("POST", "/v2/models/m/rollback")[0] == 200) and answer(s, "m") == 1, "asked again")
    s.ask("POST", "/v2/repository/models/m/unload")
    damage(s, v[0])
    st, _, got = s.ask("POST", "/v2/repository/models/m/load")
    check(st == 503 and "ask again" in got["error"], ("a load", st, got))
    check(wait_for(lambda: s.ask("POST", "/v2/repository/models/m/load")[0] == 200) and answer(s, "m") == 1, "asked again")
    check(s.stop() == 0, "ends with 0")
    shutil.rmtree(root)


# ---- what serves, and what does not ----

def why_not(s):
    """/register says whether the version serves, and a load that loads nothing fails."""
    check(s.register("why", linear(1, 0))[2]["serving"] is True, "it serves")
    s.register("why", linear(2, 0))
    ask = lambda path, body=None: s.ask("POST", "/v2/models/why/" + path, body)[0]
    check(ask("rollback") == 200 and answer(s, "why") == 1, "back")
    st, _, v = s.register("why", linear(3, 0))
    check(st == 201 and v["serving"] is False and "pinned" in v["why"] and "/policy" in v["why"], ("pinned", st, v))
    check(s.ask("DELETE", "/v2/models/why/versions/1")[0] == 409, "the pinned version is in use")
    check(ask("rollback") == 409 and answer(s, "why") == 1, "nothing before it")
    check(ask("policy", {"latest": 1}) == 200 and answer(s, "why") == 3, "a policy set anew ends a rollback")
    check(ask("policy", {"specific": [1, 2]}) == 200 and answer(s, "why") == 2, "specific")
    st, _, v = s.register("why", linear(3, 0))
    check(st == 200 and v["serving"] is False and "does not choose" in v["why"], ("not chosen", st, v))
    check(ask("rollback") == 200 and answer(s, "why") == 1 and answer(s, "why", 2) == 2, "back within the policy")
    check(s.ask("POST", "/v2/repository/models/why/unload")[0] == 200, "unload")
    st, _, v = s.register("why", linear(4, 0))
    check(st == 201 and v["serving"] is False and "unloaded" in v["why"], ("unloaded", st, v))
    st, _, v = s.register("why", slow(600, 64), wait=False)
    check(st == 202 and v["serving"] is False and "being built" in v["why"], ("not yet", st, v))
    s.register("none", b"no model")
    st, _, v = s.ask("POST", "/v2/repository/models/none/load")
    check(st == 422 and "version 1 failed" in v["error"], ("nothing to load", st, v))
    st, _, v = s.register("none", slow(600, 64), wait=False)
    st, _, v = s.ask("POST", "/v2/repository/models/none/load")
    check(st == 503 and "ask again" in v["error"], ("not yet", st, v))


def labels(s):
    """A label serves its version whatever the policy chooses; requests without a version never get that."""
    label = lambda name, version: s.ask("POST", "/v2/models/lab/labels", {"name": name, "version": version})
    s.register("lab", linear(1, 0))
    check(label("stable", 1)[0] == 200, "labelled")
    s.register("lab", linear(2, 0))
    check(s.register("lab", linear(3, 0))[2]["serving"], "chosen")
    check(answer(s, "lab", "stable") == 1 and answer(s, "lab", 1) == 1 and answer(s, "lab") == 3, "beside what is chosen")
    check(s.ask("GET", "/v2/models/lab")[2]["versions"] == ["1", "3"], "versions")
    check(label("new", 3)[0] == 200 and s.ask("POST", "/v2/models/lab/rollback")[0] == 200, "labelled, and gone back")
    check(answer(s, "lab") == 2 and answer(s, "lab", "new") == 3, "a label above the pin does not answer for the model")
    check(label("stable", None)[0] == 200 and answer(s, "lab", 1) is None, "taken away")
    st, _, v = label("2", 1)
    check(st == 400 and "cannot be a label" in v["error"], ("of digits", st, v))


def names(s):
    """A path of the interface is no name of a model."""
    st, _, v = s.register("stats", linear())
    check(st == 400 and "/v2/models/stats" in v["error"], ("stats", st, v))
    file = {"parameters": {"file:1/model.onnx": base64.b64encode(linear()).decode()}}
    check(s.ask("POST", "/v2/repository/models/stats/load", file)[0] == 400, "load")
    check(s.register("stat", linear())[0] == 201 and s.register("infer", linear())[0] == 201, "others are")


def garbage(build):
    """Files that no version names go after an hour: at the start and when something is removed or refused, never meanwhile a
    predecessor or successor is there."""
    def blobs(age=0):
        paths = [os.path.join(d, f) for d, _, files in os.walk(os.path.join(root, "registry/blobs")) for f in files]
        for p in paths if age else []:
            os.utime(p, (time.time() - age,) * 2)
        return len(paths)
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, "--drain-ms=60000", root=root)
    for i in range(3):
        s.register("g", linear(i, 0))
    s.register("kept", linear(7, 7))
    check(s.ask("DELETE", "/v2/models/g")[0] == 200 and blobs() == 8, ("young ones stay", blobs()))
    blobs(4000)
    check(wait_for(lambda: s.register("kept", linear(8, 8), version=1)[0] == 409 and blobs() == 3, 5),
          ("gone, but for the one that was just refused", blobs()))
    blobs(4000)
    held = dial(s.port)                # a client that stays: so does the predecessor
    held.sendall(request("GET", "/v2/health/live"))
    read_answer(held)
    old = s.pid
    s.p.send_signal(signal.SIGUSR2)
    s.wait_ready(2, 30)
    check(wait_for(lambda: s.register("kept", linear(7, 7), version=9, tags=["*"])[0] == 400), "asked the successor")
    check(blobs() == 3, ("not while there is a predecessor", blobs()))
    held.close()
    check(wait_for(lambda: blobs() == 2, 20) and gone(old, 10), ("when it has ended", blobs()))
    check(answer(s, "kept") == 14, "what is named stays")
    current = processes(s)
    s.register("g", linear(1, 0))
    s.ask("DELETE", "/v2/models/g")
    blobs(4000)
    os.kill(current[0], signal.SIGTERM)
    time.sleep(0.1)
    os.kill(current[0], signal.SIGTERM)
    check(gone(current[0], 10) and blobs() == 4, "ended")
    s = Server(build, "--drain-ms=0", root=root)
    check(wait_for(lambda: logged(s, "swept"), 5) and blobs() == 2, ("at the start", blobs()))
    check(s.stop() == 0, "ends with 0")
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
    for part in (promise_kept, healed_at_start, not_healed, successor_heals, taken_back, garbage):
        part(build)
    s = Server(build, "--drain-ms=0")
    for part in (config_stays, why_not, labels, names):
        part(s)
    check(s.stop() == 0, "ends with 0")
    verdict("registry.py")


main()
