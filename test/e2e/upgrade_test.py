#!/usr/bin/env python3
"""Tunnels through the real weft-proxy: WebSocket with a real client and a real server library, over HTTP/1 and across HTTP/2, beside
Envoy too; CONNECT by curl and by HTTP/2, passed on or ended here (connect_config); half-closes, idle ends, metrics and the access log."""

import asyncio
import glob
import os
import socket
import ssl
import subprocess
import sys
import threading

import harness
from base import split_address
from bootstraps import HCM, ROUTER, bootstrap, cluster, listener
from bootstraps import address as socket_address
from harness import Client, Server, wait_until
from http2 import H2Client
from pki import Authority, TlsOrigin

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


class Across(harness.TestCase):
    """WebSocket where HTTP/2 is between an HTTP/1 client and an HTTP/1 server: key and proof go missing on the way and are made anew."""

    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.websocket = WebSocketServer(net.ip("0.1"))
        cls.env.cleanups.append(cls.websocket.close)

    def start(self, kind, name, at, origin, http2):
        """A proxy at `at` that lets WebSocket through to `origin`."""
        admin = self.env.network.address()
        manager = {"upgrade_configs": [{"upgrade_type": "websocket"}], "http2_protocol_options": {"allow_connect": True}}
        made = cluster("origin", origin, http2)
        if http2:
            made["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}}}}
        start = {"weft": self.env.start_proxy, "envoy": self.env.start_envoy}[kind]
        return start(name, bootstrap(admin, [listener("l", at, "origin", manager)], [made]), admin)

    def talk(self, at, subprotocols=None):
        import websockets.asyncio.client

        async def run():
            async with websockets.asyncio.client.connect("ws://%s/chat" % at, max_size=None, subprotocols=subprotocols) as c:
                await c.send("hello")
                self.assertEqual(await asyncio.wait_for(c.recv(), BOUND), "hello")
                big = os.urandom(1 << 20)
                await c.send(big)
                self.assertEqual(await asyncio.wait_for(c.recv(), BOUND), big)
                for i in range(50):
                    await c.send(str(i))
                for i in range(50):
                    self.assertEqual(await asyncio.wait_for(c.recv(), BOUND), str(i))
                await asyncio.wait_for(await c.ping(), BOUND)
            return c.close_code

        self.assertEqual(asyncio.run(run()), 1000)

    def chain(self, front, back):
        net = self.env.network
        entry, middle = net.address(), net.address()
        name = "%s-%s" % (front, back)
        b = self.start(back, name + "-back", middle, "%s:%d" % (self.websocket.ip, self.websocket.port), False)
        a = self.start(front, name + "-front", entry, middle, True)
        for _ in range(3):
            self.talk(entry)
        self.assertGreaterEqual(b.stat("http.l.downstream_cx_http2_total"), 1)
        wait_until("no tunnel is open", lambda: b.stat("http.l.downstream_cx_upgrades_active") == 0 and
                   a.stat("http.l.downstream_cx_upgrades_active") == 0, BOUND)

    def test_weft_to_weft(self):
        self.chain("weft", "weft")

    def test_weft_to_envoy(self):
        self.chain("weft", "envoy")

    def test_envoy_to_weft(self):
        self.chain("envoy", "weft")


class PlainEcho(Server):
    """Echoes in upper case; at the end "bye", and the end. What came first of each connection is kept."""

    def __init__(self, at):
        self.first = []
        super().__init__(at)

    def serve(self, s):
        begun = False
        while data := s.recv(65536):
            if not begun:
                self.first.append(data)
                begun = True
            s.sendall(data.upper())
        s.sendall(b"bye")


class ConnectEndsHere(harness.TestCase):
    """connect_config: the proxy is the CONNECT's end, and the upstream gets its bytes as they are."""

    @classmethod
    def prepare(cls):
        net = cls.env.network
        ip = net.ip("0.1")
        cls.ca = Authority(cls.env.folder, "root")
        cls.tls_origin = TlsOrigin(ip + ":0", cls.ca.leaf("a", "DNS:a.test"))
        cls.env.origins.append(cls.tls_origin)
        cls.echo = PlainEcho(ip)
        cls.env.cleanups.append(cls.echo.close)
        cls.at, cls.admin = net.address(), net.address()
        cls.log = cls.env.folder / "access.log"
        echo = "%s:%d" % (ip, cls.echo.port)
        sockets = "type.googleapis.com/envoy.extensions.transport_sockets."

        def route(host, to, **more):
            return {"match": {"connect_matcher": {}, "headers": [{"name": ":authority", "string_match": {"exact": host}}]},
                    "route": {"cluster": to, "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}], **more}}

        manager = {"@type": HCM, "stat_prefix": "main", "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            route("a.test:443", "tls"), route("echo:1", "echo"), route("short:1", "echo", idle_timeout="0.3s"), route("tiny:1", "tiny"),
            route("dead:1", "dead"), route("proxied:1", "proxied"),
            route("retried:1", "half-dead", retry_policy={"retry_on": "connect-failure", "num_retries": 3}),
            {"match": {"prefix": "/"}, "route": {"cluster": "echo"}}]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
            "access_log": [{"name": "f", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": str(cls.log),
                "log_format": {"text_format_source": {"inline_string":
                    "%REQ(:AUTHORITY)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER%\\n"}}}}]}
        dead = net.address()
        cls.proxy = cls.env.start_proxy("proxy", bootstrap(cls.admin, [
            {"name": "main", "address": socket_address(cls.at), "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}], [
            cluster("tls", cls.tls_origin.address), cluster("echo", echo), cluster("dead", dead), cluster("half-dead", [dead, echo]),
            cluster("tiny", echo, circuit_breakers={"thresholds": [{"max_connections": 1}]}),
            cluster("proxied", echo, transport={"name": "pp", "typed_config": {
                "@type": sockets + "proxy_protocol.v3.ProxyProtocolUpstreamTransport", "config": {"version": "V1"},
                "transport_socket": {"name": "raw", "typed_config": {"@type": sockets + "raw_buffer.v3.RawBuffer"}}}})]), cls.admin)

    def open(self, host, early=b""):
        s = socket.create_connection(split_address(self.at), BOUND)
        self.addCleanup(s.close)
        s.sendall(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (host, host) + early)
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

    def logged(self, *lines):
        for line in lines:
            wait_until(lambda: "the log has %r: %s" % (line, self.log.read_text()), lambda: line in self.log.read_text(), BOUND)

    def quiet(self):
        """No tunnel, request or connection is left over."""
        for name in ("http.main.downstream_cx_upgrades_active", "cluster.echo.upstream_cx_active", "cluster.echo.upstream_rq_active",
                     "cluster.tiny.upstream_cx_active"):
            wait_until(lambda: "%s is 0: %d" % (name, self.proxy.stat(name)), lambda: self.proxy.stat(name) == 0, BOUND)

    def test_curl_to_a_tls_origin(self):
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", self.ca.certificate, "-x", "http://" + self.at,
                               "https://a.test/up?size=1000000"], capture_output=True)
        self.assertEqual((done.returncode, len(done.stdout)), (0, 1000000), done.stderr)
        self.assertIn("a.test", self.tls_origin.names)
        self.logged("a.test:443 HTTP/1.1 200 - ")
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", self.ca.certificate, "-x", "http://" + self.at,
                               "-T", "-", "https://a.test/up"], input=b"x" * 500000, capture_output=True)
        self.assertIn(b"x" * 500000, done.stdout, done.stderr)

    def test_http2_client_to_a_tls_origin(self):
        with H2Client(self.at, validate=False) as c:
            stream = c.connect("a.test:443")
            s = c.streams[stream]
            c.until("the answer", lambda: s.head is not None)
            self.assertEqual((s.status, s.ended), (200, False))
            self.assertIsNone(s.header("content-length"))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.ca.certificate)
            tls = context.wrap_bio(incoming, outgoing, server_hostname="a.test")

            def moved(action):
                while True:
                    try:
                        result = action()
                    except ssl.SSLWantReadError:
                        result = None
                    if data := outgoing.read():
                        c.send(stream, data)
                    if result is not None:
                        return result
                    c.until("more bytes", lambda: len(s.body) > 0)
                    incoming.write(bytes(s.body))
                    s.body.clear()

            moved(lambda: tls.do_handshake() or True)
            moved(lambda: tls.write(b"GET /in?size=100000 HTTP/1.1\r\nHost: a.test\r\n\r\n"))
            got = b""
            while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + 100000:
                got += moved(lambda: tls.read(65536))
            self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got[:200])
        self.logged("a.test:443 HTTP/2 200 ")

    def test_half_close(self):
        s, answer = self.open(b"echo:1")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertNotIn(b"content-length", answer.lower())
        self.assertNotIn(b"transfer-encoding", answer.lower())
        s.sendall(b"abc" * 200000)
        s.shutdown(socket.SHUT_WR)
        self.assertEqual(self.read_all(s), b"ABC" * 200000 + b"bye")
        self.logged("echo:1 HTTP/1.1 200 - 600000 600003 echo")
        self.quiet()

    def test_half_close_over_http2(self):
        with H2Client(self.at, validate=False) as c:
            stream = c.connect("echo:1")
            c.until("the answer", lambda: c.streams[stream].head is not None)
            c.send(stream, b"abc" * 200000, end=True)
            s = c.wait(stream)
            self.assertEqual(bytes(s.body), b"ABC" * 200000 + b"bye")
            self.assertTrue(s.ended)
        self.logged("echo:1 HTTP/2 200 - 600000 600003 echo")
        self.quiet()

    def test_early_bytes(self):
        """Bytes right behind the head: they wait for the connection, and the upstream sees nothing of the CONNECT itself."""
        s, answer = self.open(b"echo:1", b"GET /early HTTP/1.1\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        s.shutdown(socket.SHUT_WR)
        self.assertEqual(self.read_all(s), b"GET /EARLY HTTP/1.1\r\n\r\nbye")
        self.assertEqual(self.echo.first[-1], b"GET /early HTTP/1.1\r\n\r\n")

    def test_idle_tunnel_ends(self):
        s, _ = self.open(b"short:1")
        try:
            self.assertEqual(s.recv(1), b"")
        except ConnectionError:
            pass
        self.logged("short:1 HTTP/1.1 200 SI")
        self.quiet()

    def test_circuit_breaker(self):
        first, answer = self.open(b"tiny:1")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        _, answer = self.open(b"tiny:1")
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.logged("tiny:1 HTTP/1.1 503 UO")
        self.assertGreaterEqual(self.proxy.stat("cluster.tiny.upstream_cx_overflow"), 1)
        first.shutdown(socket.SHUT_WR)
        self.assertEqual(self.read_all(first), b"bye")
        self.quiet()
        again, answer = self.open(b"tiny:1")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    def test_no_connection(self):
        _, answer = self.open(b"dead:1")
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.logged("dead:1 HTTP/1.1 503 UF")
        self.assertGreaterEqual(self.proxy.stat("cluster.dead.upstream_cx_connect_fail"), 1)

    def test_retry_takes_the_other_endpoint(self):
        for _ in range(4):
            s, answer = self.open(b"retried:1")
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(self.read_all(s), b"bye")
        self.assertGreaterEqual(self.proxy.stat("cluster.half-dead.upstream_rq_retry"), 1)

    def test_proxy_header(self):
        s, _ = self.open(b"proxied:1", b"x")
        s.shutdown(socket.SHUT_WR)
        client, port = s.getsockname()
        ip, at = split_address(self.at)
        self.assertEqual(self.read_all(s).upper(), b"PROXY TCP4 %s %s %d %d\r\nXBYE" % (client.encode(), ip.encode(), port, at))

    def test_either_side_goes_away(self):
        for _ in range(20):
            s, _ = self.open(b"echo:1")
            s.sendall(b"x" * 100000)
            s.close()
        with H2Client(self.at, validate=False) as c:
            for _ in range(20):
                stream = c.connect("echo:1")
                c.until("the answer", lambda: c.streams[stream].head is not None)
                c.h2.reset_stream(stream, 8)
                c.flush()
        self.quiet()

    def test_a_reader_that_stops_stops_the_upstream(self):
        """Back-pressure: little is held for who does not read, and all of it comes in the end."""
        s, _ = self.open(b"echo:1")
        s.setblocking(False)
        sent, stuck = 0, 0
        while stuck < 20 and sent < 64 << 20:  # until nobody takes more
            try:
                sent += s.send(b"y" * 65536)
                stuck = 0
            except BlockingIOError:
                stuck += 1
                threading.Event().wait(0.02)
        self.assertLess(sent, 64 << 20)
        s.settimeout(BOUND)
        got = 0
        threading.Thread(target=lambda: s.shutdown(socket.SHUT_WR)).start()
        while data := s.recv(1 << 20):
            got += len(data)
        self.assertEqual(got, sent + 3)

    def test_refused_configurations(self):
        def refused(upgrade, *texts):
            at, admin = self.env.network.address(), self.env.network.address()
            made = listener("l", at, "echo", route={"upgrade_configs": [upgrade]})
            path = self.env.write("refused.yaml", bootstrap(admin, [made], [cluster("echo", at)]))
            done = subprocess.run([harness.program("weft-proxy"), "-c", path, "--mode", "validate"], capture_output=True, timeout=20)
            said = (done.stdout + done.stderr).decode()
            self.assertNotEqual(done.returncode, 0, said)
            for text in texts:
                self.assertIn(text, said)

        refused({"upgrade_type": "CONNECT", "connect_config": {"allow_post": True}}, "upgrade_configs[0].connect_config.allow_post")
        refused({"upgrade_type": "websocket", "connect_config": {}}, "upgrade_configs[0].connect_config", "CONNECT only")


if __name__ == "__main__":
    harness.main()
