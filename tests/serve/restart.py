# SPDX-License-Identifier: Apache-2.0
"""restart.py BUILD [ROUNDS]: restarts under load: hand-over by SIGUSR2 without a failed request, draining by SIGTERM."""
import os, signal, sys, tempfile, time
sys.path.insert(0, os.path.dirname(__file__))
from succession import *


def hand_over(build, rounds):
    s = Server(build, "--drain-ms=1500", "--io-threads=2", "--listen-health=127.0.0.1:0")
    s.register("linear", linear())
    clients = [Client(s.port, i % 2 == 1) for i in range(8)]
    health = Probe(s.port, request("GET", "/v2/health/ready"), pause=0.005)
    for c in clients + [health]:
        c.start()
    current = s.pid
    for i in range(rounds):
        seen = [len(c.times) for c in clients]
        os.kill(current, signal.SIGUSR2)
        s.wait_ready(2 + i, 30)
        if not check(gone(current, 10), ("the predecessor ends", i)):
            break
        left = processes(s)
        if not check(len(left) == 1, ("one process", i, left)):
            break
        current = left[0]
        time.sleep(0.05)
        check(all(len(c.times) > k for c, k in zip(clients, seen)), ("every client is served", i))
    if s.p.poll() is not None:
        check(s.p.returncode == 0, ("exit status", s.p.returncode))
    for c in clients + [health]:
        c.stop()
    total = sum(len(c.times) for c in clients)
    bad = [b for c in clients + [health] for b in c.bad]
    check(not bad, ("failed requests", len(bad), "of", total, bad[:3]))
    print("restart.py: %d restarts, %d requests, slowest %.0f ms" % (rounds, total, 1e3 * max(max(c.times) for c in clients)))
    # a change by the successor is seen, and a second signal while one is starting does no harm
    check(s.register("linear", linear(1.0, 1.0))[0] == 201, "the last successor registers")
    os.kill(current, signal.SIGUSR2)
    os.kill(current, signal.SIGUSR2)
    s.wait_ready(rounds + 2, 30)
    check(gone(current, 10), "twice in haste")
    left = processes(s)
    check(len(left) == 1, ("one successor", left))
    check(s.infer("linear", [[1.0]])[2]["outputs"][0]["data"] == [2.0], "what was registered is served")
    finish(s)


def unfinished(build):
    """A version that is being built when the server is replaced is built and served by the successor."""
    s = Server(build, "--drain-ms=200", "--finish-ms=400")
    s.register("linear", linear())
    st, _, v = s.register("late", slow(1500, 64), wait=False)
    check(st == 202, ("durable", st, v))
    st, _, v = s.register("later", slow(600, 64), wait=False)
    check(st == 202, ("durable", st, v))
    s.p.send_signal(signal.SIGUSR2)
    s.wait_ready(2, 30)
    s.p.wait(30)
    end = time.time() + 60
    while time.time() < end and not all(s.ask("GET", "/v2/models/%s/ready" % m)[0] == 200 for m in ("late", "later")):
        time.sleep(0.05)
    check(s.ask("GET", "/v2/models/late/ready")[0] == 200 and s.ask("GET", "/v2/models/later/ready")[0] == 200,
          ("built by the successor", s.ask("POST", "/v2/repository/index")[2]))
    finish(s)


def killed(build):
    """A predecessor that is killed while it builds: the successor builds what that had begun."""
    s = Server(build, "--drain-ms=60000")
    s.register("linear", linear())
    s.register("late", slow(1500, 64), wait=False)
    held = dial(s.port)
    held.sendall(ASK)                  # a client that stays: so does the predecessor
    check(read_answer(held)[0] == 200, "held")
    s.p.send_signal(signal.SIGUSR2)
    s.wait_ready(2, 30)
    st, _, v = s.register("late", slow(1500, 64))
    check(st == 503 and "ask again" in v["error"], ("who waits is told to ask again", st, v))
    s.p.kill()
    s.p.wait()
    end, st = time.time() + 60, 503
    while time.time() < end and st == 503:
        st, _, v = s.register("late", slow(1500, 64))
        time.sleep(0.02)
    check(st == 201 and v["state"] == "ready", ("built by the successor", st, v))
    held.close()
    finish(s, 2)


