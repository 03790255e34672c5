"""Reads the corpus of raw HTTP/1 cases (http1/*.case), and has the strict parsers that judge what came out.

A file holds cases. A case begins with `== name`; its other lines:
    clause: RFC 9112 section 3.2    what it is about
    listener: main                  one of LISTENERS in http1_test.py
    > GET / HTTP/1.1\\r\\n            bytes of the client; several lines are one after the other
    >half-close                     the client ends its side
    < HTTP/1.1 200 OK\\r\\n           bytes of the origin in answer to the next request of this case (default: an echo)
    <next                           the answer to the request after that
    <close                          the origin ends the connection; <reset: with a reset
    <wait TEXT                      the origin goes on once the client's TEXT has reached it
    expect: 200 400 close           what the client reads: statuses, `cut` for an answer that is not whole, then `open`
                                    (a probe on the same connection is answered), `close`, or `tunnel`
    sees: POST /x hello             a whole request at the origin, with its body; one line each; `sees: nothing`;
    sees: partial POST /x           one that never became whole, if anything of it; its target is no other case's,
                                    since it may arrive late. Default: nothing when the first status is 4xx or 5xx,
                                    else as many whole requests as there are answers
    origin-has: text                in the origin's raw bytes (any case); origin-lacks
    answer-has: text                in the client's raw bytes; answer-lacks
    victim: no                      no request on another connection afterwards (default: one, which must get its own answer)
    pieces: no                      not in single bytes as well (default: once whole, once byte by byte)

Escapes: \\r \\n \\t \\0 \\xNN \\\\ and {N*text}.
"""

import re
from pathlib import Path

