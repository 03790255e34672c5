#!/usr/bin/env python3
"""Upstreams that reset or end at every phase, of both HTTP versions and of the TLS handshake, under clients of both; a well-behaved
client beside them, whose upstream is another, gets every answer. No answer that was cut looks whole."""

import socket
import ssl

import abuse
import http2
from abuse import BOUND, LONG, RESET
from bootstraps import HTTP_OPTIONS
from frames import CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame
from pki import Authority
from wire import Client, Server

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
TIMES = 20 if LONG else 2

HEAD1 = b"HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n"
# Phase -> what is sent of an answer before the end.
HTTP1 = {
    "connect": None,
    "before the head": b"",
    "in the status line": b"HTTP/1.1 20",
    "in the head": HEAD1[:30],
    "after a hint": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    "after the head": HEAD1,
    "in a chunk size": HEAD1 + b"5",
    "in the body": HEAD1 + b"5\r\nhel",
    "between chunks": HEAD1 + b"5\r\nhello\r\n",
    "before the last line": HEAD1 + b"5\r\nhello\r\n0\r\n",
    "in trailers": HEAD1 + b"5\r\nhello\r\n0\r\nx-sum: 4",
    "in a body with a length": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
    "after the body": HEAD1 + b"5\r\nhello\r\n0\r\n\r\n",
    "after a body with a length": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
}
OK2, TRAILERS2 = b"\x88", b"\x00\x01x\x01y"
HEAD2 = frame(HEADERS, END_HEADERS, 1, OK2)
HTTP2 = {
    "connect": None,
    "before SETTINGS": b"-",
    "before the head": b"",
    "in the head's frame": HEAD2[:-1],
    "in a head in two frames": frame(HEADERS, 0, 1, OK2),
    "after the head": HEAD2,
    "in a DATA frame": HEAD2 + frame(DATA, 0, 1, b"hello")[:-2],
    "in the body": HEAD2 + frame(DATA, 0, 1, b"hel"),
    "in trailers": HEAD2 + frame(DATA, 0, 1, b"hello") + frame(HEADERS, END_STREAM, 1, TRAILERS2),
    "RST_STREAM before the head": frame(RST_STREAM, 0, 1, CANCEL),
    "RST_STREAM in the body": HEAD2 + frame(DATA, 0, 1, b"hel") + frame(RST_STREAM, 0, 1, CANCEL),
    "GOAWAY before the head": frame(GOAWAY, 0, 0, b"\0\0\0\0" + b"\0\0\0\2"),
    "GOAWAY in the body": HEAD2 + frame(DATA, 0, 1, b"hel") + frame(GOAWAY, 0, 0, b"\0\0\0\1" + b"\0\0\0\2"),
    "after the body": HEAD2 + frame(DATA, END_STREAM, 1, b"hello"),
    "after trailers": HEAD2 + frame(DATA, 0, 1, b"hello") + frame(HEADERS, END_STREAM | END_HEADERS, 1, TRAILERS2),
}
# Of the handshake; afterwards the phases of HTTP/1.
TLS_ONLY = ("handshake: after the ClientHello", "handshake: in the ServerHello", "handshake: nonsense", "handshake: after it")


class Cutting(Server):
    """Sends what `phase` says and ends the connection, by a reset or (`reset` false) an orderly end."""

    phase, reset, context, phases, version = "connect", True, None, {}, 1

    def serve(self, s):
        try:
            self.script(s)
        finally:
            if self.reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def script(self, s):
        phase = self.phase
        if phase == "connect":
            return
        if self.context:
            s = self.handshake(s, phase)
            if s is None:
                return
        if self.version == 2:
            self.http2(s, self.phases[phase])
        else:
            self.http1(s, self.phases[phase])
        if self.context:
            s.detach()  # no close_notify; the descriptor is the caller's to close

    def handshake(self, s, phase):
        if phase.startswith("handshake") and phase != "handshake: after it":
            s.recv(65536)
            s.sendall({"handshake: in the ServerHello": b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + b"r" * 20,
                       "handshake: nonsense": b"HTTP/1.1 400 Bad Request\r\n\r\n"}.get(phase, b""))
            return None
        copy = socket.socket(fileno=s.fileno())  # wrapping detaches it
        tls = self.context.wrap_socket(copy, server_side=True)
        if phase == "handshake: after it":
            tls.detach()
            return None
        return tls

    @staticmethod
    def http1(s, answer):
        got = b""
        while b"\r\n\r\n" not in got:
            data = s.recv(65536)
            if not data:
                return
            got += data
        s.sendall(answer)

    @staticmethod
    def http2(s, answer):
        got = b""
        while len(got) < len(PREFACE):
            data = s.recv(65536)
            if not data:
                return
            got += data
        if answer == b"-":
            return
        s.sendall(frame(SETTINGS, 0, 0))
        at = len(PREFACE)
        while True:  # up to the request's head
            while len(got) < at + 9 or len(got) < at + 9 + int.from_bytes(got[at:at + 3], "big"):
                data = s.recv(65536)
                if not data:
                    return
                got += data
            if got[at + 3] == HEADERS:
                break
            at += 9 + int.from_bytes(got[at:at + 3], "big")
        s.sendall(answer)


