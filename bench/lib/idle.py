"""Connections and streams that are open and idle, to see what each costs a proxy in resident memory."""

import socket
import struct
import time

import harness
from harness import BenchError

REQUEST = b"GET / HTTP/1.1\r\nHost: bench.local\r\n\r\n"
UPGRADE = (b"GET /socket HTTP/1.1\r\nHost: bench.local\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

# HTTP/2 by hand (RFC 9113, RFC 7541): what an idle connection has to say is a few dozen bytes.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING, GOAWAY = 1, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(index, value):
    """A field with an indexed name, not put into the table."""
    return (bytes([index]) if index < 15 else bytes([15, index - 15])) + bytes([len(value)]) + value


GET = b"\x82\x86\x84" + literal(1, b"bench.local")  # :method GET, :scheme http, :path /, :authority
OPEN = b"\x83\x86" + literal(4, b"/-/open") + literal(1, b"bench.local") + literal(31, b"application/grpc")


def settled(pids):
    """Resident KB when it stopped growing."""
    last = -1
    for _ in range(20):
        time.sleep(0.25)
        now = harness.memory_kb(pids)
        if now == last:
            break
        last = now
    return now


class Sockets:
    """Open connections. Context manager: closed at its end."""

    def __init__(self, port, count, tls=None, name=None):
        self.sockets = []
        try:
            for _ in range(count):
                s = socket.create_connection(("127.0.0.1", port), 10)
                self.sockets.append(s)
                if tls:
                    self.sockets[-1] = tls.wrap_socket(s, server_hostname=name)
        except OSError as e:
            self.close()
            raise BenchError("connection %d of %d: %s" % (len(self.sockets), count, e))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for s in self.sockets:
            s.close()

    def receive(self, n):
        part = self.sockets[n].recv(65536)
        if not part:
            raise BenchError("connection %d was closed instead of an answer" % n)
        return part

    def use(self, size, at_once=64):
        """One HTTP/1 request each, so many at a time; `size`: of the answer's body."""
        for n, s in enumerate(self.sockets):
            if n % at_once == 0:
                for other in self.sockets[n:n + at_once]:
                    other.sendall(REQUEST)
            got = b""
            while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < size:
                got += self.receive(n)
            if b" 200 " not in got.partition(b"\r\n")[0]:
                raise BenchError("connection %d got %r" % (n, got[:60]))

    def upgrade(self):
        """Each becomes a WebSocket."""
        for n, s in enumerate(self.sockets):
            s.sendall(UPGRADE)
            got = b""
            while b"\r\n\r\n" not in got:
                got += self.receive(n)
            if b" 101 " not in got.partition(b"\r\n")[0]:
                raise BenchError("connection %d got %r instead of 101" % (n, got[:60]))

    def begin_h2(self):
        """Both sides' SETTINGS, and their acknowledgement."""
        for n, s in enumerate(self.sockets):
            s.sendall(PREFACE + frame(SETTINGS, 0, 0))
            self.until(n, SETTINGS)
            s.sendall(frame(SETTINGS, ACK, 0))

    def use_h2(self):
        """One request each, answered to its end."""
        for n, s in enumerate(self.sockets):
            s.sendall(frame(HEADERS, END_HEADERS | END_STREAM, 1, GET))
            self.until(n, None, END_STREAM)

    def open_streams(self, each):
        """So many gRPC streams on each that got their header, and stay open."""
        for n, s in enumerate(self.sockets):
            for stream in range(each):
                s.sendall(frame(HEADERS, END_HEADERS, 2 * stream + 1, OPEN))
            self.until(n, HEADERS, times=each)

    def until(self, n, kind, flag=0, times=1):
        """Reads whole frames until so many of one kind (None: DATA or HEADERS), with that flag, came."""
        data = b""
        while times > 0:
            data += self.receive(n)
            while len(data) >= 9:
                length = int.from_bytes(data[:3], "big")
                if len(data) < 9 + length:
                    break
                got, flags = data[3], data[4]
                if got == GOAWAY or got == 3:  # or RST_STREAM
                    raise BenchError("connection %d: the proxy sent %s" % (n, "GOAWAY" if got == GOAWAY else "RST_STREAM"))
                if (got == kind or kind is None and got in (0, HEADERS)) and flags & flag == flag and not (got == SETTINGS and flags & ACK):
                    times -= 1
                data = data[9 + length:]
