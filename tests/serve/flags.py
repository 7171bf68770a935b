# SPDX-License-Identifier: Apache-2.0
"""flags.py BUILD: what a server is told: refused with words at the start, or as it was said; ports with TLS only."""
import os, sys, tempfile
sys.path.insert(0, os.path.dirname(__file__))
from kit import *

# a flag, and what the story says
REFUSED = (
    ("--io-threads=4294967296", "--io-threads = '4294967296': must be from 1 to 64"), ("--io-threads=0", "from 1 to 64"),
    ("--max-connections=4294967296", "from 1 to 1048576"), ("--build-seconds=4294967297", "from 1 to 16384"),
    ("--poll-us=9223372036854775807", "from 0 to 1000000"), ("--inline-us=9223372036854775807", "from 0 to 1000000"),
    ("--threads=4294967297", "from 0 to 1024"), ("--read-threads=4294967297", "from 0 to 1024"), ("--max-streams=4294967296", "from 1 to 65536"),
    ("--max-head=1", "from 1024 to"), ("--max-body=0", "from 1 to"), ("--max-body=9999999999G", "not a size"), ("--max-queue=-1", "not a number"),
    ("--memory=2000000G", "from 0 to"), ("--compress=2", "from 0 to 1"), ("--idle-ms=86400001", "from 1 to 86400000"),
    ("--drain-ms=1s", "--drain-ms = '1s': not a number of milliseconds"), ("--build-memory=1", "from 67108864 to"),
    ("--build-target=bogus", "'bogus' is none of native"), ("--build-target=x86-64-v3,x86-64-v", "'x86-64-v' is none of"),
    ("--imports=/no/such/folder", "no folder"), ("--imports=/etc/passwd", "no folder"),
    ("--tls-cert=/etc/passwd", "--tls-cert"), ("--listen-tls=127.0.0.1:0", "needs --tls-cert"),
    ("--listen=127.0.0.1:70000", "up to 65535"), ("--listen=127.0.0.1:-1", "up to 65535"), ("--listen=127.0.0.1:http", "up to 65535"),
    ("--listen=127.0.0.1:", "up to 65535"), ("--listen=nonsense", "not ADDR:PORT"), ("--listen=", "no port for clients"),
    ("--nonsense=1", "no flag --nonsense"), ("--tokens=/tmp", "cannot read"), ("--tokens=/no/such/file", "cannot read"),
)
VARIABLES = (({"CAB_SERVE_NONSENSE": "1"}, "no variable CAB_SERVE_NONSENSE"), ({"CAB_SERVE_IO_THREADS": "0"}, "CAB_SERVE_IO_THREADS = '0': must be"),
             ({"CAB_SERVE_INHERITED": "1"}, "no variable CAB_SERVE_INHERITED"))
FILES = (('{"nonsense": 1}', "no option 'nonsense'"), ('{"io_threads": 0}', "io_threads = '0': must be"), ('{"listen": []}', "no port for clients"),
         ('{"drain_ms": "1s"}', "drain_ms = '1s': not a number of milliseconds"))


def told(build, root, flags=(), env=None):
    """-> exit status, what it said; a server that starts all the same: None"""
    args = [os.path.join(build, "cab-serve"), "--root", os.path.join(root, "registry"), *flags]
    if not any(f.startswith("--listen") for f in flags) and not any(f.startswith("--config") for f in flags):
        args.append("--listen=127.0.0.1:0")
    p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, **(env or {})))
    try:
        out = p.communicate(timeout=5 * patience(build))[0]
        return p.returncode, out.decode()
    except subprocess.TimeoutExpired:
        p.kill()
        return None, p.communicate()[0].decode()


def refused(build, root):
    config = os.path.join(root, "config.json")
    for flag, story in REFUSED:
        rc, text = told(build, root, (flag,))
        check(rc in (1, 2) and story in text and text.startswith("cab-serve: error"), (flag, rc, text[:300]))
    for env, story in VARIABLES:
        rc, text = told(build, root, env=env)
        check(rc in (1, 2) and story in text, (env, rc, text[:300]))
    for content, story in FILES:
        with open(config, "w") as f:
            f.write(content)
        rc, text = told(build, root, ("--config=" + config,))
        check(rc in (1, 2) and story in text, (content, rc, text[:300]))
    for flag in ("-h", "--help"):
        rc, text = told(build, root, (flag,))
        check(rc == 0 and "--io-threads" in text, ("help", flag, rc))


def ports(build, root):
    cert, key = certificate(root)
    tls = ("--listen-tls=127.0.0.1:0", "--tls-cert=" + cert, "--tls-key=" + key)
    config = os.path.join(root, "config.json")
    for content in ('{}', '{"listen": []}'):
        with open(config, "w") as f:
            f.write(content)
        args = [os.path.join(build, "cab-serve"), "--root", os.path.join(root, "registry"), "--log", os.path.join(root, "log"),
                "--drain-ms=0", "--config=" + config, *tls]
        open(os.path.join(root, "log"), "w").close()
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL)
        atexit.register(p.kill)
        end, ready = time.time() + 10 * patience(build), []
        while time.time() < end and not ready:
            time.sleep(0.02)
            with open(os.path.join(root, "log")) as f:
                ready = [json.loads(l)["text"] for l in f if '"ready"' in l]
        check(ready and "http://" not in ready[0] and "https://" in ready[0], ("TLS only", content, ready))
        p.terminate()
        check(p.wait(10) == 0, "ends with 0")
        os.remove(os.path.join(root, "log"))
    s = Server(build, "--drain-ms=0", "--listen=127.0.0.1:0", "--listen-tls=127.0.0.1:0", *tls[1:])
    check(s.port and s.tls, "both where both are asked for")
    check(not [l for l in s.lines() if l["level"] == "warning"], ("no warning", s.lines()))
    s.stop()
    s = Server(build, "--drain-ms=0", "--listen=0.0.0.0:0", "--build-target=x86-64-v3,native")
    check([l for l in s.lines() if l["level"] == "warning" and l["event"] == "open to all"], "a port that others reach, and no tokens: a warning")
    s.stop()


def main():
    root = tempfile.mkdtemp(prefix="cab-serve-")
    refused(sys.argv[1], root)
    ports(sys.argv[1], root)
    shutil.rmtree(root)
    verdict("flags.py")


main()
