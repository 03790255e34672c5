#!/usr/bin/env python3
"""The clients and origins of the soak test, each kind in a process of its own. Every answer is checked, byte for byte.

  clients.py origin IP                       prints two addresses: HTTP, and echo; ends with standard input
  clients.py KIND ADDRESS SECONDS [CA CERT KEY]   prints {"answers": N, "wrong": [...]} as JSON
"""

import base64
import hashlib
import json
import os
import random
import ssl
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from wire import Client, Server  # noqa: E402

PATTERN = bytes(range(33, 123)) * 12000  # 1 MB
BOUND = 60.0                             # a sanitizer is slow, and so is a busy machine


def body_of(size):
    start = size % 90
    return PATTERN[start:start + size]


def proof(key):
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


# --- Origins ----------------------------------------------------------------------------------------------------------------

class HttpOrigin(Server):
    """GET /N: body_of(N), chunked when N is odd. POST: the body again. Upgrade: echo until the other side ends, then "bye"."""

    def serve(self, s):
        b = bytearray()
        while self.one(s, b):
            pass

    @staticmethod
    def fill(s, b, until):
        while not until():
            data = s.recv(1 << 16)
            if not data:
                return False
            b += data
        return True

    def one(self, s, b):
        if not self.fill(s, b, lambda: b"\r\n\r\n" in b):
            return False
        head, _, rest = bytes(b).partition(b"\r\n\r\n")
        b[:] = rest
        lines = head.split(b"\r\n")
        method, path, _ = lines[0].split(b" ")
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines[1:])}
        if b"upgrade" in fields:
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: " +
                      proof(fields[b"sec-websocket-key"]) + b"\r\n\r\n" + bytes(b))
            while data := s.recv(1 << 16):
                s.sendall(data)
            s.sendall(b"bye")
            return False
        if fields.get(b"transfer-encoding") == b"chunked":
            out = bytearray()
            while True:
                if not self.fill(s, b, lambda: b"\r\n" in b):
                    return False
                line, _, rest = bytes(b).partition(b"\r\n")
                size = int(line, 16)
                b[:] = rest
                if not self.fill(s, b, lambda: len(b) >= size + 2):
                    return False
                if size == 0:
                    del b[:2]
                    break
                out += b[:size]
                del b[:size + 2]
        else:
            size = int(fields.get(b"content-length", b"0"))
            if not self.fill(s, b, lambda: len(b) >= size):
                return False
            out = bytes(b[:size])
            del b[:size]
        if method != b"POST":
            out = body_of(int(path[1:]))
        if method != b"HEAD" and len(out) % 2:
            half = len(out) // 2
            s.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-size\r\n\r\n" + b"".join(
                b"%x\r\n%s\r\n" % (len(p), p) for p in (out[:half], out[half:]) if p) + b"0\r\nx-size: %d\r\n\r\n" % len(out))
        else:
            s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(out) + (b"" if method == b"HEAD" else out))
        return True


class Echo(Server):
    def serve(self, s):
        while data := s.recv(1 << 16):
            s.sendall(data)


# --- Clients ----------------------------------------------------------------------------------------------------------------

