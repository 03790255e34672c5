"""HTTP/2 for tests: where its peers' programs are, and a client over Python's h2 (tools/setup --peers)."""

import glob
import os
import shutil
import socket
import sys
import time
from pathlib import Path

from base import Trouble, split_address
from wire import Server

CACHE = os.environ.get("WEFT_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "weft")

for _site in glob.glob(CACHE + "/python/h2==*/lib/python3*/site-packages"):
    sys.path.append(_site)
try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions
except ImportError as error:
    raise Trouble("this test needs Python's h2: run `tools/setup --peers`") from error

def peer(name):
    """A foreign program: h2spec, h2load, nghttp, curl."""
    for path in (os.path.join(CACHE, "bin", name), shutil.which(name)):
        if path and Path(path).is_file():
            return path
    raise Trouble("this test needs %s, and there is none: run `tools/setup --peers`" % name)


class H2Stream:
    def __init__(self):
        self.head, self.trailers, self.hints, self.body = None, None, [], bytearray()
        self.ended, self.reset = False, None

    @property
    def status(self):
        return int(dict(self.head)[":status"]) if self.head else 0

    def header(self, name):
        return dict(self.head).get(name)


class H2Client:
    """One connection, cleartext with prior knowledge, or TLS by `tls`, an ssl context whose ALPN has h2. `auto_window` false: flow
    control is the test's."""

    def __init__(self, at, auto_window=True, validate=True, timeout=20.0, settings=None, tls=None):
        self.socket = socket.create_connection(split_address(at), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="a.test")
        self.timeout = timeout
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=validate,
                                           normalize_outbound_headers=validate)
        self.h2 = h2.connection.H2Connection(config)
        if settings:
            self.h2.update_settings(settings)
        self.h2.initiate_connection()
        self.auto_window = auto_window
        self.streams, self.goaways = {}, []
        self.closed = False
        self.inbox = bytearray()
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.raw(data)

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def request(self, path="/", method="GET", headers=(), body=None, end=True, authority="a.example"):
        """Sends a head, and a body that fits the windows; returns the stream's id."""
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = H2Stream()
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority), *headers]
        self.h2.send_headers(stream, fields, end_stream=end and body is None)
        if body is not None:
            self.send(stream, body, end)
        self.flush()
        return stream

    def connect(self, authority):
        """Asks for a tunnel (RFC 9113 section 8.5); needs validate=False. Returns the stream's id."""
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = H2Stream()
        self.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", authority)])
        self.flush()
        return stream

    def send(self, stream, body, end=False):
        view = memoryview(body)
        while view:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(view))
            if room <= 0:  # below 0 when the peer's SETTINGS came after the bytes (RFC 9113 section 6.9.2)
                self.flush()
                if self.streams[stream].reset is not None or self.streams[stream].ended or not self.pump():
                    return
                continue
            self.h2.send_data(stream, view[:room].tobytes())
            view = view[room:]
        if end:
            self.h2.end_stream(stream)
        self.flush()

    def trailers(self, stream, fields):
        self.h2.send_headers(stream, fields, end_stream=True)
        self.flush()

    def pump(self, timeout=None):
        """Reads once. False at the end of the connection."""
        if self.closed:
            return False
        self.socket.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.inbox += data
        while len(self.inbox) >= 9:  # one frame at a time
            size = 9 + int.from_bytes(self.inbox[:3], "big")
            if len(self.inbox) < size:
                break
            frame = bytes(self.inbox[:size])
            del self.inbox[:size]
            self.take(self.h2.receive_data(frame))
            self.flush()
        return True

    def take(self, events):
        for e in events:
            stream = self.streams.get(getattr(e, "stream_id", None))
            if isinstance(e, h2.events.ConnectionTerminated):
                self.goaways.append((e.last_stream_id, int(e.error_code)))
                if e.error_code == 0:  # this library would end at once, RFC 9113 section 6.8 does not
                    self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
            if stream is None:
                continue
            if isinstance(e, h2.events.ResponseReceived):
                stream.head = e.headers
            elif isinstance(e, h2.events.InformationalResponseReceived):
                stream.hints.append(dict(e.headers)[":status"])
            elif isinstance(e, h2.events.TrailersReceived):
                stream.trailers = e.headers
            elif isinstance(e, h2.events.DataReceived):
                stream.body += e.data
                if self.auto_window and e.flow_controlled_length:
                    self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(e, h2.events.StreamReset):
                stream.reset = int(e.error_code)

    def until(self, what, condition):
        end = time.monotonic() + self.timeout
        while not condition():
            if time.monotonic() > end:
                raise Trouble("%s did not come within %d s" % (what, self.timeout))
            if not self.pump():
                if condition():
                    return
                raise Trouble("the connection ended before: %s; GOAWAY: %s" % (what, self.goaways))

    def wait(self, stream):
        """The stream when it is over."""
        s = self.streams[stream]
        self.until("the end of stream %d" % stream, lambda: s.ended or s.reset is not None)
        return s

    def ask(self, *args, **kwargs):
        return self.wait(self.request(*args, **kwargs))

    def wait_closed(self):
        while self.pump():
            pass

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class H1Recorder(Server):
    """A raw HTTP/1 origin: answers each connection by a function of (connection, bytes so far), and keeps what came."""

    def __init__(self, at, script):
        self.script, self.seen = script, []
        super().__init__(at)

    def serve(self, connection):
        got = bytearray()
        self.seen.append(got)
        self.script(connection, got)