_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", "{": b"{"}


def decode(text):
    out = bytearray()
    i = 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            e = text[i + 1]
            if e == "x":
                out.append(int(text[i + 2:i + 4], 16))
                i += 4
            else:
                out += _ESCAPES[e]
                i += 2
        elif c == "{" and re.match(r"\{\d+\*", text[i:]):
            end = text.index("}", i)
            count, _, piece = text[i + 1:end].partition("*")
            out += decode(piece) * int(count)
            i = end + 1
        else:
            out += c.encode("latin-1")
            i += 1
    return bytes(out)


class Case:
    def __init__(self, name, where):
        self.name, self.where = name, where
        self.clause, self.listener = "", "main"
        self.send, self.half_close = b"", False
        self.answers = []  # per request: list of ("send", bytes), ("close",), ("reset",), ("wait", bytes)
        self.expect, self.sees = [], None
        self.origin_has, self.origin_lacks, self.answer_has, self.answer_lacks = [], [], [], []
        self.victim = self.pieces = True

    def answer(self):
        if not self.answers:
            self.answers.append([])
        return self.answers[-1]


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
                case.send += decode(line[2:])
            elif line == ">half-close":
                case.half_close = True
            elif line.startswith("< "):
                steps = case.answer()
                if steps and steps[-1][0] == "send":
                    steps[-1] = ("send", steps[-1][1] + decode(line[2:]))
                else:
                    steps.append(("send", decode(line[2:])))
            elif line == "<next":
                case.answers.append([])
            elif line in ("<close", "<reset"):
                case.answer().append((line[1:],))
            elif line.startswith("<wait "):
                case.answer().append(("wait", decode(line[6:])))
            else:
                key, colon, value = line.partition(":")
                value = value.strip()
                if not colon:
                    raise ValueError(where + ": what is this line?")
                if key == "clause":
                    case.clause = value
                elif key == "listener":
                    case.listener = value
                elif key == "expect":
                    case.expect = value.split()
                elif key == "sees":
                    case.sees = (case.sees or []) + ([] if value == "nothing" else [value])
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


# --- Strict parsers, written independently of the proxy's: what they don't take is a finding --------------------------------

class Bad(Exception):
    """Bytes that are no message."""


class Partial(Exception):
    """A message that is not whole (yet)."""

    def __init__(self, what=""):
        super().__init__(what)
        self.what = what


_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*\Z")
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.1\Z")
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) ([\t \x21-\x7e\x80-\xff]*)\Z")


def _head(data, at, start_line):
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        if re.search(rb"(?<!\r)\n|\r(?!\n|\Z)", data[at:]):
            raise Bad("bare CR or LF: %r" % data[at:at + 200])
        raise Partial()
    lines = data[at:end].split(b"\r\n")
    start = start_line.match(lines[0])
    if not start:
        raise Bad("start line %r" % lines[0][:200])
    fields = []
    for line in lines[1:]:
        f = _FIELD.match(line)
        if not f:
            raise Bad("field line %r" % line[:200])
        fields.append((f.group(1).lower(), f.group(2)))
    return start, fields, end + 4


def _values(fields, name):
    return [v for n, v in fields if n == name]


def _length(fields):
    lengths, codings = _values(fields, b"content-length"), _values(fields, b"transfer-encoding")
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        raise Bad("ambiguous framing: %r %r" % (lengths, codings))
    if codings:
        if codings[0].lower() != b"chunked":
            raise Bad("transfer coding %r" % codings[0])
        return "chunked"
    if lengths:
        if not re.match(rb"\d{1,18}\Z", lengths[0]):
            raise Bad("length %r" % lengths[0])
        return int(lengths[0])
    return None


def _chunks(data, at, what):
    body = b""
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            raise Partial(what)
        m = re.match(rb"[0-9a-f]{1,15}\Z", data[at:end])
        if not m:
            raise Bad("chunk size line %r" % data[at:end][:100])
        size, at = int(data[at:end], 16), end + 2
        if size == 0:
            break
        if len(data) < at + size + 2:
            raise Partial(what)
        if data[at + size:at + size + 2] != b"\r\n":
            raise Bad("chunk data runs over: %r" % data[at + size:at + size + 20])
        body += data[at:at + size]
        at += size + 2
    while True:  # trailers
        end = data.find(b"\r\n", at)
        if end < 0:
            raise Partial(what)
        line, at = data[at:end], end + 2
        if not line:
            return body, at
        f = _FIELD.match(line)
        if not f or f.group(1).lower() in (b"content-length", b"transfer-encoding", b"host"):
            raise Bad("trailer %r" % line[:200])


class Request:
    def __init__(self, method, target, fields, body):
        self.method, self.target, self.fields, self.body = method, target, fields, body

    def text(self):
        return (b"%s %s %s" % (self.method, self.target, self.body)).decode("latin-1").strip()


def parse_request(data, at):
    """A request of `data` from `at`, and where it ends. Raises Partial or Bad."""
    start, fields, at = _head(data, at, _REQUEST)
    method, target = start.group(1), start.group(2)
    what = (b"%s %s" % (method, target)).decode("latin-1")
    hosts = _values(fields, b"host")
    if len(hosts) != 1:
        raise Bad("%d Host fields" % len(hosts))
    if method == b"CONNECT":
        if re.match(rb"[^/?#@]+:\d+\Z", target) is None:
            raise Bad("CONNECT target %r" % target)
    elif not (target.startswith(b"/") or (target == b"*" and method == b"OPTIONS")):
        raise Bad("target %r" % target)
    length = _length(fields)
    body = b""
    if length == "chunked":
        body, at = _chunks(data, at, what)
    elif length:
        if len(data) < at + length:
            raise Partial(what)
        body, at = data[at:at + length], at + length
    return Request(method, target, fields, body), at


class Response:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body


def parse_response(data, at, method, ended):
    """A response of `data` from `at` to a request with `method`, and where it ends. Raises Partial or Bad."""
    start, fields, at = _head(data, at, _STATUS)
    status = int(start.group(1))
    length = _length(fields)
    body = b""
    if status < 200 or status == 204:
        if length is not None and not (status == 204 and length == 0):
            raise Bad("a length with %d" % status)
    elif method == b"HEAD" or status == 304 or (method == b"CONNECT" and status < 300):
        pass
    elif length == "chunked":
        body, at = _chunks(data, at, "answer")
    elif length is not None:
        if len(data) < at + length:
            raise Partial("answer")
        body, at = data[at:at + length], at + length
    else:
        if not any(v.lower() == b"close" for v in _values(fields, b"connection")):
            raise Bad("no length, and no connection: close")
        if not ended:
            raise Partial("answer")
        body, at = data[at:], len(data)
    return Response(status, fields, body), at
