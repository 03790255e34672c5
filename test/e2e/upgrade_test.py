#!/usr/bin/env python3
"""Tunnels through the real weft-proxy: WebSocket with a real client and a real server library, CONNECT by curl, half-closes,
idle ends, metrics and the access log."""

import asyncio
import glob
import os
import socket
import subprocess
import sys
import threading

import harness
from harness import Client, Server, wait_until

_CACHE = os.environ.get("WEFT_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "weft")
for _site in glob.glob(os.environ.get("WEFT_PEERS", _CACHE + "/python") + "/websockets==*/lib/python3*/site-packages"):
    sys.path.append(_site)

BOUND = 20.0

BOOTSTRAP = """
node: {id: upgrade, cluster: upgrade}
admin:
  address: {socket_address: {address: %(ip)s, port_value: %(admin)d}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: %(ip)s, port_value: %(port)d}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}]
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %(log)s
              log_format:
                text_format_source:
                  inline_string: "%%REQ(:METHOD)%% %%RESPONSE_CODE%% %%BYTES_RECEIVED%% %%BYTES_SENT%% %%RESPONSE_FLAGS%%\\n"
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route: {cluster: raw}
              - match: {prefix: /raw-short}
                route: {cluster: raw, idle_timeout: 0.3s}
              - match: {prefix: /raw}
                route: {cluster: raw}
              - match: {prefix: /}
                route: {cluster: websocket, timeout: 1s}
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: websocket
    load_assignment:
      cluster_name: websocket
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(websocket)d}}}}]}]
  - name: raw
    load_assignment:
      cluster_name: raw
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(raw)d}}}}]}]
"""


class RawServer(Server):
    """Agrees to every tunnel, then echoes in upper case until the other side ends; then says "bye" and ends."""

    def serve(self, s):
        head = b""
        while b"\r\n\r\n" not in head:
            data = s.recv(65536)
            if not data:
                return
            head += data
        if head.startswith(b"CONNECT "):
            s.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := s.recv(65536):
            if data.startswith(b"GET /http "):
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside")
                return
            s.sendall(data.upper())
        s.sendall(b"bye")


class WebSocketServer:
    """The library `websockets`, in a thread: echoes."""

    def __init__(self, ip):
        self.loop, self.ready, self.port = asyncio.new_event_loop(), threading.Event(), 0
        self.ip = ip
        threading.Thread(target=self._run, daemon=True).start()
        if not self.ready.wait(BOUND):
            raise harness.Trouble("the WebSocket server did not start")

    def _run(self):
        import websockets.asyncio.server

        async def echo(connection):
            async for message in connection:
                await connection.send(message)

        async def main():
            self.stop = self.loop.create_future()
            async with websockets.asyncio.server.serve(echo, self.ip, 0, max_size=None) as server:
                self.port = server.sockets[0].getsockname()[1]
                self.ready.set()
                await self.stop

        self.loop.run_until_complete(main())

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set_result, None)


class UpgradeTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.ip = net.ip("0.1")
        cls.raw, cls.websocket = RawServer(cls.ip), WebSocketServer(cls.ip)
        cls.env.cleanups += [cls.raw.close, cls.websocket.close]
        admin, cls.port = net.port(), net.port()
        cls.address = "%s:%d" % (cls.ip, cls.port)
        cls.log = cls.env.folder / "access.log"
        cls.proxy = cls.env.start_proxy("proxy", BOOTSTRAP % {
            "ip": cls.ip, "admin": admin, "port": cls.port, "log": cls.log, "raw": cls.raw.port,
            "websocket": cls.websocket.port}, "%s:%d" % (cls.ip, admin))

    def open(self, head):
        """A tunnel: the socket, once the answer's head is read."""
        s = socket.create_connection((self.ip, self.port), BOUND)
        s.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = s.recv(1)
            self.assertTrue(data, answer)
            answer += data
        return s, answer

    def read_all(self, s):
        out = b""
        while data := s.recv(65536):
            out += data
        return out

    def active(self):
        return self.proxy.stat("http.main.downstream_cx_upgrades_active")

    def test_websocket_with_real_peers(self):
        """Texts, large and many messages both ways, ping, an orderly close; longer than the route's timeout allows an answer."""
        import websockets.asyncio.client

        async def talk():
            async with websockets.asyncio.client.connect("ws://%s/chat" % self.address, max_size=None) as c:
                await c.send("hello")
                self.assertEqual(await asyncio.wait_for(c.recv(), BOUND), "hello")
                big = os.urandom(3 << 20)
                await c.send(big)
                self.assertEqual(await asyncio.wait_for(c.recv(), BOUND), big)
                for i in range(200):
                    await c.send(str(i))
                for i in range(200):
                    self.assertEqual(await asyncio.wait_for(c.recv(), BOUND), str(i))
                await asyncio.wait_for(await c.ping(), BOUND)
                self.assertEqual(self.active(), 1)
            return c.close_code

        self.assertEqual(asyncio.run(talk()), 1000)
        wait_until("no tunnel is open", lambda: self.active() == 0, BOUND)
        self.assertGreaterEqual(self.proxy.stat("http.main.downstream_cx_upgrades_total"), 1)

    def test_connect_by_curl(self):
        """curl -p: a CONNECT to the proxy, then a request inside the tunnel that nobody but the origin reads."""
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "-p", "-x", "http://" + self.address, "http://inside.example/http"],
                              capture_output=True)
        self.assertEqual(done.stdout, b"inside", done.stderr)

    def test_half_close(self):
        """Each side's end goes through, and the other side's bytes still come."""
        s, answer = self.open(b"GET /raw HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
        s.sendall(b"abc" * 100000)
        s.shutdown(socket.SHUT_WR)
        self.assertEqual(self.read_all(s), b"ABC" * 100000 + b"bye")
        s.close()
        wait_until("no tunnel is open", lambda: self.active() == 0, BOUND)
        wait_until("the log says it", lambda: "GET 101 300000 300003 -" in self.log.read_text(), BOUND)

    def test_early_bytes_wait_for_consent(self):
        s, answer = self.open(b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\nearly")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        s.shutdown(socket.SHUT_WR)
        self.assertEqual(self.read_all(s), b"EARLYbye")
        s.close()

    def test_idle_tunnel_ends(self):
        s, _ = self.open(b"GET /raw-short HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        try:
            self.assertEqual(s.recv(1), b"")
        except ConnectionError:
            pass
        s.close()
        wait_until("the log says it", lambda: "SI" in self.log.read_text(), BOUND)

    def test_client_goes_away(self):
        for _ in range(20):
            s, _ = self.open(b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n")
            s.sendall(b"x" * 1000)
            s.close()
        wait_until("no tunnel is open", lambda: self.active() == 0, BOUND)
        wait_until("no upstream connection is open", lambda: self.proxy.stat("cluster.raw.upstream_cx_active") == 0, BOUND)

    def test_refused(self):
        with Client(self.address) as c:
            answer = c.ask("/", headers=[("Connection", "Upgrade"), ("Upgrade", "chat")])
        self.assertEqual(answer.status, 403)
        self.assertGreaterEqual(self.proxy.stat("http.main.downstream_rq_ws_on_non_ws_route"), 1)


if __name__ == "__main__":
    harness.main()
