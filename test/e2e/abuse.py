"""What the abuse tests share: a well-behaved client beside each attack, the memory that the attack costs, the table at the end.

An attack has a proxy of its own with one worker, so that the neighbour shares everything with the attacker and nothing that an
earlier attack left hides what this one costs. Growth is the highest resident memory during the attack (VmHWM) less that before.
WEFT_LONG=1: the long form.
"""

import contextlib
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import harness
from base import memory_kb, split_address, wait_until
from bootstraps import bootstrap, cluster, listener

LONG = os.environ.get("WEFT_LONG", "") not in ("", "0")
BOUND = 20.0
MB = 1 << 20
SECONDS = 10.0 if LONG else 0.5  # of an attack that can go on for as long as one likes
RATE = {"h1": 400, "h2": 200}    # requests a second of the neighbour
LIMITS = {"circuit_breakers": {"thresholds": [{k: 20000 for k in (
    "max_connections", "max_pending_requests", "max_requests", "max_retries")}]}}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER

ROWS = []


def wanted(number):
    """So many descriptors here and in children, or as many as may be had."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return number if hard == resource.RLIM_INFINITY else min(number, hard - 1000)


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class Neighbour:
    """neighbour.py as a child."""

    def __init__(self, ip):
        self.process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("neighbour.py")), ip],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.origin = self.process.stdout.readline().strip()

    def _tell(self, line, answer=True):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline()) if answer else None

    def start(self, at, protocol):
        self._tell("start %s %s %d" % (at, protocol, RATE[protocol]), answer=False)

    def wait_for(self, more):
        """Until it has so many further answers, or something went wrong, which stop() tells."""
        begun = self._tell("count")
        wait_until("%d answers for the neighbour" % more,
                   lambda: (now := self._tell("count")) < 0 or begun < 0 or now >= begun + more, BOUND)

    def stop(self):
        return self._tell("stop")

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Attack:
    """One attack under way: its proxy, and what it found."""

    def __init__(self, name, proxy, at):
        self.name, self.proxy, self.at, self.notes = name, proxy, at, []

    @property
    def pid(self):
        return self.proxy.child.pid

    def begin(self):
        with open("/proc/%d/clear_refs" % self.pid, "w") as f:
            f.write("5")  # VmHWM begins anew
        self.before = memory_kb(self.pid)

    def grown_kb(self):
        """The most so far."""
        return max(0, memory_kb(self.pid, "VmHWM") - self.before)

    def connect(self, receive_buffer=None, at=None, source=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(BOUND)
        if source:
            s.bind((source, 0))
        s.connect(split_address(at or self.at))
        return s

    def stat_at_least(self, name, value):
        wait_until(lambda: "%s is at least %d; it is %d" % (name, value, self.proxy.stat(name)),
                   lambda: self.proxy.stat(name) >= value, BOUND)

    def stat_at_most(self, name, value):
        wait_until(lambda: "%s is at most %d; it is %d" % (name, value, self.proxy.stat(name)),
                   lambda: self.proxy.stat(name) <= value, BOUND)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    s.close()


def close_all(sockets):
    for s in sockets:
        s.close()
    sockets.clear()


class AbuseTest(harness.TestCase):
    """`origin()` makes the attackers' origin, listening; `MANAGER` and `CLUSTER`: further fields of theirs."""

    MANAGER, CLUSTER = {}, {}

    @classmethod
    def prepare(cls):
        cls.neighbour = Neighbour(cls.env.network.ip("0.2"))
        cls.env.cleanups.append(cls.neighbour.close)
        cls.server = cls.origin()
        cls.env.cleanups.append(cls.server.close)
        cls.quiet = {}

    @classmethod
    def origin(cls):
        return harness.Origin(cls.env.network.ip("0.3"))

    def start_proxy(self, listeners=(), clusters=(), manager=None, **more):
        """A proxy whose first listener, "main", has the neighbour's route and everything else to the attackers' origin."""
        net = self.env.network
        at, admin = net.address(), net.address()
        main = listener("main", at, "origin", {**self.MANAGER, **(manager or {})}, route={"timeout": "0s"},
                        routes=[{"match": {"prefix": "/calm/"}, "route": {"cluster": "calm"}}])
        text = bootstrap(admin, [main, *listeners], [cluster("calm", self.neighbour.origin), *clusters, cluster(
            "origin", self.server.address, **{**LIMITS, **self.CLUSTER})], **more)
        self.proxies = getattr(self, "proxies", 0) + 1
        return self.env.start_proxy("proxy-%s-%d" % (self._testMethodName, self.proxies), text, admin,
                                    flags=("--drain-accept-ms", "0")), at

    def quiet_p99(self, protocol):
        if protocol not in self.quiet:
            proxy, at = self.start_proxy()
            self.neighbour.start(at, protocol)
            self.neighbour.wait_for(2 * RATE[protocol])
            self.quiet[protocol] = self.neighbour.stop()["p99"]
            proxy.child.end()
        return self.quiet[protocol]

    @contextlib.contextmanager
    def attack(self, name, protocol="h1", megabytes=32.0, **kwargs):
        """Yields an Attack; afterwards the neighbour has every answer, nothing crashed, at most `megabytes` were used."""
        quiet = self.quiet_p99(protocol)
        proxy, at = self.start_proxy(**kwargs)
        a = Attack(name, proxy, at)
        self.neighbour.start(at, protocol)
        self.neighbour.wait_for(20)
        a.begin()
        try:
            yield a
            self.neighbour.wait_for(50)  # it lives on
        finally:
            beside = self.neighbour.stop()
        grown = a.grown_kb() / 1024
        ROWS.append((name, beside, quiet, grown, megabytes, "; ".join(a.notes)))
        self.assertEqual(beside["wrong"], [])
        self.assertEqual(beside["good"], beside["sent"])
        self.assertTrue(proxy.child.alive(), proxy.child.text()[-3000:])
        self.assertLessEqual(grown, megabytes)
        self.assertEqual(proxy.child.end(), 0, proxy.child.text()[-3000:])

    def repeat(self, once):
        """once() for as long as attacks last; how many times that was."""
        end, n = time.monotonic() + SECONDS, 0
        while n == 0 or time.monotonic() < end:
            once()
            n += 1
        return n


def print_table():
    """Lines begin with "| ", by which tools/test finds them."""
    if not ROWS:
        return
    head = ("attack", "neighbour", "p99 quiet", "under attack", "goal", "memory", "bound", "notes")
    lines = [head]
    for name, beside, quiet, grown, bound, notes in ROWS:
        lines.append((name, "%d of %d" % (beside["good"], beside["sent"]), "%.1f ms" % quiet, "%.1f ms" % beside["p99"],
                      "%.1f ms" % (3 * quiet), "%.1f MB" % grown, "%.1f MB" % bound, notes))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        print("| " + "  ".join(cell.ljust(w) if i in (0, len(head) - 1) else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(line, widths))).rstrip())
    sys.stdout.flush()


def main():
    try:
        harness.main()
    finally:
        print_table()