def backlog(build):
    """More versions that nobody has built than the registry names at once: all of them are the next server's."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, root=root)
    for i in range(1020):
        if not check(s.register("m%d" % (i % 7), b"none %d" % i, wait=False)[0] == 202, "stored"):
            break
    s.p.kill()
    s.p.wait()
    s = Server(build, "--drain-ms=0", root=root)
    left = [s.ask("POST", "/discover", {"state": state})[2]["models"] for state in ("registered", "building")]
    check(not left[0] and left[1], ("none is forgotten", [len(l) for l in left]))
    s.stop()
    shutil.rmtree(root, ignore_errors=True)


def upgraded(build):
    """The successor is the program that stands by then where the server was started from."""
    folder = tempfile.mkdtemp(prefix="cab-serve-")
    exe, new = os.path.join(folder, "cab-serve"), os.path.join(folder, "new")
    shutil.copy(os.path.join(build, "cab-serve"), exe)
    s = Server(folder, "--drain-ms=0")
    shutil.copy(os.path.join(build, "cab-serve"), new)
    os.replace(new, exe)
    s.p.send_signal(signal.SIGUSR2)
    s.wait_ready(2, 30)
    s.p.wait(10)
    left = processes(s)
    check([os.stat("/proc/%d/exe" % pid).st_ino for pid in left] == [os.stat(exe).st_ino], ("the new binary", left))
    finish(s)
    shutil.rmtree(folder)


def failed_successor(build):
    """A successor that cannot start: the old one serves on, and says so."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    config = os.path.join(root, "config.json")
    with open(config, "w") as f:
        f.write("{}")
    s = Server(build, "--drain-ms=0", "--config=" + config, root=root)
    with open(config, "w") as f:
        f.write('{"nonsense": 1}')
    s.p.send_signal(signal.SIGUSR2)
    end = time.time() + 10
    while time.time() < end and not any(l["event"] == "hand-over failed" for l in s.lines()):
        time.sleep(0.02)
    check(any(l["event"] == "hand-over failed" for l in s.lines()), "told")
    check(s.ask("GET", "/v2/health/ready")[0] == 200, "serves on")
    check(s.register("linear", linear())[0] == 201, "changes are taken again")
    with open(config, "w") as f:
        f.write("{}")
    old = s.pid
    s.p.send_signal(signal.SIGUSR2)
    s.wait_ready(2, 30)
    check(gone(old, 10), "a later one takes over")
    check(s.infer("linear", [[5.0]])[2]["outputs"][0]["data"] == [17.0], "and serves")
    finish(s)


def blocked(pid):
    """Whether it takes SIGTERM by itself by now."""
    try:
        with open("/proc/%d/status" % pid) as f:
            mask = [l for l in f if l.startswith("SigBlk:")]
    except OSError:
        return False
    return bool(mask) and int(mask[0].split()[1], 16) >> (signal.SIGTERM - 1) & 1


def told_meanwhile(build):
    """SIGTERM and SIGKILL while a successor starts."""
    s = Server(build, "--drain-ms=300")
    s.register("linear", linear())
    s.p.send_signal(signal.SIGUSR2)
    s.p.send_signal(signal.SIGTERM)
    check(s.p.wait(20) == 0 and not processes(s), ("to the old one: both end, the successor first", processes(s)))
    shutil.rmtree(s.root)
    for _ in range(10):
        s = Server(build, "--drain-ms=300")
        s.register("linear", linear())
        s.p.send_signal(signal.SIGUSR2)
        pid = successor(s)
        while not blocked(pid) and not gone(pid, 0):
            pass
        os.kill(pid, signal.SIGSTOP)
        started = len([l for l in s.lines() if l["event"] == "ready"])
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        if started == 1:
            break
        finish(s)                      # it was too quick: another one
    if check(started == 1, "caught while it starts"):
        check(gone(pid, 10), "to the successor: it ends")
        check(s.p.poll() is None and s.ask("GET", "/v2/health/ready")[0] == 200, ("and the old one serves on", s.lines()))
        finish(s)
    s = Server(build, "--drain-ms=300")
    s.register("linear", linear())
    s.p.send_signal(signal.SIGUSR2)
    pid = successor(s)
    os.kill(pid, signal.SIGSTOP)
    s.p.send_signal(signal.SIGUSR2)    # and a second one meanwhile
    st, _, v = s.ask("POST", "/v2/repository/models/linear/unload")
    check(st == 503 and "replaced" in v["error"], ("no change meanwhile", st, v))
    r = subprocess.run(["curl", "-si", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers",
                        "--data-binary", "@-", "http://127.0.0.1:%d/inference.GRPCInferenceService/RepositoryModelUnload" % s.port],
                       input=b"\0\0\0\0\x08\x12\x06linear", capture_output=True)
    check(b"grpc-status: 14" in r.stdout and b"replaced" in r.stdout, ("by gRPC neither", r.stdout))
    s.p.kill()
    s.p.wait()
    os.kill(pid, signal.SIGCONT)
    s.wait_ready(2, 20)
    check(s.infer("linear", [[5.0]])[2]["outputs"][0]["data"] == [17.0], "the old one is killed: the successor serves")
    check(s.register("linear", linear(1.0, 1.0))[0] == 201, "and takes changes")
    finish(s)


