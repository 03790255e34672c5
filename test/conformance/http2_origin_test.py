#!/usr/bin/env python3
"""A hostile HTTP/2 origin behind the real weft-proxy, and HTTP/1 and HTTP/2 clients in front of it: what it sends must not become
another answer on HTTP/1 (response splitting), nor may an answer that is cut short look whole.

Each case is an answer in raw frames, whose fields nobody checked. The client's bytes are read by the strict parsers of the other
corpora. Then the client's connection, where it stays open, and somebody else's must get answers of their own.
"""

import os
import socket
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import harness  # noqa: E402
import http1_cases  # noqa: E402
from base import split_address  # noqa: E402
from bootstraps import bootstrap, cluster, listener  # noqa: E402
from http1_cases import Bad, Partial  # noqa: E402
from http2_cases import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, RawClient, frame,
                         literals, pseudo)  # noqa: E402

BOUND = float(os.environ.get("WEFT_BOUND", "20"))


def head(*fields, end=False, status=b"200"):
    """HEADERS with :status first; status None: without."""
    first = [] if status is None else [(b":status", status)]
    return lambda sid: frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), sid, literals(first + list(fields)))


def data(body, end=True):
    return lambda sid: frame(DATA, END_STREAM if end else 0, sid, body)


def reset(code):
    return lambda sid: frame(RST_STREAM, 0, sid, code.to_bytes(4, "big"))


def goaway(last, code):
    return lambda sid: frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


CLOSE = "close"
OK, EVIL = head(), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
LONG = (b"content-length", b"10")

