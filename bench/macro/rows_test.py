#!/usr/bin/env python3
"""Tests of the rows: what h2load says, what the summary makes of figures, the configurations, connections that stay idle, new TLS
connections.

usage: rows_test.py   (needs //bench/macro:origin in bazel-bin, h2load, openssl)
"""

import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import harness  # noqa: E402
import idle  # noqa: E402
import peers  # noqa: E402
import pki  # noqa: E402
import shape  # noqa: E402
from rows import http2, memory  # noqa: E402
from rows.base import Goal, Line, summary  # noqa: E402

H2LOAD = """\
finished in 136.46ms, 366421.16 req/s, 367.27MB/s
requests: 500 total, 500 started, %d done, %d succeeded, 0 failed, 0 errored, 0 timeout
status codes: %d 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 50.12MB (52550152) total, 439.51KB (450056) headers (space savings 85.48%%), 48.83MB (%d) data
"""


class H2loadTest(unittest.TestCase):
    def test_good(self):
        turn = http2.parse(H2LOAD % (500, 500, 500, 512000), 1024)
        self.assertEqual(turn["requests"], 500)
        self.assertAlmostEqual(turn["requests_per_s"], 500 / 0.13646)
        self.assertEqual(turn["errors"], {"total": 0, "first": ""})

    def test_wrong_answers_are_errors(self):
        self.assertEqual(http2.parse(H2LOAD % (499, 499, 499, 510976), 1024)["errors"]["total"], 1)
        self.assertEqual(http2.parse(H2LOAD % (500, 500, 490, 501760), 1024)["errors"]["total"], 10)
        self.assertEqual(http2.parse(H2LOAD % (500, 500, 500, 511999), 1024)["errors"]["total"], 1)  # a byte is missing

    def test_something_else(self):
        with self.assertRaisesRegex(harness.BenchError, "something unknown"):
            http2.parse("usage: h2load", 1024)


class SummaryTest(unittest.TestCase):
    def line(self, figures, ratios, goals=(Goal(1.25, "relay"), Goal(0.35, "envoy")), wrong=""):
        return Line("h1", "us/request", "%.1f", list(goals), figures, ratios, wrong)

    def test_met(self):
        line = self.line({"weft-proxy": 12.0, "relay": 10.0, "envoy": 40.0}, {"relay": 1.2, "envoy": 0.3})
        self.assertEqual(line.cells(), ["h1", "us/request", "12.0", "10.0", "-", "-", "40.0", "1.20 x relay, 0.30 x envoy", "1.25 x, 0.35 x", "yes"])
        self.assertIn("1.20 x relay", summary([line]))

    def test_one_goal_of_two_missed(self):
        self.assertEqual(self.line({"weft-proxy": 13.0}, {"relay": 1.3, "envoy": 0.3}).cells()[-1], "no")

    def test_a_peer_is_missing(self):
        self.assertEqual(self.line({"weft-proxy": 12.0}, {"relay": 1.2}).cells()[-1], "not measured")

    def test_errors_are_no_result(self):
        line = self.line({"weft-proxy": 12.0}, {"relay": 1.2, "envoy": 0.3}, wrong="errors of envoy")
        self.assertEqual(line.cells()[-1], "errors of envoy")

    def test_a_figure_of_its_own(self):
        self.assertEqual(self.line({"weft-proxy": 1.9}, {}, [Goal(2.0)]).cells()[-3:], ["-", "2", "yes"])
        self.assertEqual(self.line({"weft-proxy": 2.1}, {}, [Goal(2.0)]).cells()[-1], "no")
        self.assertEqual(self.line({}, {}, [Goal(2.0)]).cells()[-1], "not measured")


