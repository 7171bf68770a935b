# SPDX-License-Identifier: Apache-2.0
"""triton.py: the other server, tritonserver 2.51, from PyPI (nvidia-pytriton 0.7.0 has it in it) into the cache, once.

As a program it prints the environment's python, which has tritonclient, too."""
import os, shutil, socket, subprocess, sys, tempfile, time, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("CAB_CACHE_DIR", os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "cabochon"))
CONFIG = """name: "%s"
backend: "echo"
max_batch_size: %d
input [ { name: "x" data_type: TYPE_FP32 dims: [ %s ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ %s ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


def environment():
    """-> its folder"""
    venv = os.path.join(CACHE, "serve", "triton")
    if not os.path.exists(venv + "/ready"):
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([venv + "/bin/pip", "install", "-q", "nvidia-pytriton==0.7.0"], check=True)
        open(venv + "/ready", "w").close()
    return venv


def program():
    """-> the folder of tritonserver"""
    lib = os.path.join(environment(), "lib")
    python = next(d for d in sorted(os.listdir(lib)) if d.startswith("python"))
    return os.path.join(lib, python, "site-packages", "pytriton", "tritonserver")


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def wait_ready(port, seconds):
    end = time.time() + seconds
    while True:
        try:
            if urllib.request.urlopen("http://127.0.0.1:%d/v2/health/ready" % port, timeout=2).status == 200:
                return
        except OSError:
            if time.time() > end:
                raise
        time.sleep(0.001)


class Triton:
    """On free ports (port, grpc), ready; models: (name, most rows of a batch or 0, dims as a text) of input x and output y,
    FP32, answered by triton_echo.c: the output is the input."""
    name = "triton"

    def __init__(self, models, *flags):
        top = program()
        self.root = tempfile.mkdtemp(prefix="cab-triton-")
        for name, rows, dims in models:
            os.makedirs(self.root + "/repo/%s/1" % name)
            with open(self.root + "/repo/%s/config.pbtxt" % name, "w") as f:
                f.write(CONFIG % (name, rows, dims, dims))
        os.makedirs(self.root + "/backends/echo")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.root + "/backends/echo/libtriton_echo.so",
                        os.path.join(HERE, "triton_echo.c")], check=True)
        self.port, self.grpc, metrics = free_ports(3)
        args = [top + "/bin/tritonserver", "--model-repository", self.root + "/repo", "--backend-directory", self.root + "/backends", *flags]
        for flag, v in (("http-port", self.port), ("grpc-port", self.grpc), ("metrics-port", metrics), ("http-address", "127.0.0.1"),
                        ("grpc-address", "127.0.0.1"), ("metrics-address", "127.0.0.1")):
            args += ["--" + flag, str(v)]
        env = dict(os.environ, LD_LIBRARY_PATH=top + "/external_libs:" + top + "/lib")
        with open(self.root + "/log", "w") as log:
            self.p = subprocess.Popen(args, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.pid = self.p.pid
        try:
            wait_ready(self.port, 60)
        except OSError as e:
            with open(self.root + "/log") as log:
                text = log.read()[-2000:]
            self.stop()
            raise RuntimeError("tritonserver is not ready: " + text) from e

    def stop(self):
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(20)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        shutil.rmtree(self.root, ignore_errors=True)


if __name__ == "__main__":
    print(environment() + "/bin/python")