# name, clause, what the origin sends, what the client gets: (status, body), "cut", a status of the proxy's own, or as text one of an
# answer that has no body (or 502, or cut, since it was malformed).
CASES = [
    ("plain", "RFC 9113 section 8.1", [OK, data(b"hello")], (200, b"hello")),
    ("plain-empty", "RFC 9113 section 8.1", [head(end=True)], (200, b"")),
    ("with-length", "RFC 9113 section 8.1.1", [head((b"content-length", b"5")), data(b"hello")], (200, b"hello")),
    ("trailers", "RFC 9113 section 8.1", [OK, data(b"hello", False), head((b"x-sum", b"5"), end=True, status=None)], (200, b"hello")),
    ("early-hints", "RFC 9110 section 15.2", [head((b"link", b"</a>"), status=b"103"), OK, data(b"hello")], (200, b"hello")),
    ("body-is-a-last-chunk", "RFC 9112 section 7.1", [OK, data(b"0\r\n\r\n" + EVIL)], (200, b"0\r\n\r\n" + EVIL)),

    ("status-missing", "RFC 9113 section 8.3.2", [head(status=None), data(b"evil")], 502),
    ("status-twice", "RFC 9113 section 8.3", [head((b":status", b"200")), data(b"evil")], 502),
    ("status-empty", "RFC 9113 section 8.3.2", [head(status=b""), data(b"evil")], 502),
    ("status-no-number", "RFC 9113 section 8.3.2", [head(status=b"abc"), data(b"evil")], 502),
    ("status-short", "RFC 9113 section 8.3.2", [head(status=b"20"), data(b"evil")], 502),
    ("status-long", "RFC 9113 section 8.3.2", [head(status=b"2000"), data(b"evil")], 502),
    ("status-low", "RFC 9110 section 15", [head(status=b"099"), data(b"evil")], 502),
    ("status-high", "RFC 9110 section 15", [head(status=b"999"), data(b"evil")], 502),
    ("status-with-reason", "RFC 9113 section 8.3.2", [head(status=b"200 OK\r\nx: y"), data(b"evil")], 502),
    ("status-101", "RFC 9113 section 8.6", [head((b"upgrade", b"websocket"), status=b"101"), data(b"evil")], 502),
    ("status-101-bare", "RFC 9113 section 8.6", [head(status=b"101"), data(b"evil")], 502),
    ("status-100-ends", "RFC 9113 section 8.1", [head(status=b"100", end=True)], 502),
    ("pseudo-behind-fields", "RFC 9113 section 8.3", [head((b"x", b"y"), (b":status", b"200"), status=None), data(b"evil")], 502),
    ("pseudo-of-requests", "RFC 9113 section 8.3", [head((b":path", b"/")), data(b"evil")], 502),
    ("pseudo-unknown", "RFC 9113 section 8.3", [head((b":evil", b"1")), data(b"evil")], 502),

    ("value-crlf-field", "RFC 9113 section 8.2.1", [head((b"x", b"a\r\nSet-Cookie: evil=1")), data(b"evil")], 502),
    ("value-crlf-answer", "RFC 9113 section 10.3", [head((b"x", b"a\r\nContent-Length: 0\r\n\r\n" + EVIL)), data(b"evil")], 502),
    ("value-lf", "RFC 9113 section 8.2.1", [head((b"x", b"a\nb: evil")), data(b"evil")], 502),
    ("value-cr", "RFC 9113 section 8.2.1", [head((b"x", b"a\rb: evil")), data(b"evil")], 502),
    ("value-nul", "RFC 9113 section 8.2.1", [head((b"x", b"a\0evil")), data(b"evil")], 502),
    ("value-crlf-in-location", "RFC 9113 section 10.3", [head((b"location", b"/\r\n\r\n" + EVIL), status=b"302", end=True)], 502),
    ("name-crlf", "RFC 9113 section 8.2.1", [head((b"x: y\r\nset-cookie", b"evil")), data(b"evil")], 502),
    ("name-colon", "RFC 9113 section 8.2.1", [head((b"set-cookie: evil", b"1")), data(b"evil")], 502),
    ("name-space", "RFC 9113 section 8.2.1", [head((b"content-length ", b"1")), data(b"evil")], 502),
    ("name-upper-case", "RFC 9113 section 8.2.1", [head((b"X-Evil", b"1")), data(b"evil")], 502),
    ("name-empty", "RFC 9113 section 8.2.1", [head((b"", b"evil")), data(b"evil")], 502),

    ("transfer-encoding", "RFC 9113 section 8.2.2", [head((b"transfer-encoding", b"chunked")), data(b"0\r\n\r\n" + EVIL)], 502),
    ("connection-field", "RFC 9113 section 8.2.2", [head((b"connection", b"close")), data(b"evil")], 502),
    ("keep-alive-field", "RFC 9113 section 8.2.2", [head((b"keep-alive", b"evil")), data(b"evil")], 502),
    ("upgrade-field", "RFC 9113 section 8.2.2", [head((b"upgrade", b"evil")), data(b"evil")], 502),

    ("length-twice", "RFC 9110 section 8.6", [head((b"content-length", b"4"), (b"content-length", b"5")), data(b"evil")], 502),
    ("length-list", "RFC 9110 section 8.6", [head((b"content-length", b"4, 4")), data(b"evil")], 502),
    ("length-plus", "RFC 9110 section 8.6", [head((b"content-length", b"+4")), data(b"evil")], 502),
    ("length-huge", "RFC 9110 section 8.6", [head((b"content-length", b"99999999999999999999")), data(b"evil")], 502),
    ("length-without-body", "RFC 9113 section 8.1.1", [head(LONG, end=True)], 502),
    ("length-larger", "RFC 9113 section 8.1.1", [head(LONG), data(b"hello")], "cut"),
    ("length-smaller", "RFC 9113 section 8.1.1", [head((b"content-length", b"2")), data(b"ok" + EVIL)], "cut"),
    ("length-zero", "RFC 9113 section 8.1.1", [head((b"content-length", b"0")), data(EVIL)], "200"),

    ("data-first", "RFC 9113 section 8.1", [data(b"evil")], 502),
    ("two-heads", "RFC 9113 section 8.1", [OK, data(b"hello", False), head((b"x", b"y"))], "cut"),
    ("trailers-pseudo", "RFC 9113 section 8.1", [OK, data(b"hello", False), head((b"x", b"y"), end=True)], "cut"),
    ("trailers-crlf", "RFC 9113 section 8.2.1",
     [OK, data(b"hello", False), head((b"x", b"y\r\n\r\n" + EVIL), end=True, status=None)], "cut"),
    ("trailers-coding", "RFC 9113 section 8.2.2",
     [OK, data(b"hello", False), head((b"transfer-encoding", b"chunked"), end=True, status=None)], "cut"),
    ("reset-within", "RFC 9113 section 8.1", [OK, data(b"hello", False), reset(8)], "cut"),
    ("reset-within-without-error", "RFC 9113 section 8.1", [OK, data(b"hello", False), reset(0)], "cut"),
    ("reset-within-length", "RFC 9113 section 8.1", [head(LONG), data(b"hello", False), reset(0)], "cut"),
    ("closed-within", "RFC 9113 section 8.1", [OK, data(b"hello", False), CLOSE], "cut"),
    ("closed-within-length", "RFC 9113 section 8.1", [head(LONG), data(b"hello", False), CLOSE], "cut"),
    ("goaway-within", "RFC 9113 section 6.8", [OK, data(b"hello", False), goaway(1, 2), CLOSE], "cut"),
    ("reset-at-once", "RFC 9113 section 8.1", [reset(2)], 503),
    ("reset-behind-the-head", "RFC 9113 section 8.1", [OK, reset(2)], "cut"),

    ("204-with-body", "RFC 9110 section 15.3.5", [head(status=b"204"), data(EVIL)], "204"),
    ("304-with-body", "RFC 9110 section 15.4.5", [head(status=b"304"), data(EVIL)], "304"),
    ("204-with-length", "RFC 9110 section 8.6", [head((b"content-length", b"4"), status=b"204", end=True)], "204"),
]


