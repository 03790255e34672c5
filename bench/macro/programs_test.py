#!/usr/bin/env python3
"""Tests of the programs that the figures rest on: does the load generator notice every kind of wrong answer, does it count what
really happened, does the relay keep bytes in order when sockets are full, is CPU charged right, is everything ended.

usage: programs_test.py LOAD ORIGIN RELAY
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

LOAD, ORIGIN, RELAY = (str(Path(a).resolve()) for a in sys.argv[1:4]) if len(sys.argv) > 3 else ("", "", "")
BODY = bytes(ord("a") + i % 26 for i in range(1024))
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n" + BODY


class FakeServer:
    """Answers each request with answer(n), a list of pieces; None closes the connection."""

    def __init__(self, answer):
        self.answer, self.requests, self.connections = answer, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(s)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            while s.recv(65536):
                self.requests += 1
                for piece in self.answer(self.requests):
                    if piece is None:
                        s.close()
                        return
                    s.sendall(piece)
                    if len(piece) < 100:
                        time.sleep(0.002)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for s in self.open:
            s.close()


def load(port, *flags, connections=4, seconds=0.4, warmup=0.05):
    result = subprocess.run([LOAD, "--connect", "127.0.0.1:%d" % port, "--connections", str(connections), "--seconds", str(seconds),
                             "--warmup", str(warmup), *map(str, flags)], capture_output=True, text=True, timeout=30)
    return result, json.loads(result.stdout) if result.returncode == 0 else None


class LoadTest(unittest.TestCase):
    def wrong(self, kind, *pieces):
        """Every answer is wrong in one way: nothing counts as done, all errors are of that kind."""
        with FakeServer(lambda n: pieces) as server:
            result, figures = load(server.port)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(figures["requests"], 0, figures)
            self.assertGreater(figures["errors"][kind], 0, figures)
            self.assertEqual(figures["errors"]["total"], figures["errors"][kind], figures)
            return figures

    def test_good_answers(self):
        with FakeServer(lambda n: [GOOD]) as server:
            _, figures = load(server.port, warmup=0)
            self.assertEqual(figures["errors"]["total"], 0, figures)
            self.assertEqual(figures["reconnects"], 0)
            self.assertEqual(server.connections, 4)
            self.assertGreater(figures["requests"], 50)
            self.assertLessEqual(abs(server.requests - figures["requests"]), 8)

    def test_answers_in_pieces(self):
        cut = [GOOD[:7], GOOD[7:40], GOOD[40:42], GOOD[42:600], GOOD[600:]]
        with FakeServer(lambda n: cut) as server:
            _, figures = load(server.port)
            self.assertEqual(figures["errors"]["total"], 0, figures)
            self.assertGreater(figures["requests"], 10)

    def test_status(self):
        figures = self.wrong("status", GOOD.replace(b"200 OK", b"503 Service Unavailable"))
        self.assertIn("503", figures["errors"]["first"])

    def test_wrong_length(self):
        self.wrong("length", b"HTTP/1.1 200 OK\r\ncontent-length: 1023\r\n\r\n" + BODY[:1023])

    def test_no_length(self):
        self.wrong("length", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n400\r\n" + BODY + b"\r\n0\r\n\r\n")

    def test_length_with_rubbish(self):
        self.wrong("length", GOOD.replace(b"1024", b"1024x"))

    def test_one_wrong_byte(self):
        self.wrong("body", GOOD[:-1] + b"!")

    def test_cut_body(self):
        self.wrong("eof", GOOD[:-1], None)

    def test_cut_head(self):
        self.wrong("eof", GOOD[:20], None)

    def test_too_much(self):
        self.wrong("malformed", GOOD + b"x")

    def test_not_http(self):
        self.wrong("malformed", b"SSH-2.0-hello\r\n\r\n")

    def test_closed_without_an_answer(self):
        self.wrong("eof", None)

    def test_one_error_among_good_answers(self):
        with FakeServer(lambda n: [GOOD if n != 50 else GOOD.replace(b"200", b"500")]) as server:
            _, figures = load(server.port)
            self.assertEqual(figures["errors"]["total"], 1, figures)
            self.assertGreater(figures["requests"], 50)

    def test_announced_close_is_no_error_but_counted(self):
        closing = GOOD.replace(b"\r\ncontent", b"\r\nConnection: close\r\ncontent")
        with FakeServer(lambda n: [closing, None]) as server:
            _, figures = load(server.port)
            self.assertEqual(figures["errors"]["total"], 0, figures)
            self.assertGreater(figures["reconnects"], 0)

    def test_nobody_listens(self):
        result, _ = load(harness.free_port())
        self.assertEqual(result.returncode, 1)
        self.assertIn("Connection refused", result.stderr)

    def test_open_loop_keeps_its_rate(self):
        with FakeServer(lambda n: [GOOD]) as server:
            _, figures = load(server.port, "--rate", 200, seconds=1)
            self.assertAlmostEqual(figures["requests"], 200, delta=25)

    def test_open_loop_counts_waiting(self):
        # 4 connections, 50 ms an answer: 80 answers/s at most. At 160/s the waiting time grows and must be in the latency.
        def slow(n):
            time.sleep(0.05)
            return [GOOD]
        with FakeServer(slow) as server:
            _, figures = load(server.port, "--rate", 160, seconds=1)
            self.assertGreater(figures["latency_us"]["p99"], 200_000)
        with FakeServer(slow) as server:
            _, figures = load(server.port, seconds=1)
            self.assertLess(figures["latency_us"]["p50"], 100_000)
            self.assertGreaterEqual(figures["latency_us"]["p50"], 50_000 * 63 / 64)

    def test_only_loopback(self):
        result = subprocess.run([LOAD, "--connect", "192.0.2.1:80"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn("127.x.y.z:PORT", result.stderr)

    def test_flags(self):
        for flags, text in ((["--seconds", "x"], "--seconds: expected a number"), (["--nonsense", "1"], "unknown flag --nonsense"),
                            (["--seconds"], "needs a value"), (["--watch", "p=1,x"], "--watch: expected name=PID")):
            result = subprocess.run([LOAD, "--connect", "127.0.0.1:1", *flags], capture_output=True, text=True)
            self.assertEqual(result.returncode, 2)
            self.assertIn(text, result.stderr)


class ChainTest(unittest.TestCase):
    """load, relay and origin together."""

    def setUp(self):
        self.supervisor = harness.Supervisor()
        self.supervisor.__enter__()
        self.addCleanup(self.supervisor.__exit__, None, None, None)

    def chain(self, size):
        origin, origin_port = self.supervisor.start_announcing("origin", [ORIGIN, "--listen", "127.0.0.1:0", "--bytes", size], None)
        relay, port = self.supervisor.start_announcing(
            "relay", [RELAY, "--listen", "127.0.0.1:0", "--connect", "127.0.0.1:%d" % origin_port], None)
        return origin, origin_port, relay, port

    def test_every_answer_came_from_the_origin(self):
        _, origin_port, _, port = self.chain(1024)
        _, figures = load(port, warmup=0, connections=16)
        stats = json.loads(harness.fetch(origin_port, "/-/stats")[1])
        self.assertEqual(figures["errors"]["total"], 0, figures)
        self.assertGreaterEqual(stats["requests"], figures["requests"])
        self.assertLessEqual(stats["requests"], figures["requests"] + 16)

    def test_large_bodies_when_sockets_are_full(self):
        _, _, _, port = self.chain(3_000_000)
        _, figures = load(port, "--bytes", 3_000_000, connections=8, seconds=1)
        self.assertEqual(figures["errors"]["total"], 0, figures)
        self.assertGreater(figures["requests"], 5)

    def test_a_slow_reader_gets_every_byte(self):
        _, _, _, port = self.chain(3_000_000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", port))
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.3)
            got = b""
            while len(got.partition(b"\r\n\r\n")[2]) < 3_000_000:
                part = s.recv(65536)
                self.assertTrue(part)
                got += part
            self.assertEqual(got.partition(b"\r\n\r\n")[2], (BODY[:26] * 115385)[:3_000_000])

    def test_pipelined_requests_are_answered_in_order(self):
        _, port, _, _ = self.chain(10)
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(b"GET /-/echo?1 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /-/echo?3 HTTP/1.1\r\n\r\nGET /-")
            time.sleep(0.1)
            s.sendall(b"/echo?4 HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n\r\n")
            got = b""
            while True:
                part = s.recv(65536)
                if not part:
                    break
                got += part
            places = [got.index(x) for x in (b"echo?1", b"abcdefghij", b"echo?3", b"echo?4", b"405 Method")]
            self.assertEqual(places, sorted(places))

    def test_the_relay_ends_both_sides(self):
        _, _, relay, port = self.chain(10)

        def descriptors():
            return len(os.listdir("/proc/%d/fd" % relay.pid))

        before = descriptors()
        for _ in range(20):
            harness.fetch(port)
        deadline = time.monotonic() + 5
        while descriptors() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(descriptors(), before)

    def test_cpu_is_charged_right(self):
        """Three clocks agree: the load generator's figure, the process clock read from here, and rusage at the end."""
        origin, _, relay, port = self.chain(1024)
        before = harness.cpu_ns(relay.pid)
        _, figures = load(port, "--watch", "relay=%d" % relay.pid, "--watch", "origin=%d" % origin.pid, warmup=0, seconds=1,
                          connections=16)
        used = harness.cpu_ns(relay.pid) - before
        seen = figures["watched"]["relay"]["cpu_us_per_request"] * 1e3 * figures["requests"]
        # From here connecting and the last answers are in the figure too, so that it is a little larger.
        self.assertLess(seen, used * 1.001)
        self.assertGreater(seen, used * 0.9)
        ticks = figures["watched"]["relay"]["ticks_us_per_request"] * 1e3 * figures["requests"]
        self.assertLess(abs(ticks - seen), max(20_000_000, 0.05 * seen))  # its steps are 10 ms
        total = harness.cpu_ns(relay.pid)
        relay.process.terminate()
        _, _, usage = os.wait4(relay.pid, 0)
        relay.process.returncode = 0
        self.assertLess(abs((usage.ru_utime + usage.ru_stime) * 1e9 - total), 20_000_000)

    def test_a_dead_proxy_is_seen(self):
        _, _, relay, port = self.chain(1024)
        threading.Timer(0.3, relay.process.kill).start()
        _, figures = load(port, "--watch", "relay=%d" % relay.pid, seconds=0.8)
        relay.process.wait()
        self.assertGreater(figures["errors"]["total"], 0)


