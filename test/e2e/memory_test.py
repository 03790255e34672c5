#!/usr/bin/env python3
"""What peers that do not move cost the real proxy in resident memory: readers that stop, uploads that nobody takes, tunnels and
streams that are open and idle. Each case has a proxy of its own, prints its figure and holds the goal."""

import base64
import hashlib
import re
import resource
import selectors
import socket
import threading
import time

import harness
from bootstraps import bootstrap, cluster, listener
from harness import Client, Trouble, memory_kb, wait_until
from http2 import H2Client

BOUND = 20.0
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
MANY = {"circuit_breakers": {"thresholds": [{"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}]}}
TUNNELS = {"upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]}
H2_TUNNELS = {**TUNNELS, "http2_protocol_options": {"allow_connect": True}}
MARGIN = 1.1  # pages that the allocator keeps half used


class Reservoir:
    """An origin on one thread for thousands of connections. By the target: /big-N answers N bytes, as fast as they are taken;
    /ws agrees to an Upgrade; /open begins an answer of unknown length and says no more; a POST to /stuck is never read. Bytes
    without a head (TCP) get N bytes as well: "big-N" and a line's end."""

    PIECE = memoryview(b"x" * 65536)

    def __init__(self, ip):
        self.listener = socket.create_server((ip, 0), backlog=4096)
        self.listener.setblocking(False)
        self.address = "%s:%d" % self.listener.getsockname()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.moved = self.requests = 0
        self.stuck, self.over = [], False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self):
        self.over = True
        self.thread.join(BOUND)
        for s in [key.fileobj for key in self.selector.get_map().values()] + self.stuck:
            s.close()
        self.selector.close()

    def _run(self):
        while not self.over:
            for key, _ in self.selector.select(0.1):
                try:
                    if key.data is None:
                        connection, _ = self.listener.accept()
                        connection.setblocking(False)
                        self.selector.register(connection, selectors.EVENT_READ, {"in": b"", "left": 0, "head": b""})
                    else:
                        self._serve(key.fileobj, key.data)
                except BlockingIOError:
                    pass
                except OSError:
                    if key.data is not None:
                        self.selector.unregister(key.fileobj)
                        key.fileobj.close()

    def _serve(self, s, state):
        if state["left"] == 0 and not state["head"]:
            data = s.recv(65536)
            if not data:
                raise OSError("the end")
            state["in"] += data
            if b"\n" not in state["in"] or (b"HTTP/1" in state["in"] and b"\r\n\r\n" not in state["in"]):
                return
            head, state["in"] = state["in"], b""
            self.requests += 1
            self._answer(s, state, head)
        try:
            while state["head"]:
                state["head"] = state["head"][s.send(state["head"]):]
            while state["left"]:
                n = s.send(self.PIECE[:state["left"]])
                self.moved += n
                state["left"] -= n
        except BlockingIOError:
            pass
        wants = selectors.EVENT_WRITE if state["left"] or state["head"] else selectors.EVENT_READ
        if self.selector.get_key(s).events != wants and s.fileno() >= 0:
            self.selector.modify(s, wants, state)

    def _answer(self, s, state, head):
        if head.startswith(b"big-"):
            state["left"] = int(head[4:])
            return
        target = head.split(b" ")[1]
        if target.startswith(b"/big-"):
            state["left"] = int(target[5:])
            state["head"] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % state["left"]
        elif target == b"/ws":
            state["head"] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            key = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", head)
            proof = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # RFC 6455 section 4.2.2
            state["head"] += b"Sec-WebSocket-Accept: %s\r\n\r\n" % base64.b64encode(proof)
        elif target == b"/open":
            state["head"] = b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"
        elif target == b"/stuck":
            self.selector.unregister(s)
            self.stuck.append(s)
            raise BlockingIOError
        elif head.startswith(b"CONNECT "):
            state["head"] = b"HTTP/1.1 200 OK\r\n\r\n"
        else:
            state["head"] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class MemoryTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        cls.ip = cls.env.network.ip("0.1")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # for us and for what we start
        resource.setrlimit(resource.RLIMIT_NOFILE, (most if most < 8192 and most > 0 else 8192, most))

    def setUp(self):
        super().setUp()
        self.origin = Reservoir(self.ip)
        self.kept, self.proxies = [], []

    def tearDown(self):
        for c in self.kept:
            c.close()
        for proxy in self.proxies:
            proxy.child.end()
        self.origin.close()
        super().tearDown()

    def start(self, manager=None, http2_upstream=False, tcp=False):
        """A fresh proxy between us and the origin: the listener is at self.at. With http2_upstream there is a second proxy, which
        speaks HTTP/2 with the one that is measured and HTTP/1 with the origin."""
        net = self.env.network
        name = self.id().rpartition(".")[2]
        self.at, admin = net.address(), net.address()
        origin_at = self.origin.address
        manager = {"http2_protocol_options": {"max_concurrent_streams": 2000}, **(manager or {})}
        if http2_upstream:
            origin_at, other_admin = net.address(), net.address()
            other = {**manager, "codec_type": "HTTP2"}
            self.proxies.append(self.env.start_proxy(name + "-upstream", bootstrap(
                other_admin, [listener("main", origin_at, "origin", other, route={"timeout": "0s"})],
                [cluster("origin", self.origin.address, **MANY)]), other_admin))
        main = listener("main", self.at, "origin", manager, route={"timeout": "0s"},
                        routes=[{"match": {"connect_matcher": {}}, "route": {"cluster": "origin", "upgrade_configs": [
                            {"upgrade_type": "CONNECT"}]}}] if manager.get("upgrade_configs") else ())
        if tcp:
            main = {"name": "main", "address": main["address"], "filter_chains": [{"filters": [{"name": "tcp", "typed_config": {
                "@type": TCP_PROXY, "stat_prefix": "main", "cluster": "origin"}}]}]}
        upstream = cluster("origin", origin_at, http2=http2_upstream, **MANY)
        if http2_upstream:
            options = next(iter(upstream["typed_extension_protocol_options"].values()))["explicit_http_config"]
            options["http2_protocol_options"] = {"max_concurrent_streams": 2000}
        self.proxy = self.env.start_proxy(name, bootstrap(admin, [main], [upstream]), admin)
        self.proxies.append(self.proxy)
        if tcp:
            for _ in range(20):
                with socket.create_connection(harness.split_address(self.at), BOUND) as s:
                    s.sendall(b"big-10\n")
                    self.assertTrue(s.recv(1))
        else:
            with Client(self.at) as c:  # what is made at first use is made
                for _ in range(50):
                    self.assertEqual(c.ask("/warm").status, 200)
        return memory_kb(self.proxy.child.pid)

    def connect(self, receive_buffer=None, send=b""):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(BOUND)
        s.connect(harness.split_address(self.at))
        self.kept.append(s)
        s.sendall(send)
        return s

    def h2(self, streams, connections, path, settings=None, **request):
        """So many open streams, spread evenly; flow control stays as it is."""
        clients = []
        for _ in range(connections):
            c = H2Client(self.at, auto_window=False)
            if settings:
                c.h2.update_settings(settings)
            self.kept.append(c)
            clients.append(c)
        for i in range(streams):
            clients[i % connections].request(path, **request)
        return clients

    def settle(self, clients=()):
        """Until neither the origin nor any client moves a byte for a while."""
        def state():
            for c in clients:
                try:
                    while c.pump(0.001):
                        pass
                except TimeoutError:
                    pass
            return self.origin.moved, memory_kb(self.proxy.child.pid), sum(len(s.body) for c in clients for s in c.streams.values())

        last, same, end = None, 0, time.monotonic() + 4 * BOUND
        while same < 5:
            if time.monotonic() > end:
                raise Trouble("does not come to rest: %s" % (last,))
            time.sleep(0.1)
            now = state()
            same = same + 1 if now == last else 0
            last = now

    def grown(self, what, before, count, goal_kb):
        kb = memory_kb(self.proxy.child.pid) - before
        print("memory: %s: %.1f MB, %.1f KB each (goal %g)" % (what, kb / 1024, kb / count, goal_kb))
        self.assertLessEqual(kb, goal_kb * count * MARGIN, what)

    # --- Readers that stop

    def readers(self, what, receive_buffer, path=b"/big-8388608"):
        before = self.start()
        for _ in range(200):
            s = self.connect(receive_buffer, b"GET %s HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\n\r\n" % path)
            self.assertTrue(s.recv(1))
        self.settle()
        self.grown(what, before, 200, 25)

    def test_http1_readers(self):
        self.readers("200 HTTP/1 readers that stop, small kernel buffers", 4096)

    def test_http1_readers_with_large_kernel_buffers(self):
        self.readers("200 HTTP/1 readers that stop, default kernel buffers", None)

    def http2_readers(self, what, settings=None, connections=10, **start):
        before = self.start(**start)
        clients = self.h2(1000, connections, "/big-1048576", settings)
        for c in clients:
            c.until("all heads", lambda: all(s.head for s in c.streams.values()))
        self.settle(clients)
        self.grown(what, before, 1000, 20)

    def test_http2_readers_http1_upstream(self):
        self.http2_readers("1000 HTTP/2 streams that nobody reads, HTTP/1 upstream")

    def test_http2_readers_on_one_connection(self):
        self.http2_readers("1000 HTTP/2 streams on one connection that nobody reads, HTTP/1 upstream", connections=1)

    def test_http2_readers_of_single_streams(self):
        """No window at all, on any stream."""
        self.http2_readers("1000 HTTP/2 streams without a window, HTTP/1 upstream", {4: 0})

    def test_http2_readers_http2_upstream(self):
        self.http2_readers("1000 HTTP/2 streams that nobody reads, HTTP/2 upstream", http2_upstream=True)

    def test_tcp_receivers(self):
        before = self.start(tcp=True)
        for _ in range(200):
            s = self.connect(4096, b"big-8388608\n")
            self.assertTrue(s.recv(1))
        self.settle()
        self.grown("200 TCP receivers that stop", before, 200, 25)

    # --- Uploads that nobody takes

    def test_http1_uploads(self):
        before = self.start()
        piece = b"x" * 65536
        for _ in range(200):
            s = self.connect(None, b"POST /stuck HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n")
            s.setblocking(False)
        left = dict.fromkeys(self.kept, 8388608)

        def push():
            moved = 0
            for s in self.kept:
                try:
                    while left[s]:
                        n = s.send(piece[:left[s]])
                        left[s] -= n
                        moved += n
                except BlockingIOError:
                    pass
            return moved

        quiet = []
        wait_until("the uploads are stuck", lambda: quiet.append(push()) or (len(quiet) > 10 and not any(quiet[-10:])), 4 * BOUND, 0.05)
        self.settle()
        self.grown("200 HTTP/1 uploads that nobody takes", before, 200, 25)

    def http2_uploads(self, what, **start):
        """Each client sends what its windows take, round after round; what upstream kernels take opens them again."""
        before = self.start(**start)
        clients = self.h2(1000, 10, "/stuck", method="POST", end=False)
        for _ in range(8):
            for c in clients:
                for stream in c.streams:
                    if c.h2.local_flow_control_window(stream) >= 16384:
                        c.h2.send_data(stream, b"x" * 16384)
                c.flush()
            self.settle(clients)
        self.grown(what, before, 1000, 20)

    def test_http2_uploads_http1_upstream(self):
        self.http2_uploads("1000 HTTP/2 uploads that nobody takes, HTTP/1 upstream")

    def test_http2_uploads_http2_upstream(self):
        self.http2_uploads("1000 HTTP/2 uploads that nobody takes, HTTP/2 upstream", http2_upstream=True)

    # --- Open and idle

    def tunnels(self, what, head):
        before = self.start(TUNNELS)
        for _ in range(500):
            s = self.connect(None, head)
            got = b""
            while b"\r\n\r\n" not in got:
                got += s.recv(65536)
            self.assertIn(got[9:12], (b"101", b"200"))
        self.settle()
        self.grown(what, before, 500, 8)

    def test_http1_websockets(self):
        self.tunnels("500 idle WebSockets on HTTP/1", b"GET /ws HTTP/1.1\r\nHost: h\r\nUser-Agent: some browser\r\n"
                     b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

    def test_connect_tunnels(self):
        self.tunnels("500 idle CONNECT tunnels", b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n")

    def http2_idle(self, what, path, headers, start, method="POST"):
        """Beyond the first 200, whose burst fills the pools of blocks that all share."""
        self.start(**start)
        before, clients = 0, []
        for count in (200, 1000):
            clients += self.h2(count, count // 100, path, None, method=method, headers=headers, end=False)
            for c in clients:
                c.until("all heads", lambda: all(s.head for s in c.streams.values()))
            self.settle(clients)
            before = before or memory_kb(self.proxy.child.pid)
        self.assertEqual({(s.status, s.ended, s.reset) for c in clients for s in c.streams.values()}, {(200, False, None)})
        self.grown(what, before, 1000, 8)

    def test_http2_websockets_http1_upstream(self):
        self.http2_idle("1000 idle WebSockets on HTTP/2, HTTP/1 upstream", "/ws",
                        [(":protocol", "websocket"), ("sec-websocket-version", "13")], {"manager": H2_TUNNELS}, "CONNECT")

    GRPC = [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "test"), ("grpc-timeout", "1H")]

    def test_grpc_streams_http1_upstream(self):
        self.http2_idle("1000 idle gRPC streams, HTTP/1 upstream", "/open", self.GRPC, {})

    def test_grpc_streams_http2_upstream(self):
        self.http2_idle("1000 idle gRPC streams, HTTP/2 upstream", "/open", self.GRPC, {"http2_upstream": True})


if __name__ == "__main__":
    harness.main()
