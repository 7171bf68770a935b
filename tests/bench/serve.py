# SPDX-License-Identifier: Apache-2.0
"""serve.py BUILD [--rounds N] [--seconds S] [--json FILE]: what a request costs, beside tritonserver.

Both servers answer an output with the input, [n, 16] of f32, or 1 MB (Triton's model is triton_echo.c), on the same processors,
taking turns; wrk, h2load and cab client load send the same bytes to both.  Rounds are added to those that FILE has; figures are medians over all."""
import argparse, json, os, random, re, shutil, statistics, struct, subprocess, sys, tempfile, time, urllib.request
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "serve"))
import kit
import triton

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": list(range(1, 17))}]})


# ---- the two sides ----

WIDE = 262144                                # elements of f32: 1 MB
MODELS = (("echo", 16), ("wide", WIDE))


class Ours:
    name = "cabochon"

    def __init__(self, build, flags=()):
        self.s = kit.Server(build, "--drain-ms=0", *flags)
        self.idle_kb = resident_kb(self.s.pid)
        for name, width in MODELS:
            st, _, v = self.s.register(name, kit.identity(width))
            if st != 201:
                raise RuntimeError(v)
        self.port = self.grpc = self.s.port
        self.pid = self.s.pid

    def stop(self):
        self.s.stop()


# ---- measurements ----

