# SPDX-License-Identifier: Apache-2.0
"""systemd.py BUILD: what the server says to a service manager (sd_notify(3)), and sockets that come from one; without one."""
import os, signal, socket, sys, tempfile, time
sys.path.insert(0, os.path.dirname(__file__))
from succession import *


class Manager:
    """The socket that a manager listens at."""

    def __init__(self, folder, abstract=False):
        self.name = ("@cab-%d" % os.getpid()) if abstract else os.path.join(folder, "notify")
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.s.bind("\0" + self.name[1:] if abstract else self.name)

    def hear(self, seconds=20):
        """-> (process that says so, {variable: value}); (0, {}): nobody did"""
        self.s.settimeout(seconds)
        try:
            text, extra, _, _ = self.s.recvmsg(4096, 256)
        except TimeoutError:
            return 0, {}
        return struct.unpack("3i", extra[0][2])[0], dict(l.split("=", 1) for l in text.decode().split("\n"))


def reloading(heard):
    now = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    return heard[1].keys() == {"RELOADING", "MONOTONIC_USEC"} and heard[1]["RELOADING"] == "1" and \
        now - 60e6 < int(heard[1]["MONOTONIC_USEC"]) <= now


def told(build, abstract):
    root = tempfile.mkdtemp(prefix="cab-serve-")
    config = os.path.join(root, "config.json")
    write = lambda text: open(config, "w").write(text)
    write("{}")
    m = Manager(root, abstract)
    s = Server(build, "--drain-ms=100", "--config=" + config, root=root, env={"NOTIFY_SOCKET": m.name})
    check(m.hear() == (s.pid, {"READY": "1"}), "ready")
    s.p.send_signal(signal.SIGHUP)
    check(reloading(m.hear()) and m.hear() == (s.pid, {"READY": "1"}), "SIGHUP: reloads, is ready again")
    write('{"nonsense": 1}')
    s.p.send_signal(signal.SIGUSR2)
    check(reloading(m.hear()) and m.hear() == (s.pid, {"READY": "1"}), "a successor that fails: the main process stays")
    write("{}")
    s.p.send_signal(signal.SIGUSR2)
    check(reloading(m.hear()), "SIGUSR2")
    os.kill(successor(s), signal.SIGTERM)
    pid, heard = m.hear()
    check((pid, heard) == (s.pid, {"READY": "1"}) or "MAINPID" in heard, ("a successor that is told to end is no end of the service", heard))
    if pid != s.pid:                   # it was too quick
        m.hear()
        check(s.p.wait(10) == 0 and gone(pid, 10), "all end")
        s = Server(build, "--drain-ms=100", "--config=" + config, root=root, env={"NOTIFY_SOCKET": m.name})
        m.hear()
    s.p.send_signal(signal.SIGUSR2)
    check(reloading(m.hear()), "SIGUSR2: not yet")
    pid, heard = m.hear()
    check(pid != s.pid and heard == {"MAINPID": str(pid), "READY": "1"}, ("the successor is the main process", s.pid, pid, heard))
    check(s.p.wait(10) == 0 and processes(s) == [pid], "and the only one")
    check(m.hear(0.2) == (0, {}), "its predecessor's end is no end of the service")
    os.kill(pid, signal.SIGTERM)
    check(m.hear() == (pid, {"STOPPING": "1"}), "SIGTERM")
    check(gone(pid, 10) and m.hear(0.2) == (0, {}), "no more than that")
    shutil.rmtree(root)


def nobody(build):
    """A manager that is not there, or cannot be: a line in the log."""
    for name in ("/no/such/socket", "nonsense", "@", "/" + "x" * 200):
        s = Server(build, "--drain-ms=0", env={"NOTIFY_SOCKET": name})
        check(s.ask("GET", "/v2/health/ready")[0] == 200, "serves all the same")
        check([l for l in s.lines() if l["event"] == "service manager" and "READY=1" in l["text"]], ("and says so", name, s.lines()))
        check(s.stop() == 0, "ends with 0")


def activated(build, rounds):
    """Sockets that outlive their servers: a cold restart refuses and cuts off nobody."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    ear = socket.socket()
    ear.bind(("127.0.0.1", 0))
    ear.listen(64)
    os.set_inheritable(ear.fileno(), True)
    shell = 'exec 3<&%d; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"' % ear.fileno()
    start = lambda: Server(build, "--drain-ms=100", root=root, before=("bash", "-c", shell, "sh"), fds=(ear.fileno(),))
    s = start()
    check(s.port == ear.getsockname()[1], ("the port is the manager's", s.port))
    s.register("linear", linear())
    clients = [Client(s.port, i % 2 == 1) for i in range(4)]
    for c in clients:
        c.start()
    for i in range(rounds):
        check(s.stop() == 0, ("ends with 0", i))
        time.sleep(0.1)
        s = start()
        time.sleep(0.05)
    for c in clients:
        c.stop()
    bad = [b for c in clients for b in c.bad if isinstance(b, OSError) or b[0] != 503]
    check(not bad, ("refused or cut off", bad[:3]))
    check(all(c.statuses.get(200, 0) > rounds for c in clients), ("served", [c.statuses for c in clients]))
    s.p.send_signal(signal.SIGUSR2)
    s.wait_ready(2, 30)
    check(s.p.wait(10) == 0 and s.infer("linear", [[5.0]])[2]["outputs"][0]["data"] == [17.0], "handed over, too")
    finish(s)


def main():
    build = sys.argv[1]
    told(build, False)
    told(build, True)
    nobody(build)
    activated(build, 4)
    verdict("systemd.py")


main()
