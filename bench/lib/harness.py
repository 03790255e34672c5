"""What the bench commands share: building, starting programs on a core, ending them for certain, reading what they use.

Python 3 standard library only. Everything that is started is a Child of one Supervisor, which ends it by its pid, whichever
way the command ends; a child also gets SIGTERM from the kernel when the command itself is killed.
"""

import ctypes
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something that the person at the terminal has to know; printed without a trace."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def cores():
    """(core of the proxy, core of the load generator and the origin)."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("this needs two CPU cores, and may use only %d; see nproc and taskset -p $$" % len(allowed))
    return allowed[0], allowed[1]


def raise_file_limit():
    """Children inherit it; the many-connection measurements need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def core_ticks(core):
    """(idle, all) of one core so far."""
    with open("/proc/stat") as f:
        for line in f:
            if line.startswith("cpu%d " % core):
                fields = [int(x) for x in line.split()[1:9]]
                return fields[3] + fields[4], sum(fields)
    raise BenchError("/proc/stat has no core %d" % core)


def wait_quiet(used_cores, seconds):
    """Waits until each core was idle for nine tenths of 0.3 s; False when that did not come within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        before = [core_ticks(c) for c in used_cores]
        time.sleep(0.3)
        after = [core_ticks(c) for c in used_cores]
        if all(a[0] - b[0] >= 0.9 * (a[1] - b[1]) for a, b in zip(after, before)):
            return True
        if time.monotonic() > deadline:
            return False


def build(*targets):
    """Builds with bazel; None, or the reason why that failed."""
    bazel = shutil.which("bazel") or shutil.which("bazel-bootstrap")
    if not bazel:
        return "there is no bazel (tools/setup installs it)"
    result = subprocess.run([bazel, "build", *targets], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            errors="replace")
    if result.returncode == 0:
        return None
    lines = [line for line in result.stderr.splitlines() if "ERROR" in line or "error:" in line]
    return "bazel build %s failed:\n  %s" % (" ".join(targets), "\n  ".join((lines or result.stderr.splitlines())[-8:]))


def built(label):
    """The file that bazel made for `//folder:name`."""
    folder, name = label.removeprefix("//").split(":")
    return ROOT / "bazel-bin" / folder / name


def free_port(address="127.0.0.1"):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def fetch(port, path="/", timeout=2.0, address="127.0.0.1", tls=None, name=None):
    """(status, body) of a GET on a connection of its own; OSError or HTTPException when there is no answer.
    tls: an ssl.SSLContext, to which the server has to be `name`."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        if tls:
            plain = socket.create_connection((address, port), timeout)
            try:
                connection.sock = tls.wrap_socket(plain, server_hostname=name)
            except BaseException:
                plain.close()
                raise
        connection.request("GET", path, headers={"Host": "bench.local", "User-Agent": "weft-bench", "Accept": "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(port, path="/", timeout=1.0, tls=None, name=None):
    try:
        return fetch(port, path, timeout, tls=tls, name=name)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def descendants(pid):
    """`pid` and all processes below it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    parents[int(entry)] = int(f.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                pass  # it ended meanwhile
    found, wave = [pid], {pid}
    while wave:
        wave = {p for p, parent in parents.items() if parent in wave}
        found += sorted(wave)
    return found


def memory_kb(pids, field="VmRSS"):
    """Sum of one field of /proc/PID/status. Pages that two processes share (nginx's master and worker) count twice."""
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/status" % pid) as f:
                for line in f:
                    if line.startswith(field + ":"):
                        total += int(line.split()[1])
        except OSError:
            pass
    return total


def cpu_ns(pid):
    """CPU time of a process, all its threads, to the nanosecond (what clock_getcpuclockid(3) gives)."""
    return time.clock_gettime_ns(((~pid) << 3) | 2)


def waited_ns(pid):
    """How long the threads of a process were ready to run and did not, since another program had the core."""
    total = 0
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                total += int(f.read().split()[1])
    except (OSError, IndexError):
        pass  # it ended meanwhile, or the kernel does not count that
    return total


class Use:
    """What processes used between two moments: what the load generator's --watch gives, for generators that have no such thing."""

    def __init__(self, pids):
        self.pids = pids
        self.cpu, self.waited, self.at = self.now()

    def now(self):
        return sum(map(cpu_ns, self.pids)), sum(map(waited_ns, self.pids)), time.monotonic_ns()

    def until_now(self, requests):
        cpu, waited, at = (b - a for a, b in zip((self.cpu, self.waited, self.at), self.now()))
        return {"alive": True, "cpu_us_per_request": cpu / 1e3 / requests if requests else 0.0, "busy": cpu / at, "waited": waited / at}


class Child:
    def __init__(self, name, process, log):
        self.name, self.process, self.log = name, process, log

    @property
    def pid(self):
        return self.process.pid

    def pids(self):
        return descendants(self.pid)

    def alive(self):
        return self.process.poll() is None

    def log_tail(self, lines=15):
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join("    | " + line for line in text.splitlines()[-lines:])


class Supervisor:
    """Context manager: owns the children and a temporary folder; both are gone after it."""

    def __init__(self, keep_logs=False):
        self.keep_logs = keep_logs
        self.children = []

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="weft-bench-"))
        self.folder.chmod(0o755)  # nginx started by root has a worker that is not

        def stop(number, frame):
            raise KeyboardInterrupt("signal %d" % number)

        self.old = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
        return self

    def __exit__(self, kind, value, trace):
        for s in self.old:  # a second Ctrl-C must not leave children behind
            signal.signal(s, signal.SIG_IGN)
        self.end_all()
        if self.keep_logs:
            say("logs and configuration files: %s" % self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        for s, handler in self.old.items():
            signal.signal(s, handler)

    def start(self, name, argv, core=None, batch=False, stdout=None, in_child=None):
        """core: one, or a set of them.
        batch: SCHED_BATCH, so that load generator and origin, which share a core, don't preempt each other at each message.
        in_child: called in the new process as the last thing before exec."""
        log = self.folder / (name + ".log")
        parent = os.getpid()

        def before_exec():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
            if core is not None:
                os.sched_setaffinity(0, core if isinstance(core, set) else {core})
            if batch:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            if in_child:
                in_child()

        with open(log, "wb") as out:
            try:
                process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=stdout or out, stderr=out,
                                           cwd=self.folder, preexec_fn=before_exec)
            except OSError as e:
                raise BenchError("cannot start %s: %s" % (name, e))
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def end(self, child, patience=3.0):
        if child in self.children:
            self.children.remove(child)
        pids = child.pids() if child.alive() else []
        if child.alive():
            child.process.terminate()
            try:
                child.process.wait(patience)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        for pid in pids[1:]:  # workers of a master that had to be killed
            try:
                with open("/proc/%d/stat" % pid) as f:
                    orphan = int(f.read().rpartition(")")[2].split()[1]) != child.pid
                if orphan:
                    os.kill(pid, signal.SIGKILL)
            except (OSError, ValueError, IndexError):
                pass
        if child.process.stdout:
            child.process.stdout.close()

    def end_all(self):
        for child in reversed(list(self.children)):
            self.end(child)

    def wait_ready(self, child, ready, seconds=15.0):
        """Waits until ready() is true; a BenchError with the program's own words when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not child.alive():
                raise BenchError("%s ended with status %s before it was ready; its output:\n%s"
                                 % (child.name, child.process.returncode, child.log_tail() or "    | (nothing)"))
            if time.monotonic() > deadline:
                raise BenchError("%s gave no answer within %g s; its output:\n%s"
                                 % (child.name, seconds, child.log_tail() or "    | (nothing)"))
            time.sleep(0.02)

    def start_announcing(self, name, argv, core, batch=False):
        """Starts an own program that prints "listening ADDRESS:PORT"; (child, port)."""
        child = self.start(name, argv, core, batch)
        found = []

        def announced():
            text = child.log.read_text(errors="replace")
            if "listening " in text and text.endswith("\n"):
                found.append(int(text.split("listening ", 1)[1].split()[0].rpartition(":")[2]))
            return bool(found)

        self.wait_ready(child, announced, 5.0)
        return child, found[0]


def run_tool(supervisor, name, argv, core, seconds):
    """Runs a program to its end on a core; what it printed. A BenchError when it fails or takes longer than `seconds`."""
    child = supervisor.start(name, argv, core, batch=True, stdout=subprocess.PIPE)
    try:
        out, _ = child.process.communicate(timeout=seconds)
        if child.process.returncode != 0:
            raise BenchError("%s ended with status %s:\n%s" % (name, child.process.returncode, child.log_tail()))
        return out.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        raise BenchError("%s did not end within %g s" % (name, seconds))
    finally:
        supervisor.end(child)


def run_load(supervisor, load, port, core, watched, proxy_core, connections, seconds, warmup, size, rate=0):
    """One measurement by //bench/macro:load; its JSON."""
    argv = [load, "--connect", "127.0.0.1:%d" % port, "--connections", connections, "--seconds", seconds, "--warmup", warmup,
            "--bytes", size, "--core", proxy_core]
    for name, pids in watched.items():
        if pids:
            argv += ["--watch", "%s=%s" % (name, ",".join(str(p) for p in pids))]
    if rate:
        argv += ["--rate", rate]
    out = json.loads(run_tool(supervisor, "load", argv, core, seconds + warmup + 20))
    for name, pids in watched.items():
        if not pids:
            out["watched"][name] = {"alive": True, "cpu_us_per_request": 0.0, "busy": 0.0, "waited": 0.0}
    return out


def machine():
    """The facts without which a figure means nothing."""
    facts = {"cpu": "unknown", "cores": os.cpu_count(), "kernel": os.uname().release}
    try:
        cpu = Path("/proc/cpuinfo").read_text()
        facts["cpu"] = cpu.partition("model name")[2].partition(":")[2].partition("\n")[0].strip() or "unknown"
        facts["virtual"] = " hypervisor" in cpu
        facts["memory_mb"] = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
        with open("/etc/os-release") as f:
            for line in f:
                if line.startswith("PRETTY_NAME="):
                    facts["system"] = line.split("=", 1)[1].strip().strip('"')
        facts["load_average"] = os.getloadavg()[0]
    except (OSError, ValueError, IndexError):
        pass
    return facts


def commit():
    """The commit that is measured; "+" when files that are built differ from it."""
    try:
        name = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "--", "dataplane", "api", "tools/bazel"], cwd=ROOT,
                                 capture_output=True, text=True, check=True)
        return name.stdout.strip() + ("+" if changed.stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def table(head, rows):
    """Aligned columns: the first to the left, the others to the right."""
    rows = [[str(c) for c in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for n, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("  ".join("-" * w for w in widths))
    return "\n".join(lines)


def main_guard(main):
    """Runs main(); a BenchError becomes a line and status 1, Ctrl-C status 130."""
    try:
        sys.exit(main())
    except BenchError as e:
        say("error: %s" % e)
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; everything that was started has been ended")
        sys.exit(130)
