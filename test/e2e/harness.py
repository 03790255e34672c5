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
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
import urllib.parse
import xml.etree.ElementTree
from pathlib import Path

# Tests find everything here.
from base import (PROGRAMS, Network, Trouble, Waiting, envoy, memory_kb, percentile, program, run, runnable_wait_ns,
                  source_file, split_address, wait_until)
from mesh import (SERVICE_ENTRY, STATIC, Demo, Mesh, Workload, destination_rule, versions_seen, virtual_service, weights)
from wire import Answer, Client, Closed, Load, Origin, Server, ask, get_json

_libc = ctypes.CDLL(None, use_errno=True)


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
            origin.close()
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

    def _note(self, test, problem=None, skipped=None):
        self.cases.append((test.id(), time.monotonic() - self.started_at, problem, skipped))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print("SKIPPED %s: %s" % (test.id(), reason))
        self._note(test, skipped=reason)

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
        for name, seconds, problem, skipped in result.cases:
            case = xml.etree.ElementTree.SubElement(suite, "testcase", name=name.rpartition(".")[2],
                                                    classname=name.rpartition(".")[0], time="%.3f" % seconds)
            if skipped:
                xml.etree.ElementTree.SubElement(case, "skipped", message=skipped)
            if problem:
                # XML 1.0 has no place for most control characters.
                clean = re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd]", "?", problem)
                xml.etree.ElementTree.SubElement(case, "failure", message=clean[:200]).text = clean
        xml.etree.ElementTree.ElementTree(suite).write(os.environ["XML_OUTPUT_FILE"])
    sys.exit(0 if result.wasSuccessful() else 1)