def drains(build):
    """SIGTERM: unready at once, what comes is served, then an end with status 0 in its time."""
    s = Server(build, "--drain-ms=800", "--finish-ms=3000", "--threads=1", "--listen-health=127.0.0.1:0")
    s.register("linear", linear())
    idle = dial(s.port)
    idle.sendall(ASK)
    check(read_answer(idle)[0] == 200, "before")
    h = H2(s.port)
    h.open(1, "GET", "/v2/health/ready")
    check(h.status(1) == 200, "HTTP/2 before")
    health = dial(s.urls["http"][1])
    health.sendall(request("GET", "/v2/health/ready"))
    check(read_answer(health)[0] == 200, "health port before")
    health.sendall(request("POST", "/v2/models/linear/infer", BODY))
    check(read_answer(health)[0] == 404, "the health port has health only")
    t = time.time()
    s.p.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    check(s.ask("GET", "/v2/health/ready")[0] == 503, "unready at once")
    health.sendall(request("GET", "/v2/health/ready"))
    check(read_answer(health)[0] == 503, "on the health port too")
    st, head, v = s.infer("linear", [[5.0]])
    check(st == 200 and head["Connection"] == "close", ("served while draining", st, head))
    h.open(3, "GET", "/v2/health/live")
    check(h.status(3) == 200, "HTTP/2: served after the notice")
    check(h.until(GOAWAY) is not None, "HTTP/2: GOAWAY")
    check(ended(idle, 3), "the idle one is closed")
    rc = s.p.wait(10)
    took = time.time() - t
    check(rc == 0 and 0.7 < took < 3.0, ("ends in time", rc, took))
    for c in (idle, health):
        c.close()
    h.close()
    shutil.rmtree(s.root, ignore_errors=True)


def told_twice(build):
    s = Server(build, "--drain-ms=20000", "--finish-ms=20000")
    c = dial(s.port)
    c.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
    s.p.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    check(s.p.poll() is None, "drains")
    t = time.time()
    s.p.send_signal(signal.SIGTERM)
    rc = s.p.wait(10)
    check(rc == 0 and time.time() - t < 2, ("a second signal ends at once", rc, time.time() - t))
    c.close()
    shutil.rmtree(s.root, ignore_errors=True)


def cold(build, rounds, hot=False):
    """SIGTERM and a new start on the same port: refused connections in between, no wrong answers, and for each client at
    most one connection that the kernel had taken when the port closed (docs/serving.md; systemd.py has the way without).
    hot: each is replaced once before it ends."""
    root = tempfile.mkdtemp(prefix="cab-serve-")
    s = Server(build, "--drain-ms=100", root=root)
    s.register("linear", linear())
    listen = "--listen=127.0.0.1:%d" % s.port
    clients = [Client(s.port, i % 2 == 1) for i in range(4)]
    for c in clients:
        c.start()
    for i in range(rounds):
        if hot:
            s.p.send_signal(signal.SIGUSR2)
            s.wait_ready(2, 30)
            check(s.p.wait(10) == 0, ("replaced", i))
            for pid in processes(s):
                os.kill(pid, signal.SIGTERM)
                check(gone(pid, 10), ("the successor ends", i))
        else:
            check(s.stop() == 0, ("ends with 0", i))
        s = Server(build, "--drain-ms=100", listen, root=root)
        time.sleep(0.05)
    for c in clients:
        c.stop()
    wrong = [b for c in clients for b in c.bad if not isinstance(b, OSError) and b[0] != 503]
    cut = [[b for b in c.bad if isinstance(b, OSError) and not isinstance(b, ConnectionRefusedError)] for c in clients]
    check(not wrong, ("wrong answers", wrong[:3]))
    # in a slow build the last packet of a handshake may come after the port has taken its last connection
    fine = [len(c) <= (rounds if patience(build) > 1 else 0) for c in cut]
    check(all(fine), ("requests that were cut off", [len(c) for c in cut], "of", sum(len(c.times) for c in clients), cut))
    s.stop()
    shutil.rmtree(root, ignore_errors=True)


def main():
    build, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    drains(build)
    told_twice(build)
    told_meanwhile(build)
    failed_successor(build)
    unfinished(build)
    killed(build)
    if rounds > 4:                     # half a minute
        backlog(build)
    upgraded(build)
    hand_over(build, rounds)
    cold(build, max(2, rounds // 4))
    cold(build, max(2, rounds // 4), hot=True)
    verdict("restart.py")


main()
