"""Reads the corpus of HTTP/2 cases (http2/*.case), and has the raw client that sends them and judges what comes back.

The language is that of http1_cases.py, but for what the client sends:
    head: GET /a [AUTHORITY [SCHEME]]  the usual pseudo fields of a request, in the usual order (authority h, scheme http)
    > name=value                    one field of the head, as it is; also instead of `head`
    data: text                      one DATA frame
    trailer: name=value             one field of the trailers
    raw: bytes                      bytes behind all that; {SID} is the stream's id in four bytes
    end: no                         nothing carries END_STREAM (default: the last frame does)
    sees: perhaps POST /x hello     a whole request that may be there or not
    expect: 200 open                statuses of heads; then `cut` behind a final one when the answer does not end as one (its head
                                    may be lost), `reset` when the stream is reset without an answer, `goaway` when the connection is ended with an error, or
                                    `tunnel`; then `open` (a probe on the same connection is answered) or `close`. What depends on
                                    time has alternatives: `reset open | 200 open`
Escapes as there. A case is sent once as plain literals in one HEADERS frame, and once in pieces: Huffman-coded, indexed, split into
CONTINUATION and short DATA frames with padding, byte by byte.
"""

import re
import socket
from pathlib import Path

import http2  # finds h2, with hpack beside it
import hpack
from http1_cases import Bad, decode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1


class Case:
    def __init__(self, name, where):
        self.name, self.where = name, where
        self.clause, self.listener = "", "main"
        self.head, self.data, self.trailers, self.raw = [], [], [], b""
        self.end = True
        self.answers = []
        self.expect, self.or_else, self.sees = [], [], None
        self.origin_has, self.origin_lacks, self.answer_has, self.answer_lacks = [], [], [], []
        self.victim = self.pieces = True

    def answer(self):
        if not self.answers:
            self.answers.append([])
        return self.answers[-1]


def pseudo(method, path, authority=b"h", scheme=b"http"):
    return [(b":method", method), (b":scheme", scheme), (b":path", path), (b":authority", authority)]


def _field(text, where):
    m = re.match(r"(:?[^=]*)=(.*)\Z", text)
    if not m:
        raise ValueError(where + ": expected name=value")
    return decode(m.group(1)), decode(m.group(2))


def load(folder):
    cases = []
    for path in sorted(Path(folder).glob("*.case")):
        case = None
        for number, line in enumerate(path.read_text(encoding="latin-1").split("\n"), 1):
            where = "%s:%d" % (path.name, number)
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("== "):
                case = Case(line[3:].strip(), where)
                cases.append(case)
                continue
            if case is None:
                raise ValueError(where + ": no case yet")
            if line.startswith("> "):
                case.head.append(_field(line[2:], where))
            elif line.startswith("< "):
                steps = case.answer()
                if steps and steps[-1][0] == "send":
                    steps[-1] = ("send", steps[-1][1] + decode(line[2:]))
                else:
                    steps.append(("send", decode(line[2:])))
            elif line in ("<close", "<reset"):
                case.answer().append((line[1:],))
            elif line.startswith("<wait "):
                case.answer().append(("wait", decode(line[6:])))
            else:
                key, colon, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if not colon:
                    raise ValueError(where + ": what is this line?")
                if key in ("clause", "listener"):
                    setattr(case, key, value)
                elif key == "head":
                    case.head += pseudo(*(decode(p) for p in value.split(" ")))
                elif key == "data":
                    case.data.append(decode(value))
                elif key == "trailer":
                    case.trailers.append(_field(value, where))
                elif key == "raw":
                    case.raw += decode(value.replace("{SID}", "\\x00\\x00\\x00\\x01"))
                elif key == "end":
                    case.end = value != "no"
                elif key == "expect":
                    case.expect, *case.or_else = [v.split() for v in value.split("|")]
                elif key == "sees":
                    case.sees = (case.sees or []) + ([] if value == "nothing" else [decode(value).decode("latin-1")])
                elif key in ("origin-has", "origin-lacks", "answer-has", "answer-lacks"):
                    getattr(case, key.replace("-", "_")).append(decode(value))
                elif key in ("victim", "pieces"):
                    setattr(case, key, value != "no")
                else:
                    raise ValueError(where + ": no key %r" % key)
    names = [c.name for c in cases]
    for c in cases:
        if names.count(c.name) > 1:
            raise ValueError(c.where + ": a second case " + c.name)
        if not c.expect or c.expect[-1] not in ("open", "close", "tunnel"):
            raise ValueError(c.where + ": expect must end with open, close or tunnel")
        if not c.clause:
            raise ValueError(c.where + ": no clause")
    return cases