class Base(abuse.AbuseTest):
    @classmethod
    def origin(cls):
        return Cutting(cls.env.network.ip("0.3"))

    def phases(self, name, phases, whole, more=()):
        """Every phase, under GET and POST of HTTP/1 and HTTP/2, by reset and by end. `whole`: phases after which there is an answer."""
        self.server.phases, self.server.version = {**phases, **{p: None for p in more}}, 2 if phases is HTTP2 else 1
        seen = {}
        with self.attack(name) as a:
            for phase in self.server.phases:
                for self.server.reset in (True, False):
                    self.server.phase = phase
                    for _ in range(TIMES):
                        for ask in (self.h1, self.h2):
                            for method in ("GET", "POST"):
                                got = ask(a.at, method)
                                what = "%s, %s, %s by %s: %s" % (phase, "reset" if self.server.reset else "end", method, ask.__name__, got)
                                if phase in whole:
                                    # A reset may overtake what was sent before it; and the connection before, about to end, may
                                    # have been taken for this request, which is sent again unless it is a POST.
                                    self.assertIn(got, (200, 503, "cut") if self.server.reset else
                                                  (200, 503) if method == "POST" else (200,), what)
                                else:
                                    self.assertIn(got, (502, 503, "cut"), what)
                                seen[got] = seen.get(got, 0) + 1
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)
            a.stat_at_most("cluster.origin.upstream_cx_active", 0)
            a.notes.append("%d phases: %s" % (len(self.server.phases), ", ".join("%s %s" % (n, k) for k, n in sorted(seen.items(), key=str))))

    def h1(self, at, method):
        """The status of a whole answer, or "cut"."""
        with Client(at, BOUND) as c:
            try:
                answer = c.ask("/x", method, body=b"hello" if method == "POST" else None)
            except OSError:
                return "cut"
        self.assertTrue(answer.status != 200 or answer.body == b"hello", answer)
        return answer.status

    def h2(self, at, method):
        with http2.H2Client(at) as c:
            s = c.ask("/x", method, body=b"hello" if method == "POST" else None)
            self.assertEqual([e for _, e in c.goaways if e], [])
            if not s.ended:
                return "cut"
            self.assertTrue(s.status != 200 or bytes(s.body) == b"hello", s.body)
            return s.status


class UpstreamTest(Base):
    def test_phases(self):
        self.phases("upstream ends, HTTP/1", HTTP1, {"after the body", "after a body with a length"})

    def test_nobody_listens(self):
        self.server.close()
        with self.attack("upstream refuses") as a:
            for _ in range(20 * TIMES):
                self.assertEqual((self.h1(a.at, "GET"), self.h2(a.at, "POST")), (503, 503))
        type(self).server = self.origin()


class Http2UpstreamTest(Base):
    CLUSTER = {"typed_extension_protocol_options": {HTTP_OPTIONS: {
        "@type": "type.googleapis.com/" + HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}}}

    def test_phases(self):
        self.phases("upstream ends, HTTP/2", HTTP2, {"after the body", "after trailers"})


class TlsUpstreamTest(Base):
    CLUSTER = {"transport_socket": {"name": "tls", "typed_config": {"@type": TLS, "common_tls_context": {}}}}

    @classmethod
    def origin(cls):
        leaf = Authority(cls.env.folder, "upstream").leaf("a.test", "DNS:a.test")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.chain, leaf.key)
        server = Cutting(cls.env.network.ip("0.3"))
        server.context = context
        return server

    def test_phases(self):
        self.phases("upstream ends, TLS", HTTP1, {"after the body", "after a body with a length"}, more=TLS_ONLY)


if __name__ == "__main__":
    abuse.main()