class ShapeTest(unittest.TestCase):
    """Each shape of the rows, as the peers get it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.pki = pki.Pki(Path(cls.folder.name))

    def test_tls_files_are_named(self):
        text = shape.bootstrap(shape.Shape(down_tls=True, up_tls=True, up="h2", pki=self.pki), 1, 2, 3)
        listener, cluster = (json.loads(text)["static_resources"][k][0] for k in ("listeners", "clusters"))
        self.assertTrue(listener["filter_chains"][0]["transport_socket"]["typed_config"]["require_client_certificate"])
        self.assertEqual(cluster["transport_socket"]["typed_config"]["sni"], "server.bench")
        for name in (self.pki.ca, self.pki.server.chain, self.pki.server.key, self.pki.client.chain):
            self.assertIn(str(name), text)
            self.assertTrue(name.exists())

    def test_clusters(self):
        self.assertEqual(len(json.loads(shape.bootstrap(shape.Shape(clusters=7), 1, 2, 3))["static_resources"]["clusters"]), 8)

    def test_who_can_do_what(self):
        names = lambda s: [p.name for p in peers.chosen("", s)]  # noqa: E731
        self.assertEqual(names(shape.Shape()), peers.NAMES)
        self.assertNotIn("nginx", names(shape.Shape(up="h2")))
        self.assertNotIn("relay", names(shape.Shape(down_tls=True, pki=self.pki)))


class IdleTest(unittest.TestCase):
    """Against the origin itself."""

    def setUp(self):
        if not harness.built("//bench/macro:origin").exists():
            self.fail("bazel build //bench/macro/... first")
        supervisor = harness.Supervisor()
        supervisor.__enter__()
        self.addCleanup(supervisor.__exit__, None, None, None)
        self.origin, self.port = supervisor.start_announcing(
            "origin", [harness.built("//bench/macro:origin"), "--listen", "127.0.0.1:0", "--bytes", "1024"], None)

    def requests(self):
        return json.loads(harness.fetch(self.port, "/-/stats")[1])["requests"]

    def test_http1(self):
        with idle.Sockets(self.port, 70) as sockets:
            sockets.use(1024)
            self.assertEqual(self.requests(), 70)

    def test_http2_requests(self):
        with idle.Sockets(self.port, 5) as sockets:
            sockets.begin_h2()
            self.assertEqual(self.requests(), 0)
            sockets.use_h2()
            self.assertEqual(self.requests(), 5)

    def test_http2_streams_stay_open(self):
        with idle.Sockets(self.port, 2) as sockets:
            sockets.begin_h2()
            sockets.open_streams(100)
            self.assertEqual(self.requests(), 200)

    def test_websockets(self):
        with idle.Sockets(self.port, 3) as sockets:
            sockets.upgrade()
            with self.assertRaisesRegex(harness.BenchError, "connection 0 was closed"):
                sockets.sockets[0].shutdown(socket.SHUT_WR)
                sockets.receive(0)

    def test_what_is_not_answered_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
            with idle.Sockets(server.getsockname()[1], 1) as sockets:
                with self.assertRaises((harness.BenchError, OSError)):
                    sockets.begin_h2()

    def test_grpc_answers(self):
        body = Path(self.enterContext(tempfile.TemporaryDirectory())) / "message"
        body.write_bytes(http2.Grpc.message)
        said = subprocess.run(["nghttp", "-v", "-d", str(body), "-H", "content-type: application/grpc", "http://127.0.0.1:%d/x" % self.port],
                              capture_output=True, timeout=20).stdout
        self.assertIn(b"grpc-status: 0", said)
        self.assertIn(b"\0\0\0\x04\0abcdefghij", said)

    def test_every_kind_of_idle_has_words(self):
        self.assertEqual(set(memory.TITLES), {k.name for k in memory.KINDS})


class TlsServer:
    """Takes connections of clients that have a certificate; `resumed`: how many of them had a session."""

    def __init__(self, folder, ca):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.context.load_verify_locations(ca)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.whole = self.resumed = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(plain, server_side=True) as tls:
                    self.whole += 1
                    self.resumed += tls.session_reused
                    if tls.recv(4096):
                        tls.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                        tls.recv(4096)
                    tls.unwrap()
            except OSError:
                pass
            finally:
                plain.close()


class HandshakesTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.pki = pki.Pki(self.folder)

    def run_it(self, ca, *flags):
        server = TlsServer(self.folder, ca)
        self.addCleanup(server.listener.close)
        me = subprocess.Popen(["sleep", "60"])
        self.addCleanup(me.wait)
        self.addCleanup(me.kill)
        done = subprocess.run([sys.executable, HERE / "handshakes.py", "--port", str(server.port), "--seconds", "0.3", "--warmup", "0.1",
                               "--folder", self.folder, "--name", "server.bench", "--watch", str(me.pid), *flags],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return server, json.loads(done.stdout)

    def test_full(self):
        server, turn = self.run_it(self.pki.ca)
        self.assertEqual(turn["errors"]["total"], 0, turn)
        self.assertGreater(turn["requests"], 0)
        self.assertGreaterEqual(server.whole, turn["requests"])
        self.assertEqual(server.resumed, 0)
        self.assertEqual(turn["watched"]["proxy"]["cpu_us_per_request"], 0)  # sleep does nothing

    def test_resumed(self):
        server, turn = self.run_it(self.pki.ca, "--resume")
        self.assertEqual(turn["errors"]["total"], 0, turn)
        self.assertGreaterEqual(server.resumed, turn["requests"])

    def test_a_server_that_refuses_the_client_is_an_error(self):
        other = self.folder / "other"
        other.mkdir()
        _, turn = self.run_it(pki.Pki(other).ca)
        self.assertEqual(turn["requests"], 0, turn)
        self.assertGreater(turn["errors"]["total"], 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
