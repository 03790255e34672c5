"""The recording origin of the conformance tests, and the desync detector: what reaches it is read by a strict parser that has
nothing in common with the proxy's."""

import re
import socket
import struct
import threading

import http1_cases
from http1_cases import Bad, Partial


class RecordingOrigin:
    """Answers by the script of the case, or with an echo; keeps what each connection received since the case began."""

    def __init__(self, ip):
        self.listener = socket.create_server((ip, 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.changed = threading.Condition()
        self.connections = []
        self.script = []
        # What earlier cases allowed, each under a target of its own, and may arrive only now: whole requests, and parts.
        self.late, self.late_parts = set(), set()
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, answers):
        with self.changed:
            self.script = [list(a) for a in answers]
            # One with bytes left over is of the case before: nothing whole can follow them.
            self.connections = [c for c in self.connections if not c.over and len(c.data) == c.parsed]
            for c in self.connections:
                c.begin_case()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            c = Connection(self, s)
            with self.changed:
                self.connections.append(c)
            threading.Thread(target=c.run, daemon=True).start()

    def close(self):
        self.listener.close()
        with self.changed:
            for c in self.connections:
                c.close()

    def judge(self, sees, has, lacks, bound):
        """What is wrong with what came since the case began. `sees`: whole requests as text ("*": any), "partial ..." those that
        may have come in part, "perhaps ..." whole ones that may be there; `has` and `lacks`: bytes, any case."""
        whole = [s for s in sees if not s.startswith(("partial ", "perhaps "))]
        partial = [s[8:] for s in sees if s.startswith("partial ")]
        self.late.update(s[8:] for s in sees if s.startswith("perhaps "))

        def state():
            """Whole requests, parts of requests, what is neither, and all bytes."""
            requests, parts, bad, raw = [], [], [], b""
            for c in self.connections:
                if c.bad:
                    bad.append(c.bad)
                requests += [r.text() for r in c.requests if not r.target.startswith((b"/probe", b"/victim"))
                             and r.text() not in self.late]
                rest, late = bytes(c.data[c.parsed:]), False
                if rest and not c.tunnel:
                    try:
                        http1_cases.parse_request(rest, 0)
                    except Partial as e:
                        late = e.what in self.late_parts and e.what not in partial
                        if not late:
                            parts.append(e.what or rest.decode("latin-1"))
                    except Bad as e:
                        bad.append(str(e))
                raw += b"" if late else bytes(c.data)
            return requests, parts, bad, raw

        def fits():
            requests, parts, bad, raw = state()
            return bad or (len(requests) >= len(whole) and all(t.lower() in raw.lower() for t in has))

        with self.changed:
            self.changed.wait_for(fits, bound)
            requests, parts, bad, raw = state()
        self.late_parts.update(partial)
        wrong = ["the origin got bytes that are no request: %s" % b for b in bad]
        if len(requests) != len(whole) or any(w not in ("*", r) for w, r in zip(whole, requests)):
            wrong.append("the origin saw %r, expected %r" % (requests, whole))
        if any(p not in partial and p not in self.late for p in parts):  # how much of one got there is a matter of time
            wrong.append("the origin saw parts %r, expected %r" % (parts, partial))
        low = raw.lower()
        wrong += ["the origin's bytes lack %r: %r" % (t, raw[:600]) for t in has if t.lower() not in low]
        wrong += ["the origin's bytes have %r" % t for t in lacks if t.lower() in low]
        return wrong


class Connection:
    def __init__(self, origin, s):
        self.origin, self.socket = origin, s
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = bytearray()   # since the case began
        self.parsed = 0           # of it, whole requests
        self.requests = []
        self.bad = None
        self.tunnel = self.over = False

    def begin_case(self):
        del self.data[:self.parsed]
        self.parsed = 0
        self.requests = []

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def _read(self):
        data = self.socket.recv(65536)
        with self.origin.changed:
            self.data += data
            self.origin.changed.notify_all()
        return bool(data)

    def run(self):
        try:
            while True:
                try:
                    with self.origin.changed:
                        request, end = http1_cases.parse_request(bytes(self.data), self.parsed)
                        self.parsed = end
                        self.requests.append(request)
                        special = request.target.startswith((b"/probe", b"/victim"))
                        steps = self.origin.script.pop(0) if self.origin.script and not special else None
                        self.origin.changed.notify_all()
                    if not self._answer(request, steps):
                        return
                except Partial:
                    if not self._read():
                        return
        except Bad as e:
            with self.origin.changed:
                self.bad = str(e)
                self.origin.changed.notify_all()
        except OSError:
            pass
        finally:
            self.socket.close()
            with self.origin.changed:
                self.over = True
                self.origin.changed.notify_all()

    def _answer(self, request, steps):
        if steps is None:
            body = request.text().encode("latin-1")
            if request.method == b"CONNECT":
                steps = [("send", b"HTTP/1.1 405 no\r\nContent-Length: 0\r\n\r\n")]
            else:
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                steps = [("send", head if request.method == b"HEAD" else head + body)]
        for step in steps:
            if step[0] == "send":
                self.socket.sendall(step[1])
                if re.match(rb"HTTP/1\.1 101 ", step[1]) or (request.method == b"CONNECT" and step[1].startswith(b"HTTP/1.1 2")):
                    self.tunnel = True
            elif step[0] == "close":
                self.socket.shutdown(socket.SHUT_WR)
            elif step[0] == "reset":
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            elif step[0] == "wait":
                while step[1] not in self.data[self.parsed:]:
                    if not self._read():
                        return False
        if self.tunnel:  # everything from here on belongs to it
            while self._read():
                pass
            return False
        return True
