#!/usr/bin/env python3
"""HTTP/2 downstream, end to end: the real proxy, and curl, nghttp2's load generator, Python's h2 and Envoy as its peers."""

import base64
import hashlib
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import harness
import http2
from harness import Client, wait_until
from bootstraps import bootstrap, cluster, listener
from http2 import H1Recorder, H2Client


def no_reader(connection, got):
    """Answers 1 MB for ever to whoever asks; used to see that nobody buffers it."""
    while b"\r\n\r\n" not in got:
        data = connection.recv(65536)
        if not data:
            return
        got += data
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
    piece = b"y" * 65536
    while True:
        connection.sendall(piece)


def trailers(connection, got):
    """A chunked answer with trailers, once the whole chunked request is there; 103 first."""
    while b"\r\n0\r\n" not in got or not got.endswith(b"\r\n\r\n"):
        data = connection.recv(65536)
        if not data:
            return
        got += data
    connection.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
                       b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
                       b"5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n")


def websocket(connection, got):
    """Agrees to an Upgrade, then sends back what comes."""
    while b"\r\n\r\n" not in got:
        data = connection.recv(65536)
        if not data:
            return
        got += data
    key = re.search(rb"\r\nsec-websocket-key: (\S+)\r\n", bytes(got), re.I).group(1)
    proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: " +
                       proof + b"\r\n\r\nhello")
    while True:
        data = connection.recv(65536)
        if not data:
            connection.sendall(b"bye")
            return
        connection.sendall(data)


def cut(connection, got):
    """Half of a chunked answer."""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")


class Base(harness.TestCase):
    MANAGER = {}

    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.origin = cls.env.start_origin()
        cls.at, cls.admin = net.address(), net.address()
        cls.log = str(Path(cls.env.folder) / "access.log")
        manager = {"access_log": [{"name": "f", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": cls.log,
            "log_format": {"text_format_source": {
                "inline_string": "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"}}}}],
            **cls.MANAGER}
        cls.recorders = {}
        listeners = [listener("main", cls.at, "origin", manager)]
        clusters = [cluster("origin", cls.origin.address)]
        for name, serve in (("trailers", trailers), ("cut", cut), ("flood", no_reader), ("websocket", websocket)):
            at, origin_at = net.address(), net.address()
            cls.recorders[name] = H1Recorder(origin_at, serve)
            setattr(cls, "at_" + name, at)
            listeners.append(listener(name, at, name, {"codec_type": "HTTP2", **cls.MANAGER}))
            clusters.append(cluster(name, origin_at))
        cls.at_relay = net.address()  # HTTP/2 both ways, through this proxy twice
        listeners.append(listener("relay", cls.at_relay, "relay", cls.MANAGER))
        clusters.append(cluster("relay", cls.at_websocket, http2=True))
        cls.proxy = cls.env.start_proxy("proxy", bootstrap(cls.admin, listeners, clusters), cls.admin)

    def lines(self):
        return open(self.log).read().splitlines() if os.path.exists(self.log) else []

    def stat_is(self, name, value):
        wait_until(lambda: "%s is %d; it is %d" % (name, value, self.proxy.stat(name)),
                   lambda: self.proxy.stat(name) == value, 20)