def resident_kb(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


SMALL = 'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\nwrk.body=%s\n' % json.dumps(BODY)
LONG = """wrk.method="POST"
wrk.headers["Content-Type"]="application/json"
local f = io.open(%s, "rb")
wrk.body = f:read("*a")
f:close()
"""
LARGE_HEAD = json.dumps({"inputs": [{"name": "x", "shape": [1, WIDE], "datatype": "FP32", "parameters": {"binary_data_size": 4 * WIDE}}],
                         "outputs": [{"name": "y", "parameters": {"binary_data": True}}]})
LARGE = ('wrk.method="POST"\nwrk.headers["Content-Type"]="application/octet-stream"\nwrk.headers["Inference-Header-Content-Length"]="%d"\n'
         'wrk.body=%s .. string.rep("\\0", %d)\n' % (len(LARGE_HEAD), json.dumps(LARGE_HEAD), 4 * WIDE))


def wrk(port, connections, seconds, folder, model="echo", script=SMALL):
    lua = os.path.join(folder, "infer.lua")
    with open(lua, "w") as f:
        f.write(script)
    out = subprocess.run(["wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--latency", "-s", lua,
                          "http://127.0.0.1:%d/v2/models/%s/infer" % (port, model)], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise RuntimeError(out)
    v, unit = re.search(r"50%\s+([\d.]+)(us|ms)", out).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), float(v) * (1000 if unit == "ms" else 1)


def long_json(port, connections, seconds, folder):
    """262,144 numbers as Python writes floats."""
    path = os.path.join(folder, "long.json")
    if not os.path.exists(path):
        r = random.Random(1)
        data = [struct.unpack("<f", struct.pack("<f", r.uniform(-1, 1)))[0] for _ in range(WIDE)]
        with open(path, "w") as f:
            json.dump({"inputs": [{"name": "x", "shape": [1, WIDE], "datatype": "FP32", "data": data}]}, f)
    return wrk(port, connections, seconds, folder, "wide", LONG % json.dumps(path))


def client(build, port, connections, seconds, kind, *more):
    out = subprocess.run([os.path.join(build, "cab-client"), "load", "127.0.0.1:%d" % port, "echo", "--json", "--" + kind, "--connections",
                          str(connections), "--seconds", str(seconds), "--warmup", "0.3", *more],
                         capture_output=True, text=True, check=True).stdout
    v = json.loads(out)
    if list(v["statuses"]) != ["200"] or v["broken"]:
        raise RuntimeError(out)
    return v


def grpc_frame(folder, model, width):
    tensor = kit._field(1, "x") + kit._field(2, "FP32") + kit._field(3, 1) + kit._field(3, width)
    m = kit._field(1, model) + kit._field(5, tensor) + kit._field(7, struct.pack("<%df" % width, *range(width)))
    path = os.path.join(folder, "frame")
    with open(path, "wb") as f:
        f.write(b"\0" + struct.pack(">I", len(m)) + m)
    return path


def h2load(port, seconds, folder, model="echo", width=16, load=("-c", "4", "-m", "16")):
    out = subprocess.run(["h2load", "-D", str(seconds), *load, "-w", "24", "-W", "26", "-H", "content-type: application/grpc", "-H", "te: trailers",
                          "-d", grpc_frame(folder, model, width), "http://127.0.0.1:%d/inference.GRPCInferenceService/ModelInfer" % port],
                         capture_output=True, text=True, check=True).stdout
    good, bad = map(int, re.search(r"status codes: (\d+) 2xx, \d+ 3xx, (\d+) 4xx", out).groups())
    if not good or bad:
        raise RuntimeError(out)
    return float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", out).group(1))


def infer_tally(server):
    stats = json.load(urllib.request.urlopen("http://127.0.0.1:%d/v2/models/echo/stats" % server.port))["model_stats"][0]["inference_stats"]
    return stats["success"]["count"], stats["compute_infer"]["ns"]


def cpu_of_requests(build, server, connections, seconds, *more):
    """Microseconds of the server's processor time a request, and of the run of the model in it."""
    n0, ns0, c0 = *infer_tally(server), cpu_seconds(server.pid)
    v = client(build, server.port, connections, seconds, "text", "--warmup", "0", *more)
    n1, ns1, c1 = *infer_tally(server), cpu_seconds(server.pid)
    return (c1 - c0) / v["sent"] * 1e6, (ns1 - ns0) / max(n1 - n0, 1) / 1e3       # Triton's back end counts no runs


def round_of(build, servers, seconds, folder):
    row = {}
    for what, measure in (
            ("json p50 us, 1 connection, wrk", lambda s: wrk(s.port, 1, seconds, folder)[1]),
            ("json p50 us, 1 connection, cab", lambda s: client(build, s.port, 1, seconds, "text")["latency_ms"]["p50"] * 1000),
            ("json requests/s, 16 connections, wrk", lambda s: wrk(s.port, 16, seconds, folder)[0]),
            ("json requests/s, 16 connections, cab", lambda s: client(build, s.port, 16, seconds, "text")["requests_per_second"]),
            ("binary p50 us, 1 connection, cab", lambda s: client(build, s.port, 1, seconds, "binary")["latency_ms"]["p50"] * 1000),
            ("grpc requests/s, 4 x 16 streams, h2load", lambda s: h2load(s.grpc, seconds, folder)),
            ("json 5 MB p50 us, 1 connection, wrk", lambda s: long_json(s.port, 1, seconds, folder)[1]),
            ("json 5 MB requests/s, 4 connections, wrk", lambda s: long_json(s.port, 4, seconds, folder)[0]),
            ("raw 1 MB requests/s, 4 connections, wrk", lambda s: wrk(s.port, 4, seconds, folder, "wide", LARGE)[0]),
            ("grpc 1 MB requests/s, 2 x 4 streams, h2load", lambda s: h2load(s.grpc, seconds, folder, "wide", WIDE, ("-c", "2", "-m", "4")))):
        for s in servers:
            row["%s: %s" % (what, s.name)] = measure(s)
    # With one connection the server looks for the next request before it sleeps, so the client's wake-up counts: hence awake.
    for connections, how in ((1, ()), (1, ("--awake",)), (16, ())):
        name = "%d connection%s%s" % (connections, "" if connections == 1 else "s", ", client awake" if how else "")
        for s in servers:
            cpu, run = cpu_of_requests(build, s, connections, seconds, *how)
            row["server CPU us a request, %s: %s" % (name, s.name)] = cpu
            row["of it the run, %s: %s" % (name, s.name)] = run
    return row


# ---- ours alone ----

def ready_ms(build, model):
    """From the start of the process to the first 200 of /v2/health/ready, with a large artifact registered."""
    root = tempfile.mkdtemp(prefix="bench-serve-")
    s = kit.Server(build, "--drain-ms=0", "--imports=" + os.path.dirname(model), root=root)
    st, _, v = s.ask("POST", "/register", {"name": "large", "ref": os.path.basename(model)}, timeout=600)
    if st != 201:
        raise RuntimeError(v)
    s.stop()
    times = []
    for _ in range(5):
        port, = triton.free_ports(1)
        begin = time.time()
        s = kit.Server(build, "--drain-ms=0", "--listen=127.0.0.1:%d" % port, root=root, wait=False)
        triton.wait_ready(port, 20)
        times.append((time.time() - begin) * 1000)
        s.wait_ready()
        if s.ask("GET", "/v2/models/large/ready")[0] != 200:
            raise RuntimeError("ready without the model")
        s.stop()
    shutil.rmtree(root)
    return statistics.median(times)


BOUNDS = (("json p50 us, 1 connection", 1 / 3, False), ("json requests/s", 1.5, True), ("json 5 MB p50", 1 / 3, False), ("raw 1 MB requests/s", 1.0, True),
          ("grpc", 1.0, True))


def verdict(rounds):
    bad = 0
    names = sorted({n for r in rounds for n in r})
    med = {n: statistics.median(r[n] for r in rounds if n in r) for n in names}
    for n in names:
        print("%-58s %10.1f   (%s)" % (n, med[n], " ".join("%.1f" % r[n] for r in rounds if n in r)))
    for start, bound, more in BOUNDS:
        for n in names:
            other = n.replace(": cabochon", ": triton")
            if n.startswith(start) and n.endswith(": cabochon") and other in med:
                ratio = med[n] / med[other]
                fine = ratio >= bound if more else ratio <= bound
                bad += not fine
                print("%-58s %10.2f of Triton's, asked %s %.2f%s" % (n, ratio, ">=" if more else "<=", bound, "" if fine else "  MISSED"))
    for n, bound, more in (("binary p50 us, 1 connection, cab: cabochon", 40, False), ("grpc requests/s, 4 x 16 streams, h2load: cabochon", 25000, True),
                           ("idle MB: cabochon", 20, False), ("ready ms: cabochon", 100, False)):
        if n in med and (med[n] < bound if more else med[n] > bound):
            bad += 1
            print("%s: %.1f, asked %s %g  MISSED" % (n, med[n], ">=" if more else "<=", bound))
    for name in ("1 connection, client awake", "16 connections"):
        cpu, run = "server CPU us a request, %s: cabochon" % name, "of it the run, %s: cabochon" % name
        if cpu in med:
            above = med[cpu] - med[run]
            bad += above > 25
            print("server CPU above the run, %s: %.1f us, asked <= 25%s" % (name, above, "" if above <= 25 else "  MISSED"))
    return 1 if bad else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--json")
    p.add_argument("--no-triton", action="store_true")
    p.add_argument("--flag", action="append", default=[], help="of cab-serve")
    a = p.parse_args()
    build, rounds = os.path.abspath(a.build), []
    if a.json and os.path.exists(a.json):
        with open(a.json) as f:
            rounds = json.load(f)
    ours = Ours(build, a.flag)
    servers = [ours] + ([] if a.no_triton else [triton.Triton([(name, 0, "-1, %d" % width) for name, width in MODELS])])
    large = os.path.join(triton.CACHE, "corpus", "resnet50", "model.onnx")
    try:
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(a.rounds):
                rounds.append(round_of(build, servers, a.seconds, folder))
                rounds[-1]["idle MB: cabochon"] = ours.idle_kb / 1024
    finally:
        for s in servers:
            s.stop()
    if os.path.exists(large):
        rounds[-1]["ready ms: cabochon"] = ready_ms(build, large)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rounds, f, indent=1)
    sys.exit(verdict(rounds))


main()