class HostileOrigin:
    """Speaks HTTP/2; the case's answer to /case, an echo of the path to everything else."""

    def __init__(self, ip):
        self.listener = socket.create_server((ip, 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.answer = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        import hpack
        decoder, got = hpack.Decoder(), b""
        try:
            with s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while len(got) < len(PREFACE):
                    more = s.recv(65536)
                    if not more:
                        return
                    got += more
                got = got[len(PREFACE):]
                s.sendall(frame(SETTINGS, 0, 0, b""))
                while True:
                    while len(got) >= 9 and len(got) >= 9 + int.from_bytes(got[:3], "big"):
                        size = 9 + int.from_bytes(got[:3], "big")
                        kind, flags, sid, payload = got[3], got[4], int.from_bytes(got[5:9], "big"), got[9:size]
                        got = got[size:]
                        if kind == SETTINGS and not flags & ACK:
                            s.sendall(frame(SETTINGS, ACK, 0, b""))
                        elif kind == PING and not flags & ACK:
                            s.sendall(frame(PING, ACK, 0, payload))
                        elif kind == HEADERS:  # weft-proxy's heads of these requests fit into one frame
                            path = dict(decoder.decode(payload, raw=True))[b":path"]
                            if path != b"/case":
                                s.sendall(OK(sid) + data(path)(sid))
                                continue
                            for step in self.answer:
                                if step is CLOSE:
                                    return
                                s.sendall(step(sid))
                    more = s.recv(65536)
                    if not more:
                        return
                    got += more
        except OSError:
            pass


class OriginTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.origin = HostileOrigin(net.ip("0.1"))
        cls.env.cleanups.append(cls.origin.close)
        cls.at, admin = net.address(), net.address()
        cls.proxy = cls.env.start_proxy("proxy", bootstrap(admin, [listener("main", cls.at, "origin")], [
            cluster("origin", "%s:%d" % (net.ip("0.1"), cls.origin.port), http2=True)]), admin)
        cls.number = 0

    def read(self, s, data_, at, method=b"GET"):
        """The next final answer of a connection, "cut", and where it ends."""
        ended = False
        while True:
            try:
                r, end = http1_cases.parse_response(bytes(data_), at, method, ended)
                if r.status < 200:
                    at = end
                    continue
                return r, end
            except Partial:
                if ended:
                    return "cut", len(data_)
            try:
                more = s.recv(65536)
            except ConnectionError:
                return "cut", len(data_)
            ended = not more
            data_ += more

    def own_answer(self, s=None):
        """A request that must get its own answer, on this connection or a new one; what is wrong with it."""
        OriginTest.number += 1
        path = b"/own-%d" % self.number
        fresh = s is None
        if fresh:
            s = socket.create_connection(split_address(self.at), BOUND)
        try:
            try:
                s.sendall(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            except ConnectionError:
                if fresh:
                    raise
                return []  # closed already, as below
            data_ = bytearray()
            r, end = self.read(s, data_, 0)
            if r == "cut" and not data_ and not fresh:
                return []  # the proxy closes behind what it cut off
            if r == "cut" or r.status != 200 or r.body != path or end != len(data_):
                return ["desync: %s got %r" % (path.decode(), bytes(data_[:300]))]
            return []
        finally:
            if fresh:
                s.close()

    def over_http1(self, answer, expect):
        self.origin.answer = answer
        with socket.create_connection(split_address(self.at), BOUND) as s:
            s.sendall(b"GET /case HTTP/1.1\r\nHost: h\r\n\r\n")
            data_ = bytearray()
            r, end = self.read(s, data_, 0)
            wrong = []
            if r != "cut" and end != len(data_):
                wrong.append("bytes behind the answer: %r" % bytes(data_[end:end + 200]))
            if expect == "cut":  # or the proxy had sent nothing of it yet
                fits = r == "cut" or r.status in (502, 503)
            elif r == "cut":
                fits = isinstance(expect, str)
            elif isinstance(expect, str):
                fits = r.status in (int(expect), 502) and (r.status == 502 or r.body == b"")
            elif isinstance(expect, int):
                fits = r.status == expect
            else:
                fits = (r.status, r.body) == expect
            if not fits:
                wrong.append("expected %r, got %s: %r" % (expect, getattr(r, "status", r), bytes(data_[:300])))
            if not isinstance(expect, tuple) and b"evil" in bytes(data_):
                wrong.append("the client got %r" % bytes(data_[:300]))
            if r != "cut" and b"connection: close" not in bytes(data_).lower():
                wrong += self.own_answer(s)
        return wrong + self.own_answer()

    def over_http2(self, answer, expect):
        self.origin.answer = answer
        client = RawClient(split_address(self.at), BOUND)
        try:
            s = client.wait(client.send(pseudo(b"GET", b"/case")))
            status = int(s.final[b":status"]) if s.final else 0
            if expect == "cut":
                fits = not s.ended or status in (502, 503)
            elif isinstance(expect, str):
                fits = not s.ended or status == 502 or (status == int(expect) and not s.body)
            elif isinstance(expect, int):
                fits = s.ended and status == expect
            else:
                fits = s.ended and (status, bytes(s.body)) == expect
            wrong = [] if fits else ["expected %r, got %d %s %r" % (expect, status, "whole" if s.ended else "cut", s.text()[:300])]
            probe = client.wait(client.send(pseudo(b"GET", b"/own")))
            if not probe.ended or bytes(probe.body) != b"/own":
                wrong.append("desync: the probe got %r" % probe.text()[:300])
            return wrong
        finally:
            client.close()

    def run_all(self, run):
        failed = []
        for name, clause, answer, expect in CASES:
            try:
                wrong = run(answer, expect)
            except (Bad, OSError) as e:
                wrong = ["%s: %s" % (type(e).__name__, e)]
            if wrong:
                failed.append("%s (%s):\n      %s" % (name, clause, "\n      ".join(wrong)))
            self.assertTrue(self.proxy.child.alive(), "weft-proxy died at %s\n%s" % (name, self.proxy.child.text()[-3000:]))
        print("%d cases, %d failed" % (len(CASES), len(failed)))
        self.assertFalse(failed, "\n  " + "\n  ".join(failed))

    def test_to_an_http1_client(self):
        self.run_all(self.over_http1)

    def test_to_an_http2_client(self):
        self.run_all(self.over_http2)


if __name__ == "__main__":
    harness.main()
