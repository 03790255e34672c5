#!/usr/bin/env python3
"""HTTP/2 floods and stalls, each repeated beside a well-behaved client, which gets every answer. Frames are made by hand."""

import socket

import abuse
import harness
from abuse import BOUND, LONG, MB, close_all
from frames import (CALM, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM,
                    SETTINGS, WINDOW_UPDATE, frame)
from wire import Server

STALLED = 20.0  # MB, of 1,000 streams with 1 MB each that nobody takes


def get(path=b"/", method=b"\x82", more=b""):
    """A header block: the static table, literals that are not indexed."""
    return method + b"\x86\x04" + bytes((len(path),)) + path + b"\x01\x01a" + more


POST = b"\x83"
HELLO = PREFACE + frame(SETTINGS, 0, 0)


class Attacker:
    """A connection that sends bytes and looks at the types of what comes."""

    def __init__(self, attack, hello=HELLO, receive_buffer=None):
        self.socket = attack.connect(receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.inbox, self.goaway, self.closed, self.resets, self.ended = bytearray(), None, False, 0, 0
        self.send(hello)

    def send(self, data):
        """False once the peer has gone."""
        try:
            self.socket.sendall(data)
            return True
        except ConnectionError:
            self.closed = True
            return False

    def read(self):
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return
        self.inbox += data
        while len(self.inbox) >= 9:
            size = 9 + int.from_bytes(self.inbox[:3], "big")
            if len(self.inbox) < size:
                break
            type_, flags = self.inbox[3], self.inbox[4]
            if type_ == GOAWAY and self.inbox[13:17] != b"\0\0\0\0":
                self.goaway = int.from_bytes(self.inbox[13:17], "big")
            elif type_ == RST_STREAM:
                self.resets += 1
            elif type_ in (DATA, HEADERS) and flags & END_STREAM:
                self.ended += 1
            del self.inbox[:size]

    def until_refused(self):
        while not self.closed and self.goaway is None:
            self.read()
        self.socket.close()


class Stalled(Server):
    """Answers /N with N bytes, /hold never, anything else at once with "ok"; counts heads."""

    heads = 0

    def serve(self, connection):
        got = b""
        while True:
            while b"\r\n\r\n" not in got:
                data = connection.recv(65536)
                if not data:
                    return
                got += data
            head, _, got = got.partition(b"\r\n\r\n")
            self.heads += 1
            path = head.split(b" ", 2)[1][1:]
            if path == b"hold":
                while connection.recv(65536):
                    pass
                return
            size = int(path) if path.isdigit() else 2
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            while size > 0:
                connection.sendall(b"y" * min(size, 65536))
                size -= 65536


class FloodTest(abuse.AbuseTest):
    """Each connection of a flood is ended with GOAWAY ENHANCE_YOUR_CALM and counted, again and again."""

    @classmethod
    def origin(cls):
        return Stalled(cls.env.network.ip("0.3"))

    def flood(self, name, counters, blob, connections=4):
        """`blob`: what follows the preface, in one piece or several; that many connections send it at once. `counters`: each
        connection counts in one of them; none for what nghttp2 ends by itself."""
        with self.attack(name, "h2") as a:
            total = 0

            def counted():
                return sum(a.proxy.stat("http2." + c) for c in counters)

            def once():
                nonlocal total
                held = [Attacker(a) for _ in range(connections)]
                for c in held:
                    for piece in blob if isinstance(blob, list) else [blob]:
                        if not c.send(piece):
                            break
                for c in held:
                    c.until_refused()
                    # When the attacker is still sending, the kernel may throw the GOAWAY away with the connection.
                    self.assertIn(c.goaway, (CALM, None), name)
                total += connections

            self.repeat(once)
            if counters:
                harness.wait_until(lambda: "%d are counted; %d are" % (total, counted()), lambda: counted() >= total, BOUND)
                self.assertEqual(counted(), total)
            a.notes.append("%d connections ended" % total)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_rapid_reset(self):
        pairs = [frame(HEADERS, END_STREAM | END_HEADERS, i, get()) + frame(RST_STREAM, 0, i, CANCEL) for i in range(1, 2401, 2)]
        self.flood("rapid reset, all at once", ["inbound_reset_flood"], b"".join(pairs))

    def test_rapid_reset_that_reaches_the_upstream(self):
        opened = [frame(HEADERS, END_STREAM | END_HEADERS, i, get(b"/1000000")) for i in range(1, 2401, 2)]
        cut = [frame(RST_STREAM, 0, i, CANCEL) for i in range(1, 2401, 2)]
        pieces = []
        for i in range(0, 1200, 40):
            pieces += [b"".join(opened[i:i + 40]), b"".join(cut[i:i + 40])]
        self.flood("rapid reset of requests under way", ["inbound_reset_flood"], pieces, connections=1)

    def test_ping(self):
        self.flood("PING", ["outbound_control_flood"], frame(PING, 0, 0, b"abcdefgh") * 5000)

    def test_settings(self):
        self.flood("SETTINGS", ["outbound_control_flood"], frame(SETTINGS, 0, 0) * 5000)

    def test_settings_full(self):
        many = b"".join(b"\0\x04" + (65535 + i % 2).to_bytes(4, "big") for i in range(2700))
        self.flood("SETTINGS with 2,700 entries", [], frame(SETTINGS, 0, 0, many) * 2000, connections=1)

    def test_unknown_frames(self):
        self.flood("unknown frames", ["inbound_control_frames_flood"], frame(0x77, 0, 0) * 5000)

    def test_priority(self):
        self.flood("PRIORITY", ["inbound_priority_frames_flood"], frame(PRIORITY, 0, 5, b"\0\0\0\x03\x10") * 5000)

    def test_window_updates(self):
        self.flood("WINDOW_UPDATE", ["inbound_window_update_frames_flood"], frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 5000)

    def test_empty_data(self):
        self.flood("empty DATA", ["inbound_empty_frames_flood"],
                   frame(HEADERS, END_HEADERS, 1, get(method=POST)) + frame(DATA, 0, 1) * 5000)

    def test_empty_headers(self):
        """CVE-2019-9518: HEADERS and CONTINUATION without content."""
        self.flood("empty CONTINUATION", ["inbound_empty_frames_flood"], frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 5000)

    def test_continuation(self):
        self.flood("CONTINUATION", ["inbound_continuation_flood"],
                   frame(HEADERS, 0, 1, get()) + frame(CONTINUATION, 0, 1, b"\x00\x02xx\x02yy") * 5000)

    def test_hpack_bomb(self):
        entry = b"\x40\x02xx\x7f\xa1\x1e" + b"y" * 4000  # one entry of 4 KB in the table, then one byte for each copy of it
        self.flood("HPACK bomb", ["header_overflow"], frame(HEADERS, END_STREAM | END_HEADERS, 1, get(more=entry + b"\xbe" * 12000)))

    def test_made_you_reset(self):
        """The proxy is made to reset streams whose windows overflow."""
        pieces = [frame(HEADERS, END_STREAM | END_HEADERS, i, get(b"/1000000")) + frame(WINDOW_UPDATE, 0, i, b"\x7f\xff\xff\xff")
                  for i in range(1, 1201, 2)]
        self.flood("MadeYouReset: windows overflow", ["outbound_reset_flood", "inbound_window_update_frames_flood"],
                   [b"".join(pieces[i:i + 20]) for i in range(0, len(pieces), 20)], connections=1)


class MadeYouResetTest(abuse.AbuseTest):
    """Other ways to make a server reset a stream: an end of the connection is as good as a counted reset."""

    def variant(self, name, after):
        with self.attack("MadeYouReset: " + name, "h2") as a:
            resets = 0

            def once():
                nonlocal resets
                c = Attacker(a)
                for i in range(1, 1201, 2):
                    if not c.send(frame(HEADERS, END_HEADERS | END_STREAM, i, get()) + after(i)):
                        break
                c.until_refused()
                resets += c.resets

            n = self.repeat(once)
            a.notes.append("%d connections ended, %d resets" % (n, resets))
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_zero_increment(self):
        self.variant("increment of 0", lambda i: frame(WINDOW_UPDATE, 0, i, b"\0\0\0\0"))

    def test_data_after_the_end(self):
        self.variant("DATA after the end", lambda i: frame(DATA, 0, i, b"x"))

    def test_headers_after_the_end(self):
        self.variant("HEADERS after the end", lambda i: frame(HEADERS, END_HEADERS | END_STREAM, i, get()))

    def test_priority_of_another_size(self):
        self.variant("PRIORITY of 4 bytes", lambda i: frame(PRIORITY, 0, i, b"\0\0\0\0"))

    def test_dependency_on_itself(self):
        self.variant("dependency on itself", lambda i: frame(PRIORITY, 0, i, i.to_bytes(4, "big") + b"\0"))


class StallTest(abuse.AbuseTest):
    """Peers that do nothing wrong, only nothing."""

    @classmethod
    def origin(cls):
        return Stalled(cls.env.network.ip("0.3"))

    def stalled(self, name, hello):
        """1,000 streams on 10 connections, each for an answer of 1 MB of which nobody takes more than `hello` allows."""
        with self.attack(name, "h2", STALLED) as a:
            held = []
            for _ in range(10):
                c = Attacker(a, hello, 4096)
                held.append(c.socket)
                c.send(b"".join(frame(HEADERS, END_STREAM | END_HEADERS, i, get(b"/%d" % MB)) for i in range(1, 201, 2)))
            harness.wait_until(lambda: "1000 requests upstream; there are %d" % self.server.heads, lambda: self.server.heads >= 1000, BOUND)
            self.neighbour.wait_for(200)  # what is on its way has arrived
            a.notes.append("1,000 streams: %.1f MB" % (a.grown_kb() / 1024))
            close_all(held)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)
        self.server.heads = 0

    def test_zero_window(self):
        self.stalled("streams stalled, windows of 0", PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0"))

    def test_default_window(self):
        self.stalled("streams stalled, windows as they are", HELLO)

    def test_no_reader(self):
        wide = PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\x7f\xff\xff\xff") + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\0\0")
        self.stalled("streams stalled, wide windows, no reader", wide)

    def test_dribble(self):
        """CVE-2019-9511: windows that open byte by byte."""
        with self.attack("windows of 1 byte", "h2") as a:
            def once():
                c = Attacker(a, PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\1"))
                c.send(b"".join(frame(HEADERS, END_STREAM | END_HEADERS, i, get(b"/100000")) for i in range(1, 201, 2)))
                for _ in range(50):
                    if not c.send(b"".join(frame(WINDOW_UPDATE, 0, i, b"\0\0\0\1") for i in range(1, 201, 2))):
                        break
                c.socket.close()

            a.notes.append("%d connections" % self.repeat(once))
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)

    def test_heads_without_end(self):
        """Slowloris of HTTP/2: a head that never ends, and one that drips."""
        number = 2000 if LONG else 500
        with self.attack("h2 heads without end", "h2", 40) as a:
            held = []
            for i in range(number):
                c = Attacker(a)
                c.send(frame(HEADERS, END_STREAM, 1, get()))
                held.append(c)
            a.stat_at_least("http.main.downstream_cx_http2_active", number)
            for c in held:
                c.send(frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y"))
            self.neighbour.wait_for(50)
            a.notes.append("%.1f KB each" % (a.grown_kb() / number))
            close_all([c.socket for c in held])
            a.stat_at_most("http.main.downstream_cx_http2_active", 1)

    def test_bodies_without_end(self):
        """Uploads that stop after a byte."""
        with self.attack("h2 bodies without end", "h2") as a:
            held = []
            for _ in range(10):
                c = Attacker(a)
                c.send(b"".join(frame(HEADERS, END_HEADERS, i, get(b"/hold", POST)) + frame(DATA, 0, i, b"x") for i in range(1, 201, 2)))
                held.append(c.socket)
            a.stat_at_least("cluster.origin.upstream_rq_active", 1000)
            self.neighbour.wait_for(50)
            a.notes.append("1,000 streams: %.1f MB" % (a.grown_kb() / 1024))
            close_all(held)
            a.stat_at_most("cluster.origin.upstream_rq_active", 0)


if __name__ == "__main__":
    abuse.main()