class Http2Test(Base):
    def test_curl(self):
        def curl(*argv):
            done = subprocess.run([http2.peer("curl"), "-sS", "-w", "%{http_version} %{http_code} %{size_download}\n", "-o",
                                   "/dev/null", *argv], capture_output=True, timeout=60, text=True)
            return done.stdout.strip() or done.stderr

        url = "http://%s" % self.at
        self.assertEqual(curl("--http2-prior-knowledge", url + "/?size=300000"), "2 200 300000")
        self.assertEqual(curl("--http2-prior-knowledge", url + "/?chunked&size=300000"), "2 200 300000")
        self.assertEqual(curl("--http2-prior-knowledge", "-I", url + "/"), "2 200 0")
        self.assertEqual(curl("--http2-prior-knowledge", url + "/?status=304"), "2 304 0")
        self.assertEqual(curl("--http2-prior-knowledge", url + "/?status=204"), "2 204 0")
        # The same port speaks HTTP/1.1, and never changes to HTTP/2 on a connection that began so.
        self.assertEqual(curl(url + "/?size=7"), "1.1 200 7")
        self.assertEqual(curl("--http2", url + "/?size=7"), "1.1 200 7")
        wait_until("the access log says so", lambda: "HEAD / HTTP/2 200 - via_upstream" in self.lines(), 20)

    def test_upload_and_echo(self):
        with H2Client(self.at) as c:
            body = os.urandom(1_500_000).hex().encode()
            s = c.ask("/up", "POST", [("x-a", "b"), ("cookie", "a=1"), ("cookie", "b=2")], body)
            self.assertEqual(s.status, 200)
            import json
            got = json.loads(bytes(s.body))
            self.assertEqual(got["body"], body.decode())
            fields = {k.lower(): v for k, v in got["headers"]}
            self.assertEqual(fields["cookie"], "a=1; b=2")
            self.assertEqual(fields["host"], "a.example")
            self.assertEqual(fields["transfer-encoding"], "chunked")
            s = c.ask("/up", "PUT", [("content-length", "3")], b"abc")
            fields = {k.lower(): v for k, v in json.loads(bytes(s.body))["headers"]}
            self.assertEqual(fields["content-length"], "3")

    def test_many_streams_at_once(self):
        before = self.proxy.stat("http.main.downstream_rq_http2_total")
        with H2Client(self.at) as c:
            ids = [c.request("/?size=%d" % (i * 1000)) for i in range(100)]
            for i, stream in enumerate(ids):
                self.assertEqual(len(c.wait(stream).body), i * 1000)
        self.assertGreaterEqual(self.proxy.stat("http.main.downstream_rq_http2_total") - before, 100)
        self.stat_is("http2.streams_active", 0)

    def test_trailers_and_hints_both_ways(self):
        with H2Client(self.at_trailers) as c:
            stream = c.request("/", "POST", end=False)
            c.send(stream, b"part one, ")
            c.send(stream, b"part two")
            c.trailers(stream, [("x-check", "7"), ("grpc-status", "0")])
            s = c.wait(stream)
            self.assertEqual((s.status, bytes(s.body)), (200, b"hello"))
            self.assertEqual(s.trailers, [("x-sum", "42")])
            self.assertEqual(s.hints, ["103"])
        seen = bytes(self.recorders["trailers"].seen[-1])
        self.assertTrue(seen.endswith(b"0\r\nx-check: 7\r\ngrpc-status: 0\r\n\r\n"), seen)

    def test_an_answer_cut_short_never_looks_complete(self):
        with H2Client(self.at_cut) as c:
            s = c.ask("/")
            self.assertFalse(s.ended)
            self.assertIsNotNone(s.reset)
            self.assertEqual(c.goaways, [])

    def test_a_reader_that_stops_costs_little_memory(self):
        with H2Client(self.at_flood, auto_window=False) as c:
            before = harness.memory_kb(self.proxy.child.process.pid)
            ids = [c.request("/") for _ in range(50)]
            for stream in ids:
                c.until("the head", lambda: c.streams[stream].head is not None)
            wait_until("the first window is used up", lambda: not c.pump(0.05) if self._quiet(c) else False, 20)
            grown = harness.memory_kb(self.proxy.child.process.pid) - before
            print("50 stalled streams: %d KB" % grown)
            self.assertLess(grown, 4 * 1024)  # 20 KB each at most where there are many: memory_test.py
            for stream in ids:
                c.h2.reset_stream(stream, 8)
            c.flush()
        self.stat_is("cluster.flood.upstream_rq_active", 0)

    @staticmethod
    def _quiet(c):
        try:
            while c.pump(0.2):
                pass
        except (TimeoutError, socket.timeout):
            c.closed = True
        return True

    def test_the_peer_resets_and_the_upstream_request_ends(self):
        with H2Client(self.at) as c:
            stream = c.request("/?delay=15")
            self.stat_is("cluster.origin.upstream_rq_active", 1)
            c.h2.reset_stream(stream, 8)
            c.flush()
            self.stat_is("cluster.origin.upstream_rq_active", 0)
            self.assertEqual(c.ask("/?size=3").status, 200)
        wait_until("the log has it", lambda: any(l.startswith("GET /?delay=15 HTTP/2 0 DC") or l.startswith("GET /?delay=15 HTTP/2 0 DR")
                                                 for l in self.lines()), 20)

    def test_a_request_that_could_smuggle_is_refused(self):
        """What would be two requests on HTTP/1, or another host than the one that was routed by."""
        before = self.origin.requests
        for headers, path, authority, method in (
                ([("host", "other.example")], "/", "a.example", "GET"),
                ([], "/ HTTP/1.1\r\nx: y", "a.example", "GET"),
                ([], "/a b", "a.example", "GET"),
                ([], "/a#b", "a.example", "GET"),
                ([], "relative", "a.example", "GET"),
                ([], "/", "a.example\r\nx: y", "GET"),
                ([], "/", "user@a.example", "GET"),
                ([], "/", "", "GET"),
                ([], "/", "a.example", "GET / HTTP/1.1\r\n"),
                ([("x", "a\r\nb: c")], "/", "a.example", "GET"),
                ([("x", "a\0b")], "/", "a.example", "GET"),
                ([("x y", "a")], "/", "a.example", "GET"),
                ([("X-Upper", "a")], "/", "a.example", "GET"),
                ([("transfer-encoding", "chunked")], "/", "a.example", "POST"),
                ([("connection", "x")], "/", "a.example", "GET"),
                ([("upgrade", "h2c")], "/", "a.example", "GET"),
                ([("te", "gzip")], "/", "a.example", "GET"),
                ([("content-length", "1")], "/", "a.example", "POST"),
                ([("content-length", "+5")], "/", "a.example", "POST"),
                ([("content-length", "5"), ("content-length", "5")], "/", "a.example", "POST")):
            case = "%r %r %r %r" % (method, path, authority, headers)
            with H2Client(self.at, validate=False) as c:
                stream = c.request(path, method, headers, b"hello" if method == "POST" else None, authority=authority)
                try:
                    s = c.wait(stream)
                    self.assertTrue(s.reset is not None or s.status == 400, "%s: %s" % (case, s.status))
                except http2.Trouble:
                    self.assertTrue(c.closed, case)
        self.assertEqual(self.origin.requests, before)

    def test_a_head_too_large_is_answered_on_its_stream(self):
        with H2Client(self.at) as c:
            c.h2.update_settings({})
            big = c.request("/", headers=[("x-%d" % i, "v" * 1000) for i in range(70)])
            small = c.request("/?size=1")
            self.assertEqual(c.wait(big).status, 431)
            self.assertEqual(c.wait(small).status, 200)
            self.assertEqual(c.goaways, [])
        wait_until("it is counted", lambda: self.proxy.stat("http.main.downstream_rq_too_large") >= 1, 20)

    def test_h2load(self):
        done = subprocess.run([http2.peer("h2load"), "-n", "2000", "-c", "4", "-m", "20", "http://%s/?size=10" % self.at],
                              capture_output=True, timeout=120, text=True)
        self.assertIn("2000 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout, done.stdout + done.stderr)

    def test_counters(self):
        with H2Client(self.at) as c:
            c.ask("/")
            wait_until("the connection counts", lambda: self.proxy.stat("http.main.downstream_cx_http2_active") >= 1, 20)
        self.stat_is("http.main.downstream_cx_http2_active", 0)
        with Client(self.at) as c:
            c.ask("/")
            wait_until("so does one of HTTP/1", lambda: self.proxy.stat("http.main.downstream_cx_http1_active") == 1, 20)
        self.stat_is("http.main.downstream_cx_http1_active", 0)


class FloodTest(Base):
    """Each flood ends its own connection, with GOAWAY ENHANCE_YOUR_CALM and a counter; a client beside it notices nothing."""

    CALM = 11

    def flood(self, counter, send, clients=None):
        before = self.proxy.stat("http2." + counter)
        with H2Client(self.at) as well_behaved, H2Client(self.at) as c:
            self.assertEqual(well_behaved.ask("/?size=10").status, 200)
            c.h2.max_inbound_frame_size = 1 << 24
            try:
                send(c)
                c.wait_closed()
            except h2_errors():
                pass
            self.assertEqual(well_behaved.ask("/?size=10").status, 200)
            self.assertEqual(well_behaved.goaways, [])
            goaways = [e for _, e in c.goaways]
        self.assertIn(self.CALM, goaways)
        self.assertEqual(self.proxy.stat("http2." + counter), before + 1)

    def test_rapid_reset(self):
        def send(c):
            for _ in range(1200):
                stream = c.h2.get_next_available_stream_id()
                c.h2.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
                                  end_stream=True)
                c.h2.reset_stream(stream, 8)
                if stream % 40 == 1:
                    c.flush()
            c.flush()

        before = self.origin.requests
        self.flood("inbound_reset_flood", send)
        self.assertLess(self.origin.requests - before, 1000)

    # So many at once that their answers are more than may wait.
    def test_ping(self):
        self.flood("outbound_control_flood", lambda c: c.raw(b"\0\0\x08\x06\0\0\0\0\0abcdefgh" * 5000))

    def test_settings(self):
        self.flood("outbound_control_flood", lambda c: c.raw(b"\0\0\0\x04\0\0\0\0\0" * 5000))

    def test_unknown_frames(self):
        self.flood("inbound_control_frames_flood", lambda c: c.raw(b"\0\0\0\x77\0\0\0\0\0" * 5000))

    def test_priority(self):
        self.flood("inbound_priority_frames_flood", lambda c: c.raw(b"\0\0\x05\x02\0\0\0\0\x05\0\0\0\x03\x10" * 500))

    def test_window_updates(self):
        self.flood("inbound_window_update_frames_flood", lambda c: c.raw(b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01" * 500))

    def test_empty_data(self):
        def send(c):
            stream = c.request("/", "POST", end=False)
            c.raw(b"\0\0\0\0\0" + stream.to_bytes(4, "big") + b"\0\0\0\0\0" + stream.to_bytes(4, "big"))

        self.flood("inbound_empty_frames_flood", send)

    def test_continuation(self):
        def send(c):
            stream = c.h2.get_next_available_stream_id()
            sid = stream.to_bytes(4, "big")
            c.raw(b"\0\0\x01\x01\0" + sid + b"\x82" + (b"\0\0\x01\x09\0" + sid + b"\x84") * 1)
            c.raw((b"\0\0\x07\x09\0" + sid + b"\x40\x02xx\x02yy") * 500)

        self.flood("inbound_continuation_flood", send)

    def test_hpack_bomb(self):
        def send(c):
            stream = c.h2.get_next_available_stream_id()
            sid = stream.to_bytes(4, "big")
            # One entry of 4 KB in the table, then one byte for each copy of it.
            entry = b"\x40\x02xx\x7f\xa1\x1e" + b"y" * 4000
            block = b"\x82\x84\x86\x41\x01a" + entry + b"\xbe" * 12000
            size = len(block).to_bytes(3, "big")
            c.raw(size + b"\x01\x05" + sid + block)

        self.flood("header_overflow", send)

    def test_resets_that_the_proxy_is_made_to_send(self):
        """MadeYouReset: a WINDOW_UPDATE that overflows the stream's window resets it, and only it."""
        def send(c):
            # Few at once: of many the proxy refuses most, and what counts first is that they are more window updates than streams.
            for _ in range(10):
                ids = [c.request("/?delay=1") for _ in range(40)]
                c.raw(b"".join(b"\0\0\x04\x08\0" + i.to_bytes(4, "big") + b"\x7f\xff\xff\xff" for i in ids))
                c.until("they are reset", lambda: c.goaways or all(c.streams[i].reset is not None for i in ids))
                if c.goaways:
                    return

        self.flood("outbound_reset_flood", send)
        self.stat_is("cluster.origin.upstream_rq_active", 0)


def h2_errors():
    return (http2.h2.exceptions.H2Error, OSError)


class IdleTest(Base):
    MANAGER = {"stream_idle_timeout": "1s", "common_http_protocol_options": {"idle_timeout": "1s", "max_requests_per_connection": 5},
               "http2_protocol_options": {"max_concurrent_streams": 3}}

    def test_an_idle_connection_is_told_and_closed(self):
        with H2Client(self.at) as c:
            self.assertEqual(c.ask("/").status, 200)
            c.wait_closed()
            self.assertEqual([e for _, e in c.goaways], [0])
            self.assertEqual(c.goaways[-1][0], 1)

    def test_a_stream_whose_window_stays_shut(self):
        with H2Client(self.at_flood, auto_window=False) as c:
            stream = c.request("/")
            c.until("the reset", lambda: c.streams[stream].reset is not None)
            self.assertFalse(c.streams[stream].ended)
        self.stat_is("cluster.flood.upstream_rq_active", 0)

    def test_an_upload_that_stops(self):
        with H2Client(self.at) as c:
            stream = c.request("/", "POST", end=False)
            s = c.wait(stream)
            self.assertEqual(s.status, 408)

    def test_requests_of_one_connection(self):
        with H2Client(self.at) as c:
            for _ in range(5):
                self.assertEqual(c.ask("/").status, 200)
            c.wait_closed()
            self.assertEqual([e for _, e in c.goaways], [0, 0])
            self.assertEqual(c.goaways[0][0], 0x7fffffff)
            self.assertEqual(c.goaways[1][0], 9)

    def test_streams_at_once(self):
        with H2Client(self.at) as c:
            c.until("SETTINGS", lambda: c.h2.remote_settings.max_concurrent_streams == 3)


class KeepAliveTest(Base):
    """PINGs of the server."""

    MANAGER = {"http2_protocol_options": {
        "connection_keepalive": {"interval": "0.2s", "timeout": "3s", "interval_jitter": {"value": 0}}}}
    PING, GOAWAY = 6, 7

    def raw(self, data):
        """A connection that sends this and answers nothing; the frames that come until its end: (type, flags, payload)."""
        s = socket.create_connection(http2.split_address(self.at), 20)
        self.addCleanup(s.close)
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" + data)
        got = b""
        while True:
            try:
                more = s.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                break
            got += more
        frames = []
        while len(got) >= 9:
            size = 9 + int.from_bytes(got[:3], "big")
            frames.append((got[3], got[4], got[9:size]))
            got = got[size:]
        return frames

    def test_a_peer_that_answers_stays(self):
        with H2Client(self.at) as c:
            self.assertEqual(c.ask("/?size=1").status, 200)
            seen = [0]
            take = c.take

            def count(events):
                seen[0] += sum(isinstance(e, http2.h2.events.PingReceived) for e in events)
                take(events)

            c.take = count
            c.until("five PINGs", lambda: seen[0] >= 5)  # each answered
            self.assertEqual(c.ask("/?size=1").status, 200)
            self.assertEqual(c.goaways, [])

    def test_a_peer_that_is_gone(self):
        before = self.proxy.stat("http2.keepalive_timeout")
        frames = self.raw(b"")
        self.assertEqual(sum(kind == self.PING and not flags for kind, flags, _ in frames), 1)
        self.stat_is("http2.keepalive_timeout", before + 1)


class HeadTimeTest(Base):
    """request_headers_timeout: GOAWAY ENHANCE_YOUR_CALM to who does not say what it wants."""

    MANAGER = {"request_headers_timeout": "2s"}

    def test_a_head_that_stops(self):
        with H2Client(self.at) as c:
            self.assertEqual(c.ask("/?size=1").status, 200)
            c.raw(b"\0\0\x01\x01\0\0\0\0\x03\x82")
            c.wait_closed()
            self.assertEqual([e for _, e in c.goaways], [11])

    def test_a_head_in_time_and_a_slow_body(self):
        with H2Client(self.at) as c:
            stream = c.request("/", "POST", end=False)
            wait_until("the request is under way", lambda: self.proxy.stat("cluster.origin.upstream_rq_active") == 1, 20)
            with H2Client(self.at) as other:  # as long as the limit lasts
                self.assertEqual(other.ask("/?size=1").status, 200)
                other.raw(b"\0\0\x01\x01\0\0\0\0\x03\x82")
                other.wait_closed()
            c.send(stream, b"late", end=True)
            self.assertEqual(c.wait(stream).status, 200)
            self.assertEqual(c.goaways, [])

    def test_nothing_after_the_preface(self):
        s = socket.create_connection(http2.split_address(self.at), 20)
        self.addCleanup(s.close)
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        got = b""
        try:
            while more := s.recv(65536):
                got += more
        except ConnectionResetError:
            pass
        goaway = got.index(b"\x07\0\0\0\0\0")
        self.assertEqual(got[goaway + 10:goaway + 14], b"\0\0\0\x0b")


class DrainTest(Base):
    def test_sigterm_finishes_what_is_under_way(self):
        with H2Client(self.at) as c:
            slow = c.request("/?delay=2&size=10")
            self.stat_is("cluster.origin.upstream_rq_active", 1)
            self.proxy.child.expected_to_end = True
            self.proxy.child.process.send_signal(signal.SIGTERM)
            c.until("the notice", lambda: len(c.goaways) > 0)
            s = c.wait(slow)
            self.assertEqual((s.status, len(s.body)), (200, 10))
            c.wait_closed()
            self.assertEqual([e for _, e in c.goaways][-1], 0)
        self.assertEqual(self.proxy.child.process.wait(30), 0)


class TunnelTest(Base):
    MANAGER = {"http2_protocol_options": {"allow_connect": True}, "upgrade_configs": [{"upgrade_type": "websocket"}]}

    def test_extended_connect_to_an_upgrade(self):
        """RFC 8441 downstream, HTTP/1's Upgrade upstream; both directions, and half-close."""
        self.tunnel(self.at_websocket)

    def test_extended_connect_both_ways(self):
        self.tunnel(self.at_relay)
        self.stat_is("cluster.relay.upstream_rq_active", 0)

    def tunnel(self, at):
        recorder = self.recorders["websocket"]
        with H2Client(at, validate=False) as c:
            c.until("SETTINGS_ENABLE_CONNECT_PROTOCOL", lambda: c.h2.remote_settings.enable_connect_protocol == 1)
            stream = c.request("/chat", "CONNECT", [(":protocol", "websocket"), ("sec-websocket-version", "13")], end=False)
            s = c.streams[stream]
            c.until("the greeting", lambda: bytes(s.body) == b"hello")
            self.assertEqual(s.status, 200)
            self.assertIsNone(s.header("upgrade"))
            self.assertIsNone(s.header("sec-websocket-accept"))  # the proxy's key, the proxy's proof
            c.send(stream, b"x" * 100_000)
            c.until("the echo", lambda: len(s.body) == 100_005)
            c.send(stream, b"", end=True)
            self.assertEqual(bytes(c.wait(stream).body[-3:]), b"bye")
        head = bytes(recorder.seen[-1]).lower()
        self.assertTrue(head.startswith(b"get /chat http/1.1\r\n"), head)
        self.assertIn(b"\r\nupgrade: websocket\r\n", head)
        self.assertNotIn(b":protocol", head)
        self.stat_is("cluster.websocket.upstream_rq_active", 0)

    def test_without_consent_there_is_no_tunnel(self):
        with H2Client(self.at, validate=False) as c:
            stream = c.request("/?size=4", "CONNECT", [(":protocol", "websocket")], end=False)
            s = c.wait(stream)
            self.assertEqual((s.status, len(s.body)), (200, 4))
        with H2Client(self.at, validate=False) as c:
            stream = c.request("/", "CONNECT", [(":protocol", "other")], end=False)
            self.assertEqual(c.wait(stream).status, 403)


class EnvoyTest(Base):
    def test_envoy_as_downstream_peer(self):
        """Envoy proxies over HTTP/2 to weft-proxy: what its clients ask by HTTP/1 arrives, many at once on few connections."""
        net = self.env.network
        at, admin = net.address(), net.address()
        envoy = self.env.start_envoy("envoy", bootstrap(admin, [listener("front", at, "weft")], [cluster("weft", self.at, http2=True)]),
                                     admin)
        before = self.proxy.stat("http.main.downstream_rq_http2_total")
        load = self.env.start_load(at, "/?size=2000", connections=8, rate=400)
        load.wait_for(800)
        load.stop()
        self.assertEqual(load.failed, 0, str(load))
        with Client(at) as c:
            for size in (0, 1, 100_000, 1_000_000):
                self.assertEqual(len(c.ask("/?size=%d" % size).body), size)
            self.assertEqual(c.ask("/", "POST", body=b"p" * 300_000).status, 200)
            self.assertEqual(c.ask("/?status=304").status, 304)
        self.assertGreater(self.proxy.stat("http.main.downstream_rq_http2_total") - before, 800)
        self.assertEqual(envoy.stat("cluster.weft.upstream_rq_tx_reset"), 0)
        self.assertEqual(envoy.stat("cluster.weft.http2.rx_reset"), 0)


if __name__ == "__main__":
    harness.main()
