"""End-to-end tests, HTTP/1.1 by hand: a client that sends exactly what it is given, origins, load that counts failures."""

import collections
import json
import socket
import threading
import time
import urllib.parse

from base import Trouble, split_address, wait_until


# --- HTTP client ----------------------------------------------------------------------------------------------------------

class Answer:
    """One response as it came: fields keep order and case."""

    def __init__(self, status, reason, headers, body, raw, complete=True):
        self.status, self.reason, self.headers, self.body, self.raw, self.complete = status, reason, headers, body, raw, complete

    def header(self, name):
        """First value, or None."""
        for k, v in self.headers:
            if k.lower() == name.lower():
                return v
        return None

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%s %s %r %r>" % (self.status, self.reason, self.headers, self.body[:200])


class Closed(OSError):
    """The peer closed before a whole answer. `received`: what came."""

    def __init__(self, received):
        super().__init__("connection closed after %d bytes: %r" % (len(received), bytes(received[:200])))
        self.received = bytes(received)


class Client:
    """One connection, kept alive. Sends exactly what it is given."""

    def __init__(self, address, timeout=10.0, source=None):
        self.socket = socket.create_connection(split_address(address), timeout, source_address=source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.received = bytearray()  # of the answer being read
        self.requests = 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        self.received += data
        self.buffer += data
        return bool(data)

    def _line(self):
        while True:
            at = self.buffer.find(b"\n")
            if at >= 0:
                line = bytes(self.buffer[:at]).rstrip(b"\r")
                del self.buffer[:at + 1]
                return line
            if not self._more():
                raise Closed(self.received)

    def _bytes(self, n):
        while len(self.buffer) < n:
            if not self._more():
                raise Closed(self.received)
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def read(self, to_head=False):
        """The next final response; informational ones are skipped. Closed when the peer closes before it is whole."""
        self.received = bytearray(self.buffer)
        while True:
            line = self._line()
            parts = line.decode("latin-1").split(" ", 2)
            if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
                raise Trouble("no status line: %r" % line)
            status = int(parts[1])
            headers = []
            while True:
                line = self._line()
                if not line:
                    break
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name, value.strip()))
            if status >= 200:
                break
        answer = Answer(status, parts[2] if len(parts) > 2 else "", headers, b"", b"")
        if not to_head and status not in (204, 304):
            if (answer.header("transfer-encoding") or "").lower() == "chunked":
                while True:
                    size = int(self._line().split(b";")[0], 16)
                    if size == 0:
                        while self._line():
                            pass
                        break
                    answer.body += self._bytes(size)
                    if self._line():
                        raise Trouble("a chunk is not followed by CRLF")
            elif answer.header("content-length") is not None:
                answer.body = self._bytes(int(answer.header("content-length")))
            else:
                while self._more():
                    pass
                answer.body = bytes(self.buffer)
                self.buffer.clear()
        answer.raw = bytes(self.received)
        self.requests += 1
        return answer

    def ask(self, path="/", method="GET", headers=(), body=None, host=None):
        head = ["%s %s HTTP/1.1" % (method, path), "Host: " + (host or "test.local")]
        fields = headers.items() if isinstance(headers, dict) else headers
        head += ["%s: %s" % (k, v) for k, v in fields]
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            head.append("Content-Length: %d" % len(body))
        self.send(("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + (body or b""))
        return self.read(method == "HEAD")

    def closed_by_peer(self, seconds=5.0):
        """True when the peer closes within that time."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(self.timeout)


def ask(address, path="/", method="GET", headers=(), body=None, host=None, timeout=10.0):
    """One request on a connection of its own."""
    with Client(address, timeout) as c:
        return c.ask(path, method, headers, body, host)


def get_json(address, path):
    answer = ask(address, path)
    if answer.status != 200:
        raise Trouble("%s%s: %s %s" % (address, path, answer.status, answer.text()[:500]))
    return answer.json()


# --- Origins --------------------------------------------------------------------------------------------------------------

class Server:
    """A TCP server of a test: serve(connection) on a thread for each, closed after it. `at`: "ip:port", or "ip" for any port.
    A subclass sets its own fields before it calls this __init__, since clients may come at once."""

    def __init__(self, at, serve=None):
        if serve:
            self.serve = serve
        ip, _, port = at.partition(":")
        self.listener = socket.create_server((ip, int(port or 0)), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.address = "%s:%d" % (ip, self.port)
        self.accepted = 0
        self.stopped = False
        self.open = set()
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if self.stopped:
                    connection.close()
                    return
                self.open.add(connection)
                self.accepted += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve(connection)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(connection)
            connection.close()

    def close(self):
        """No further connections; those that are open end."""
        with self.lock:
            self.stopped = True
            open_now = list(self.open)
        self.listener.close()
        for c in open_now:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Origin(Server):
    """An HTTP/1.1 server on threads of this process: answers with what it was asked, as JSON.

    The query asks for other answers: status=N, size=N (a body of so many x), chunked, header=NAME:VALUE (repeated),
    delay=SECONDS, close (without an answer), cut (in the middle of the body).
    """

    def __init__(self, address, name="origin"):
        self.name = name
        self.requests = 0
        super().__init__(address)

    def serve(self, connection):
        buffer = bytearray()
        while self._one(connection, buffer):
            pass

    def _one(self, connection, buffer):
        def more():
            data = connection.recv(65536)
            buffer.extend(data)
            return bool(data)

        while b"\r\n\r\n" not in buffer:
            if not more():
                return False
        at = buffer.index(b"\r\n\r\n")
        lines = bytes(buffer[:at]).decode("latin-1").split("\r\n")
        del buffer[:at + 4]
        method, target, _ = lines[0].split(" ", 2)
        headers = [[k, v.strip()] for k, _, v in (line.partition(":") for line in lines[1:])]
        fields = {k.lower(): v for k, v in headers}
        body = bytearray()
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while True:
                while b"\r\n" not in buffer:
                    if not more():
                        return False
                at = buffer.index(b"\r\n")
                size = int(bytes(buffer[:at]).split(b";")[0], 16)
                del buffer[:at + 2]
                if size == 0:  # trailers, and an empty line
                    while not (buffer.startswith(b"\r\n") or b"\r\n\r\n" in buffer):
                        if not more():
                            return False
                    del buffer[:2 if buffer.startswith(b"\r\n") else buffer.index(b"\r\n\r\n") + 4]
                    break
                while len(buffer) < size + 2:
                    if not more():
                        return False
                body += buffer[:size]
                del buffer[:size + 2]
        else:
            size = int(fields.get("content-length", "0"))
            while len(buffer) < size:
                if not more():
                    return False
            body += buffer[:size]
            del buffer[:size]
        self.requests += 1
        query = urllib.parse.parse_qs(target.partition("?")[2], keep_blank_values=True)
        if "delay" in query:
            time.sleep(float(query["delay"][0]))
        if "close" in query:
            return False
        status = int(query.get("status", ["200"])[0])
        if "size" in query:
            out = b"x" * int(query["size"][0])
        else:
            out = json.dumps({"name": self.name, "method": method, "target": target, "headers": headers,
                              "body": body.decode("latin-1")}).encode()
        head = "HTTP/1.1 %d Said\r\ncontent-type: application/json\r\nx-origin: %s\r\n" % (status, self.name)
        for h in query.get("header", []):
            head += "%s\r\n" % h.replace(":", ": ", 1)
        if method == "HEAD" or status in (204, 304):
            out = b""
            head += "" if status == 204 else "content-length: 10\r\n" if method == "HEAD" else ""
        elif "chunked" in query:
            head += "transfer-encoding: chunked\r\n"
            half = len(out) // 2
            out = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (out[:half], out[half:]) if p) + b"0\r\n\r\n"
        else:
            head += "content-length: %d\r\n" % len(out)
        message = head.encode("latin-1") + b"\r\n" + out
        if "cut" in query:
            connection.sendall(message[:-max(1, len(out) // 2)])
            return False
        connection.sendall(message)
        return True


# --- Load -----------------------------------------------------------------------------------------------------------------

class Load:
    """Requests on keep-alive connections, one thread each, until stop(). A request fails when there is no whole answer or
    when good(answer) is false. A reused connection that closes before the first byte of an answer is tried once more on a
    new one, as clients do (RFC 9112 section 9.3.1), and counted apart."""

    def __init__(self, address, path, host=None, connections=2, rate=200, good=None, headers=()):
        self.address, self.path, self.host, self.headers = address, path, host, headers
        self.good = good or (lambda answer: answer.status == 200)
        self.interval = connections / rate
        self.sent = self.failed = self.stale = 0
        self.failures, self.slowest = [], 0.0
        self.bodies = collections.Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(connections)]
        self.began = time.monotonic()
        for t in self.threads:
            t.start()

    def _run(self, index):
        client = None
        due = time.monotonic() + index * self.interval / max(1, len(self.threads))
        while not self.ended.is_set():
            now = time.monotonic()
            if now < due:
                if self.ended.wait(due - now):
                    break
            due = max(due + self.interval, now - 1)
            begun = time.monotonic()
            problem, stale = None, False
            for attempt in (0, 1):
                reused = client is not None
                try:
                    if client is None:
                        client = Client(self.address, 10.0)
                    answer = client.ask(self.path, host=self.host, headers=self.headers)
                    if not self.good(answer):
                        problem = repr(answer)
                    if (answer.header("connection") or "").lower() == "close":
                        client.close()
                        client = None
                    break
                except (OSError, Trouble, ValueError) as e:
                    nothing = client is not None and not client.received
                    if client is not None:
                        client.close()
                    client = None
                    if reused and nothing and attempt == 0 and not isinstance(e, socket.timeout):
                        stale = True
                        continue
                    problem = "%s: %s" % (type(e).__name__, e)
                    break
            took = time.monotonic() - begun
            with self.lock:
                self.sent += 1
                self.stale += stale
                self.slowest = max(self.slowest, took)
                if problem is not None:
                    self.failed += 1
                    if len(self.failures) < 10:
                        self.failures.append("%.3f s after the start: %s" % (begun - self.began, problem))
        if client is not None:
            client.close()

    def wait_for(self, more, seconds=20.0):
        """Until so many further requests were sent."""
        until = self.sent + more
        wait_until(lambda: "%d further requests; %s" % (more, self), lambda: self.sent >= until, seconds)

    def stop(self):
        self.ended.set()
        for t in self.threads:
            t.join(30)
        return self

    def __str__(self):
        return "%d sent, %d failed, %d on a connection that was closed just then, slowest %.0f ms%s" % (
            self.sent, self.failed, self.stale, self.slowest * 1000, "".join("\n    " + f for f in self.failures))
