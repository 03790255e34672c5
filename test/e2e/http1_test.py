#!/usr/bin/env python3
"""HTTP/1 that needs time or many connections: 100-continue from end to end, header case, and peers that stall, drip, leave and
reset at every point while a well-behaved client beside them gets every answer. Prints the memory that they cost."""

import socket
import struct
import threading
import time

import harness
from harness import Client, Server, memory_kb, percentile, wait_until

BOUND = 20.0
HEAD = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"
BIG = 8 << 20

BOOTSTRAP = """
node: {id: http1, cluster: http1}
admin:
  address: {socket_address: {address: %(ip)s, port_value: %(admin)d}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: %(ip)s, port_value: %(port)d}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          http_protocol_options: {header_key_format: {proper_case_words: {}}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: origin, timeout: 0s}
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: origin
    circuit_breakers: {thresholds: [{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}]}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http_protocol_options:
            header_key_format:
              stateful_formatter:
                name: preserve_case
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(origin)d}}}}]}]
"""


class ScriptOrigin(Server):
    """Answers by the target: /big, /expect, /expect-no, /reset-STEP, anything else with 200. Keeps the last head."""

    head = b""

    def serve(self, s):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = s.recv(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            self.head = head
            data = self._answer(s, head.split(b" ")[1], data)

    def _answer(self, s, target, data):
        if target == b"/big":
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
            for _ in range(BIG >> 16):
                s.sendall(b"x" * 65536)
        elif target == b"/expect":
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(data) < 5:
                data += s.recv(65536)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + data[:5])
            data = data[5:]
        elif target == b"/expect-no":
            s.sendall(b"HTTP/1.1 413 no\r\nContent-Length: 0\r\n\r\n")
        elif target.startswith(b"/reset-"):
            answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"
            s.sendall(answer[:int(target[7:])])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise OSError("reset")
        else:
            s.sendall(b"HTTP/1.1 200 OK\r\nx-camel-case: 1\r\nContent-Length: 2\r\n\r\nok")
        return data


class Beside:
    """A well-behaved client: one request after another until stop(); every answer must be whole."""

    def __init__(self, address):
        self.address, self.times, self.wrong, self.over = address, [], [], threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with Client(self.address, BOUND) as c:
                while not self.over.is_set() or len(self.times) < 20:
                    begun = time.monotonic()
                    answer = c.ask("/beside")
                    self.times.append(time.monotonic() - begun)
                    if answer.status != 200 or answer.body != b"ok":
                        self.wrong.append(answer)
                    self.over.wait(0.002)
        except Exception as e:  # told by stop()
            self.wrong.append(e)

    def stop(self):
        self.over.set()
        self.thread.join(2 * BOUND)
        return self.times, self.wrong