# --- The client: frames by hand, and an encoder that checks nothing ---------------------------------------------------------

def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _integer(value, bits):
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out = bytearray([most])
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def literals(fields):
    """A block of literals without indexing, with plain strings (RFC 7541 section 6.2.2)."""
    return b"".join(b"\0" + _integer(len(n), 7) + n + _integer(len(v), 7) + v for n, v in fields)


class Stream:
    def __init__(self):
        self.heads, self.trailers, self.body = [], None, bytearray()
        self.ended, self.reset = False, None

    @property
    def final(self):
        """The head of the answer, or None."""
        if self.heads and int(dict(self.heads[-1])[b":status"]) >= 200:
            return dict(self.heads[-1])
        return None

    def text(self):
        fields = [f for h in self.heads for f in h] + (self.trailers or [])
        return b"".join(b"%s: %s\n" % f for f in fields) + bytes(self.body)


_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?\Z")
_FORBIDDEN = (b"connection", b"transfer-encoding", b"keep-alive", b"proxy-connection", b"upgrade")


class RawClient:
    """One connection. What it is sent is read strictly: Bad when it is no HTTP/2 answer."""

    def __init__(self, address, timeout):
        self.socket = socket.create_connection(address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.inbox, self.streams, self.next_id = bytearray(), {}, 1
        self.goaway, self.closed = None, False
        self.block = None  # (stream, flags, bytes) of a header block under way
        self.methods = {}
        self.raw(PREFACE + frame(SETTINGS, 0, 0, b""))

    def close(self):
        self.socket.close()

    def raw(self, data, piecewise=False):
        try:
            if piecewise:
                for i in range(len(data)):
                    self.socket.sendall(data[i:i + 1])
            else:
                self.socket.sendall(data)
        except OSError:
            pass  # a refusal may come before the last byte is sent

    def block_frames(self, stream, fields, end, pieces):
        flags = END_STREAM if end else 0
        block = self.encoder.encode(fields, huffman=True) if pieces else literals(fields)
        size = max(1, -(-len(block) // 3)) if pieces else 16384
        parts = [block[i:i + size] for i in range(0, len(block), size)]
        out = b""
        for i, part in enumerate(parts):
            last = END_HEADERS if i == len(parts) - 1 else 0
            if i == 0 and pieces:
                out += frame(HEADERS, flags | PADDED | last, stream, b"\x03" + part + b"\0\0\0")
            elif i == 0:
                out += frame(HEADERS, flags | last, stream, part)
            else:
                out += frame(CONTINUATION, last, stream, part)
        return out

    def send(self, head, data=(), trailers=(), raw=b"", end=True, pieces=False):
        stream, self.next_id = self.next_id, self.next_id + 2
        self.streams[stream] = Stream()
        self.methods[stream] = dict(head).get(b":method", b"")
        pieces_of_data = list(data)
        if pieces:
            pieces_of_data = [d[i:i + 3] for d in data for i in range(0, len(d), 3)] or list(data)
        out = self.block_frames(stream, head, end and not data and not trailers, pieces)
        for i, d in enumerate(pieces_of_data):
            last = end and not trailers and i == len(pieces_of_data) - 1
            if pieces and d:
                out += frame(DATA, PADDED | (END_STREAM if last else 0), stream, b"\x01" + d + b"\0")
            else:
                out += frame(DATA, END_STREAM if last else 0, stream, d)
        if trailers:
            out += self.block_frames(stream, list(trailers), end, pieces)
        self.raw(out + raw, pieces)
        return stream

    def pump(self):
        """Reads once; False at the end of the connection."""
        if self.closed:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.inbox += data
        while len(self.inbox) >= 9:
            size = 9 + int.from_bytes(self.inbox[:3], "big")
            if len(self.inbox) < size:
                break
            kind, flags = self.inbox[3], self.inbox[4]
            stream = int.from_bytes(self.inbox[5:9], "big") & 0x7fffffff
            payload = bytes(self.inbox[9:size])
            del self.inbox[:size]
            self._frame(kind, flags, stream, payload)
        return True

    def _frame(self, kind, flags, stream, payload):
        if self.block is not None and kind != CONTINUATION:
            raise Bad("frame type %d within a header block" % kind)
        if kind == SETTINGS and not flags & ACK:
            self.raw(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.raw(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind in (HEADERS, CONTINUATION):
            if kind == HEADERS:
                if flags & PADDED:
                    payload = payload[1:len(payload) - payload[0]]
                self.block = (stream, flags, payload)
            else:
                self.block = (self.block[0], self.block[1], self.block[2] + payload)
            if flags & END_HEADERS:
                sid, first, block = self.block
                self.block = None
                fields = [(bytes(n), bytes(v)) for n, v in self.decoder.decode(block, raw=True)]
                self._fields(sid, fields, first & END_STREAM)
        elif kind == DATA:
            if flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            s = self._live(stream, "DATA")
            if s.final is None or s.trailers is not None:
                raise Bad("DATA outside of an answer's body")
            s.body += payload
            if flags & END_STREAM:
                self._ended(stream, s)
        elif kind == RST_STREAM and stream in self.streams:
            self.streams[stream].reset = int.from_bytes(payload, "big")

    def _live(self, stream, what):
        s = self.streams.get(stream)
        if s is None or s.ended or s.reset is not None:
            raise Bad("%s on stream %d, which is not open" % (what, stream))
        return s

    def _fields(self, stream, fields, end):
        s = self._live(stream, "HEADERS")
        for name, value in fields:
            if not _NAME.match(name.removeprefix(b":")) or not _VALUE.match(value) or name in _FORBIDDEN:
                raise Bad("field %r: %r" % (name, value))
        pseudo_fields = [n for n, _ in fields if n.startswith(b":")]
        if s.final is not None:
            if pseudo_fields or not end:
                raise Bad("no trailers: %r" % fields)
            s.trailers = fields
        else:
            if pseudo_fields != [b":status"] or fields[0][0] != b":status" or not re.match(rb"[1-5]\d\d\Z", fields[0][1]):
                raise Bad("no head of an answer: %r" % fields)
            if fields[0][1] == b"101" or (fields[0][1][:1] == b"1" and end):
                raise Bad("informational: %r" % fields)
            s.heads.append(fields)
        if end:
            self._ended(stream, s)

    def _ended(self, stream, s):
        s.ended = True
        lengths = [v for n, v in s.heads[-1] if n == b"content-length"]
        if len(lengths) > 1:
            raise Bad("lengths %r" % lengths)
        bodiless = self.methods[stream] == b"HEAD" or s.final[b":status"] == b"304"
        if lengths and not bodiless and int(lengths[0]) != len(s.body):
            raise Bad("content-length %r with a body of %d bytes, as if whole" % (lengths[0], len(s.body)))

    def until(self, condition):
        """Reads until the condition is true or the connection ends; whether it is true."""
        while not condition():
            if not self.pump():
                return condition()
        return True

    def wait(self, stream):
        s = self.streams[stream]
        self.until(lambda: s.ended or s.reset is not None)
        return s

    def outcome(self, stream):
        """The words of `expect` for the stream, but for the last one."""
        s = self.streams[stream]
        words = [dict(h)[b":status"].decode() for h in s.heads]
        if s.final is not None:
            if not s.ended:
                words.append("cut")
        elif s.reset is not None:
            words.append("reset")
        if self.goaway:
            words.append("goaway")
        return words
