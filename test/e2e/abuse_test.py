#!/usr/bin/env python3
"""Connections that abuse: heads and bodies that never end, many idle ones, readers that do not read, storms, ends at every phase,
no descriptors left; each beside a well-behaved client, which gets every answer."""

import resource
import socket
import threading
import time

import abuse
from abuse import BOUND, LIMITS, LONG, MB, close_all, cpu_seconds, descriptors, reset, wanted
from base import memory_kb, wait_until
from bootstraps import address, cluster, listener
from pki import Authority
from wire import Client, Server

TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
CONNECTIONS = 10000 if LONG else 1000
HEAD = 6.0     # KB, of one that is half sent
READERS = 8.0  # MB, of 200 that do not read their 8 MB, and of the neighbour; the goal for them alone is 5


class AnyOrigin(Server):
    """Whole requests by Content-Length; /N: N bytes, else "ok"; /stuck: reads no further. A byte "!" in front: echo."""

    def serve(self, s):
        data = s.recv(65536)
        if data.startswith(b"!"):
            while data:
                s.sendall(data)
                data = s.recv(65536)
            return
        while True:
            while b"\r\n\r\n" not in data:
                more = s.recv(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            if b" /stuck " in head:
                threading.Event().wait(BOUND)
                return
            lines = head.lower().split(b"\r\n")
            length = sum(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            while len(data) < length:
                more = s.recv(65536)
                if not more:
                    return
                data += more
            data = data[length:]
            path = head.split(b" ", 2)[1][1:]
            size = int(path) if path.isdigit() else 2
            s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for at in range(0, size, 65536):
                s.sendall(b"ok" + b"x" * (min(65536, size - at) - 2))


class Base(abuse.AbuseTest):
    @classmethod
    def prepare(cls):
        wanted(0)
        super().prepare()

    @classmethod
    def origin(cls):
        return AnyOrigin(cls.env.network.ip("0.3"))

    def hold(self, a, number, data=None, **kwargs):
        """So many connections, each of which has sent `data`; from several addresses, that ports last."""
        held = []
        for i in range(number):
            s = a.connect(source=self.env.network.ip("1.%d" % (1 + i % 8)), **kwargs)
            if data:
                s.sendall(data)
            held.append(s)
        return held

    def active(self, a, number, more=False):
        if more:
            a.stat_at_least("http.main.downstream_cx_active", number)
        else:
            a.stat_at_most("http.main.downstream_cx_active", number)


    def settle(self, a):
        """Until what was sent has been read, by how memory grows."""
        def still():
            before = memory_kb(a.pid)
            self.neighbour.wait_for(20)
            return memory_kb(a.pid) <= before + 64

        wait_until("memory stands still", still, BOUND)


class SlowTest(Base):
    def drip(self, held, pieces):
        for piece in pieces:
            for s in held:
                s.sendall(piece)
            self.neighbour.wait_for(20)

    def test_heads(self):
        """Slowloris: heads that grow byte by byte and never end; at most 6 KB each."""
        number = 5000 if LONG else 500
        with self.attack("slowloris, heads", megabytes=2 + number * HEAD / 1024) as a:
            held = self.hold(a, 20, b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: a")  # what is made once is made
            self.settle(a)
            before = memory_kb(a.pid)
            held += self.hold(a, wanted(number), b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: a")
            self.active(a, number, more=True)
            self.drip(held, [b"b"])
            self.settle(a)
            each = (memory_kb(a.pid) - before) / number
            self.drip(held, [b"\r\nX-More: ", b"c", b"d"])
            a.notes.append("%.1f KB each, %.1f later" % (each, (memory_kb(a.pid) - before) / number))
            close_all(held)
            self.active(a, 1)
            self.assertLessEqual(each, HEAD)

    def test_bodies(self):
        number = 2000 if LONG else 200
        with self.attack("slowloris, bodies", megabytes=32) as a:
            held = self.hold(a, number, b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\na")
            self.active(a, number, more=True)
            self.drip(held, [b"b", b"cd", b"e", b"f"])
            a.notes.append("%.1f KB each" % (a.grown_kb() / number))
            close_all(held)
            self.active(a, 1)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_chunks(self):
        """Chunk after chunk of one byte, with an extension each."""
        with self.attack("bodies in chunks of a byte") as a:
            def once():
                with a.connect() as s:
                    s.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for _ in range(20):
                        s.sendall(b"1;ext=0123456789\r\nx\r\n" * 200)

            a.notes.append("%d bodies" % self.repeat(once))
            self.active(a, 1)

    def test_chunks_that_nobody_takes(self):
        """The same to an upstream that has stopped reading: what waits is bounded by what it takes, not by what it carries."""
        with self.attack("chunks of a byte, upstream stuck", megabytes=16) as a:
            held = self.hold(a, 100, b"POST /stuck HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            a.stat_at_least("cluster.origin.upstream_rq_active", 100)
            for s in held:
                s.setblocking(False)
            for _ in range(30):
                for s in held:
                    try:
                        s.send(b"1;ext=0123456789\r\nx\r\n" * 1000)
                    except BlockingIOError:
                        pass
            self.settle(a)
            a.notes.append("100 uploads: %.1f MB" % (a.grown_kb() / 1024))
            close_all(held)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_large_heads(self):
        """Heads just below what is allowed, that end; and ones that do not and grow beyond it."""
        field = b"x-%04d: " + b"v" * 500 + b"\r\n"
        large = b"GET / HTTP/1.1\r\nhost: h\r\n" + b"".join(field % i for i in range(90)) + b"\r\n"
        too_large = b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"v" * 200000
        with self.attack("heads of 48 KB and more") as a:
            def once():
                with Client(a.at, BOUND) as c:
                    c.send(large)
                    self.assertEqual(c.read().status, 200)
                with Client(a.at, BOUND) as c:
                    try:
                        c.send(too_large)
                        self.assertEqual(c.read().status, 431)
                    except ConnectionError:
                        pass  # refused while it was being sent

            a.notes.append("%d of each" % self.repeat(once))

    def test_pipelines(self):
        """Many requests at once, of whose answers none is read: what is not read is not made."""
        with self.attack("pipelines without reader", megabytes=48) as a:
            held = self.hold(a, 100, receive_buffer=4096)
            blob = b"GET /100000 HTTP/1.1\r\nHost: h\r\n\r\n" * 1000
            for s in held:
                s.setblocking(False)
                s.send(blob)
            self.neighbour.wait_for(100)
            a.notes.append("100 x 1,000 requests: %.1f MB" % (a.grown_kb() / 1024))
            close_all(held)
            self.active(a, 1)

    def test_readers(self):
        """200 answers of 8 MB of which nobody reads more than the first byte."""
        with self.attack("slow readers", megabytes=READERS) as a:
            held = self.hold(a, 200, b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % (8 * MB), receive_buffer=4096)
            for s in held:
                self.assertTrue(s.recv(1))
            self.neighbour.wait_for(100)
            a.notes.append("200 x 8 MB: %.1f MB" % (a.grown_kb() / 1024))
            close_all(held)
            self.active(a, 1)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)


class ManyTest(Base):
    def test_idle(self):
        """Idle connections, half of them fresh, half after a request."""
        number = wanted(CONNECTIONS)
        with self.attack("%d idle connections" % number, megabytes=2 + number * 3 / 1024) as a:
            held = self.hold(a, number // 2)
            self.active(a, number // 2, more=True)
            self.settle(a)
            fresh = memory_kb(a.pid) - a.before
            for s in self.hold(a, number // 2):
                s.sendall(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
                got = b""
                while not got.endswith(b"\r\n\r\nok"):
                    data = s.recv(1000)
                    self.assertTrue(data, got)
                    got += data
                held.append(s)
            self.active(a, number, more=True)
            self.settle(a)
            used = memory_kb(a.pid) - a.before - fresh
            a.notes.append("%.1f KB each fresh, %.1f used" % (fresh / (number // 2), used / (number // 2)))
            cpu = cpu_seconds(a.pid)
            self.neighbour.wait_for(200)
            a.notes.append("%.0f ms of CPU for 200 answers beside them" % ((cpu_seconds(a.pid) - cpu) * 1e3))
            close_all(held)
            self.active(a, 1)

    def test_accept_storm(self):
        """Connections that come and go at once: closed, reset, after a byte, after a whole request whose answer nobody wants."""
        with self.attack("accept storm") as a:
            total = 0

            def once():
                nonlocal total
                for data in (None, b"G", b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"):
                    for end in (reset, socket.socket.close):
                        held = self.hold(a, 50, data)
                        for s in held:
                            end(s)
                        total += 50

            self.repeat(once)
            a.notes.append("%d connections" % total)
            # Those that were reset in the kernel's queue are not all seen.
            self.active(a, 1)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_handshakes(self):
        """A ClientHello cut short on many connections, and what is none."""
        leaf = Authority(self.env.folder, "storm").leaf("a.test", "DNS:a.test")
        at = self.env.network.address()
        secure = listener("secure", at, "origin", transport={"name": "tls", "typed_config": {
            "@type": TLS, "common_tls_context": {"tls_certificates": [
                {"certificate_chain": {"filename": str(leaf.chain)}, "private_key": {"filename": str(leaf.key)}}]}}})
        number = 2000 if LONG else 300
        with self.attack("handshakes that never end", listeners=[secure], megabytes=number * 40 / 1024) as a:
            held = self.hold(a, number, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 32, at=at)
            wait_until("all are accepted", lambda: descriptors(a.pid) >= number, BOUND)
            self.neighbour.wait_for(50)
            a.notes.append("%.1f KB each" % (a.grown_kb() / number))
            close_all(held)
            held = self.hold(a, number, b"GET / HTTP/1.1\r\n\r\n", at=at)
            for s in held:
                try:
                    while s.recv(1000):
                        pass
                except ConnectionResetError:
                    pass
            close_all(held)
            wait_until("all are gone", lambda: descriptors(a.pid) < 100, BOUND)


class EndTest(Base):
    MESSAGE = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"

    def test_half_closes(self):
        """The client ends its side, or resets, at each byte of a request. To HTTP/1 an end is the end of the connection: a client that
        only half-closed gets as much of its answer as was quicker."""
        with self.attack("half-closes at each phase") as a:
            def once():
                for cut in range(0, len(self.MESSAGE) + 1):
                    with a.connect() as s:
                        s.sendall(self.MESSAGE[:cut])
                        s.shutdown(socket.SHUT_WR)
                        got = b""
                        try:
                            while data := s.recv(65536):
                                got += data
                        except ConnectionResetError:
                            pass
                        self.assertTrue(not got or got.startswith(b"HTTP/1.1 200 ") and cut == len(self.MESSAGE), got)
                    s = a.connect()
                    s.sendall(self.MESSAGE[:cut])
                    reset(s)

            a.notes.append("%d x %d connections" % (self.repeat(once), 2 * len(self.MESSAGE) + 2))
            self.active(a, 1)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_half_closes_while_answered(self):
        """The client ends its side, closes or resets in the middle of a long answer."""
        with self.attack("ends in the middle of an answer") as a:
            def once():
                for end in ("half", "close", "reset"):
                    s = a.connect(4096)
                    s.sendall(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % MB)
                    self.assertTrue(s.recv(1000))
                    if end == "half":
                        s.shutdown(socket.SHUT_WR)
                        try:
                            while s.recv(1 << 18):
                                pass
                        except ConnectionResetError:
                            pass
                    if end == "reset":
                        reset(s)
                    s.close()

            a.notes.append("%d of each" % self.repeat(once))
            self.active(a, 1)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_tcp_half_closes(self):
        """Through tcp_proxy: each side's end is passed on, and what is reset leaves nothing behind."""
        at = self.env.network.address()
        chain = {"filters": [{"name": "tcp", "typed_config": {"@type": TCP, "stat_prefix": "tcp", "cluster": "echo"}}]}
        with self.attack("half-closes through tcp_proxy", clusters=[cluster("echo", self.server.address, **LIMITS)],
                         listeners=[{"name": "tcp", "address": address(at), "filter_chains": [chain]}]) as a:
            def once():
                for end in ("half", "close", "reset"):
                    held = self.hold(a, 20, b"!" + b"x" * 1000, at=at)
                    for s in held:
                        if end == "half":
                            s.shutdown(socket.SHUT_WR)
                            got = b""
                            while data := s.recv(65536):
                                got += data
                            self.assertEqual(len(got), 1001)
                        elif end == "reset":
                            reset(s)
                        s.close()

            a.notes.append("%d x 60 connections" % self.repeat(once))
            a.stat_at_most("tcp.tcp.downstream_cx_active", 0)
            a.stat_at_most("cluster.echo.upstream_cx_active", 0)


class DescriptorTest(Base):
    def test_none_left(self):
        """Out of descriptors the proxy does nearly nothing (at most 5% of a processor is the goal), goes on with what it has, and
        accepts again when some close."""
        with self.attack("no descriptors left") as a:
            kept = Client(a.at, BOUND)
            self.assertEqual(kept.ask("/2").status, 200)
            before = self.processor(a)
            limit = descriptors(a.pid) + 20
            resource.prlimit(a.pid, resource.RLIMIT_NOFILE, (limit, limit))
            held = self.hold(a, 200, b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
            wait_until("there are none left", lambda: descriptors(a.pid) >= limit, BOUND)
            without = self.processor(a)
            a.notes.append("%.1f%% of a processor, %.1f%% before" % (without, before))
            # What is open goes on.
            self.assertEqual(kept.ask("/2").status, 200)
            # Some close: those that waited in the kernel's queue are accepted and answered.
            for s in held[:100]:
                s.close()
            self.assertIn(held[100].recv(1000)[:13], (b"HTTP/1.1 200 ", b"HTTP/1.1 503 "))
            close_all(held)
            with Client(a.at, BOUND) as c:
                self.assertEqual(c.ask("/2").status, 200)
            kept.close()
            self.active(a, 1)
            self.assertLessEqual(without - before, 15.0)

    @staticmethod
    def processor(a):
        """Percent of one, over a fixed time; the neighbour's requests are in it."""
        begun, used = time.monotonic(), cpu_seconds(a.pid)
        time.sleep(5.0 if LONG else 1.5)
        return 100 * (cpu_seconds(a.pid) - used) / (time.monotonic() - begun)


if __name__ == "__main__":
    abuse.main()