class Http1Test(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.ip = net.ip("0.1")
        cls.origin = ScriptOrigin(cls.ip)
        cls.env.cleanups.append(cls.origin.close)
        admin, cls.port = net.port(), net.port()
        cls.address = "%s:%d" % (cls.ip, cls.port)
        cls.proxy = cls.env.start_proxy("proxy", BOOTSTRAP % {"ip": cls.ip, "admin": admin, "port": cls.port,
                                                              "origin": cls.origin.port}, "%s:%d" % (cls.ip, admin))
        with Client(cls.address) as c:  # what is made at first use is made
            for _ in range(50):
                c.ask("/warm")

    def connect(self, receive_buffer=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(BOUND)
        s.connect((self.ip, self.port))
        return s

    def rss(self):
        return memory_kb(self.proxy.child.pid)

    def open_connections(self):
        return self.proxy.stat("http.main.downstream_cx_active")

    def beside(self, what, f):
        client = Beside(self.address)
        try:
            f()
        finally:
            times, wrong = client.stop()
        print("%s: beside it %d answers, p99 %.1f ms" % (what, len(times), percentile(times, 99) * 1e3))
        self.assertEqual(wrong, [])

    def test_continue_is_the_origins_to_say(self):
        """The client sends its body only after 100, which only the origin says."""
        s = self.connect()
        s.sendall(b"POST /expect HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(65536)
        self.assertTrue(got.startswith(b"HTTP/1.1 100 "), got)
        self.assertIn(b"expect: 100-continue", self.origin.head.lower())
        s.sendall(b"hello")
        while not got.endswith(b"hello"):
            got += s.recv(65536)
        self.assertIn(b"HTTP/1.1 200 OK", got)
        s.close()

    def test_refused_expectation(self):
        """A final answer instead of 100: the body is never sent, and the connection closes."""
        s = self.connect()
        s.sendall(b"POST /expect-no HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        got = b""
        while data := s.recv(65536):
            got += data
        self.assertTrue(got.startswith(b"HTTP/1.1 413 "), got)
        self.assertNotIn(b" 100 ", got)
        self.assertIn(b"connection: close", got.lower())
        s.close()

    def test_header_case(self):
        """Proper case downstream, as received upstream."""
        with Client(self.address) as c:
            answer = c.ask("/case", headers=[("X-cAmEl", "1")])
        self.assertIn(b"\r\nX-Camel-Case: 1\r\n", answer.raw)
        self.assertIn(b"\r\nContent-Length: 2\r\n", answer.raw)
        self.assertIn(b"\r\nX-cAmEl: 1\r\n", self.origin.head + b"\r\n")

    def test_half_sent_heads(self):
        """Slowloris: 500 heads that never end cost at most 6 KB each."""
        def attack():
            before, held = self.rss(), []
            for _ in range(500):
                s = self.connect()
                s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: a")
                held.append(s)
            wait_until("all are accepted", lambda: self.open_connections() >= 500, BOUND)
            for s in held:
                s.sendall(b"b")
            each = (self.rss() - before) / len(held)
            print("half-sent heads: %.1f KB each" % each)
            for s in held:
                s.close()
            wait_until("all are gone", lambda: self.open_connections() < 10, BOUND)
            self.assertLessEqual(each, 6)

        self.beside("half-sent heads", attack)

    def test_half_sent_bodies(self):
        def attack():
            held = []
            for _ in range(200):
                s = self.connect()
                s.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nab")
                held.append(s)
            for s in held:
                s.close()
            wait_until("all are gone", lambda: self.open_connections() < 10, BOUND)

        self.beside("half-sent bodies", attack)

    def test_slow_readers(self):
        """200 readers of 8 MB answers that read nothing cost 5 MB together. (memory_test.py has this, and more, each in a proxy of
        its own.)"""
        def attack():
            before, held = self.rss(), []
            for _ in range(200):
                s = self.connect(4096)
                s.sendall(HEAD % b"big")
                held.append(s)
            for s in held:
                self.assertTrue(s.recv(1))
            seen = []

            def at_rest():
                seen.append(self.rss())
                return len(seen) >= 10 and max(seen[-10:]) - min(seen[-10:]) < 64

            wait_until("memory is at rest", at_rest, BOUND, 0.1)
            grown = (seen[-1] - before) / 1024
            print("slow readers: %.1f MB" % grown)
            for s in held:
                s.close()
            wait_until("all are gone", lambda: self.open_connections() < 10, BOUND)
            self.assertLessEqual(grown, 5)

        self.beside("slow readers", attack)

    def test_ends_at_every_point(self):
        """Clients that end their side, or reset, in the middle of a head, a body, an answer."""
        message = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

        def attack():
            for cut in range(1, len(message) + 1):
                for reset in (False, True):
                    s = self.connect()
                    s.sendall(message[:cut])
                    if reset:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    else:
                        s.shutdown(socket.SHUT_WR)
                    s.close()
            wait_until("all are gone", lambda: self.open_connections() < 10, BOUND)

        self.beside("ends at every point", attack)

    def test_upstream_resets_at_every_point(self):
        """No answer that was cut looks whole."""
        whole = len(b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")

        def attack():
            for cut in range(0, whole):
                with Client(self.address, BOUND) as c:
                    try:
                        answer = c.ask("/reset-%d" % cut, "POST", body="x")
                    except OSError:
                        continue
                    self.assertIn(answer.status, (502, 503), "cut at %d: %r" % (cut, answer))

        self.beside("upstream resets at every point", attack)


if __name__ == "__main__":
    harness.main()
