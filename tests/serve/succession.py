# SPDX-License-Identifier: Apache-2.0
"""What scripts share in which one process of a server follows another: clients that go on, processes, ends."""
import json, os, shutil, signal, sys, time
sys.path.insert(0, os.path.dirname(__file__))
from kit import *
from wire import *

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [5]}]}).encode()
ASK = request("POST", "/v2/models/linear/infer", BODY)


class Client(Probe):
    def __init__(self, port, fresh):
        super().__init__(port, ASK, pause=0.001, fresh=fresh)

    def answer(self, got):
        if got[0] != 200 or json.loads(got[2])["outputs"][0]["data"] != [17.0]:
            self.bad.append(got)


def processes(s):
    """Of that root, by /proc."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if os.path.join(s.root, "registry").encode() in f.read().split(b"\0"):
                    out.append(int(pid))
        except OSError:
            pass
    return out


def successor(s, seconds=5):
    """The process that is to take over from s, as soon as there is one: it was told so when its program began."""
    end = time.time() + seconds
    while time.time() < end:
        for pid in processes(s):
            try:
                with open("/proc/%d/environ" % pid, "rb") as f:
                    if pid != s.pid and b"CAB_SERVE_INHERIT=%d " % s.pid in f.read():
                        return pid
            except OSError:
                pass


def gone(pid, seconds):
    end = time.time() + seconds
    while time.time() < end:
        try:
            with open("/proc/%d/stat" % pid) as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def finish(s, times=1):
    """Ends what is left of that root; twice: without draining."""
    for pid in processes(s):
        for _ in range(times):
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
        check(gone(pid, 10), "ends")
    shutil.rmtree(s.root, ignore_errors=True)