class Clients:
    def __init__(self, address, seconds, pems):
        self.address, self.end = address, time.monotonic() + seconds
        self.answers, self.wrong, self.lock = 0, [], threading.Lock()
        self.random = random.Random(os.getpid())
        self.pems = pems

    def context(self, *alpn):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.pems[0])
        context.load_cert_chain(self.pems[1], self.pems[2])
        context.set_alpn_protocols(alpn)
        return context

    def good(self, condition, what):
        with self.lock:
            self.answers += 1
            if not condition:
                self.wrong.append(what)

    def size(self):
        return self.random.choice((0, 1, 100, 1001, 5000, 20000, 70001, 300000))

    def run(self, *ways, threads=2):
        """Each way on so many threads, over and over: way() is one connection."""
        def loop(way):
            try:
                while time.monotonic() < self.end and not self.wrong:
                    way()
            except Exception as e:  # told at the end
                self.wrong.append("%s: %s: %s" % (way.__name__, type(e).__name__, e))

        all_ = [threading.Thread(target=loop, args=(way,)) for way in ways for _ in range(threads)]
        for t in all_:
            t.start()
        for t in all_:
            t.join()

    # -- HTTP/1

    def h1_connection(self, open_=None):
        with (open_ or Client)(self.address, BOUND) as c:
            for _ in range(self.random.randrange(1, 40)):
                kind, size = self.random.randrange(10), self.size()
                if kind == 0:
                    answer = c.ask("/%d" % size, "HEAD")
                    self.good(answer.status == 200 and not answer.body, "HEAD: %r" % answer)
                elif kind == 1:
                    body = body_of(size)
                    answer = c.ask("/", "POST", body=body)
                    self.good(answer.status == 200 and answer.body == body, "POST %d: %r" % (size, answer))
                elif kind == 2:
                    body = body_of(size)
                    c.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + (
                        b"%x\r\n%s\r\n" % (size, body) if size else b"") + b"0\r\n\r\n")
                    answer = c.read()
                    self.good(answer.status == 200 and answer.body == body, "chunked POST %d: %r" % (size, answer))
                elif kind == 3:
                    sizes = [self.size() for _ in range(4)]
                    c.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in sizes))
                    for n in sizes:
                        answer = c.read()
                        self.good(answer.status == 200 and answer.body == body_of(n), "pipelined %d: %r" % (n, answer))
                elif kind == 4:
                    c.send(b"GET /900000 HTTP/1.1\r\nHost: h\r\n\r\n")
                    c.socket.recv(1000)
                    return  # in the middle of an answer
                else:
                    answer = c.ask("/%d" % size)
                    self.good(answer.status == 200 and answer.body == body_of(size), "GET %d: %r" % (size, answer))

    def h1(self):
        self.run(self.h1_connection)

    # -- HTTP/2

    def h2_connection(self, tls=None):
        from http2 import H2Client
        with H2Client(self.address, timeout=BOUND, tls=tls) as c:
            for _ in range(self.random.randrange(1, 8)):
                asked, left = {}, []
                for _ in range(8):
                    size, kind = self.size(), self.random.randrange(8)
                    if kind == 0:
                        # Sent whole before the next: this client's windows are its own affair.
                        asked[c.request("/", "POST", body=body_of(size))] = size
                    elif kind == 1:
                        left.append(c.request("/900000"))
                    else:
                        asked[c.request("/%d" % size)] = size
                for stream in left:
                    c.h2.reset_stream(stream, 8)
                c.flush()
                for stream, size in asked.items():
                    s = c.wait(stream)
                    self.good(s.ended and s.status == 200 and bytes(s.body) == body_of(size) and
                              (s.trailers or []) == ([("x-size", str(size))] if size % 2 else []),
                              "stream %d, %d bytes: %s, %d, reset %s, trailers %s" % (stream, size, s.status, len(s.body), s.reset, s.trailers))
                if c.goaways:
                    return

    def h2(self):
        self.run(self.h2_connection)

    # -- TLS

    def tls(self):
        from pki import TlsClient
        one, two = self.context("http/1.1"), self.context("h2")

        def h1_over_tls():
            self.h1_connection(lambda address, timeout: TlsClient(address, one, timeout=timeout))

        def h2_over_tls():
            self.h2_connection(two)

        self.run(h1_over_tls, h2_over_tls, threads=1)

    # -- bytes

    def echo(self, c, prefix=b""):
        size = self.size()
        data = body_of(size)
        sender = threading.Thread(target=lambda: c.socket.sendall(data))
        sender.start()
        got = bytearray(prefix)
        while len(got) < size:
            more = c.socket.recv(1 << 16)
            if not more:
                break
            got += more
        sender.join()
        self.good(bytes(got) == data, "echo of %d: %d bytes" % (size, len(got)))

    def tcp_connection(self):
        with Client(self.address, BOUND) as c:
            for _ in range(self.random.randrange(1, 5)):
                self.echo(c)
            if self.random.randrange(4):
                c.socket.shutdown(1)
                self.good(c.socket.recv(1) == b"", "the end is passed on")

    def tcp(self):
        self.run(self.tcp_connection)

    def upgrade_connection(self):
        with Client(self.address, BOUND) as c:
            key = base64.b64encode(os.urandom(16))
            c.send(b"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
            head = bytearray()
            while not head.endswith(b"\r\n\r\n"):
                more = c.socket.recv(1)
                if not more:
                    break
                head += more
            self.good(head.startswith(b"HTTP/1.1 101 ") and proof(key) in head, "Upgrade: %r" % bytes(head))
            for _ in range(self.random.randrange(1, 5)):
                self.echo(c)
            if self.random.randrange(4):
                c.socket.shutdown(1)
                got = b""
                while more := c.socket.recv(100):
                    got += more
                self.good(got == b"bye", "the tunnel's end: %r" % got)

    def upgrade(self):
        self.run(self.upgrade_connection)


def main():
    if sys.argv[1] == "origin":
        print(HttpOrigin(sys.argv[2]).address, Echo(sys.argv[2]).address, flush=True)
        sys.stdin.read()
        os._exit(0)
    clients = Clients(sys.argv[2], float(sys.argv[3]), sys.argv[4:])
    getattr(clients, sys.argv[1])()
    print(json.dumps({"answers": clients.answers, "wrong": clients.wrong[:5]}))


if __name__ == "__main__":
    main()