class SupervisorTest(unittest.TestCase):
    SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[1])
import harness
def main():
    with harness.Supervisor() as s:
        child, port = s.start_announcing("origin", [sys.argv[2], "--listen", "127.0.0.1:0"], None)
        stubborn = s.start("stubborn", ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        time.sleep(0.3)
        print(child.pid, stubborn.pid, s.folder, flush=True)
        time.sleep(60)
harness.main_guard(main)
"""

    def end_by(self, number, expected):
        lib = Path(__file__).resolve().parents[1] / "lib"
        process = subprocess.Popen([sys.executable, "-c", self.SCRIPT, str(lib), ORIGIN], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        origin, stubborn, folder = process.stdout.readline().split()
        self.assertTrue(Path("/proc/" + origin).exists())
        process.send_signal(number)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, expected)
        deadline = time.monotonic() + 5
        while Path("/proc/" + origin).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertFalse(Path("/proc/" + origin).exists(), "the origin outlived the command")
        return stubborn, folder

    def test_interrupt(self):
        stubborn, folder = self.end_by(signal.SIGINT, 130)
        self.assertFalse(Path("/proc/" + stubborn).exists())
        self.assertFalse(Path(folder).exists())

    def test_termination(self):
        stubborn, folder = self.end_by(signal.SIGTERM, 130)
        self.assertFalse(Path("/proc/" + stubborn).exists())
        self.assertFalse(Path(folder).exists())

    def test_kill(self):
        # Nothing can be done then but what the kernel does: SIGTERM to the children.
        stubborn, folder = self.end_by(signal.SIGKILL, -signal.SIGKILL)
        os.kill(int(stubborn), signal.SIGKILL)
        for path in Path(folder).glob("*"):
            path.unlink()
        Path(folder).rmdir()

    def test_a_program_that_fails_is_quoted(self):
        with harness.Supervisor() as s:
            child = s.start("failing", ["/bin/sh", "-c", "echo the port is taken >&2; exit 3"])
            with self.assertRaisesRegex(harness.BenchError, "(?s)failing ended with status 3.*the port is taken"):
                s.wait_ready(child, lambda: False, 5)

    def test_a_program_that_hangs_is_reported(self):
        with harness.Supervisor() as s:
            child = s.start("hanging", ["/bin/sleep", "60"])
            with self.assertRaisesRegex(harness.BenchError, "hanging gave no answer within 0.2 s"):
                s.wait_ready(child, lambda: False, 0.2)


if __name__ == "__main__":
    if not LOAD:
        sys.exit(__doc__)
    unittest.main(argv=[sys.argv[0]], verbosity=2)
