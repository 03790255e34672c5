#!/usr/bin/env python3
"""Listeners and TCP end to end: filter chains by what a connection begins with, SNI routing to real TLS servers, protocols in
which the server speaks first, PROXY protocol in and out (also to nginx and HAProxy), half-close, weights, retries, timeouts,
changes by xDS under open connections, redirected connections in a network namespace."""

import concurrent.futures
import glob
import json
import os
import queue
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import harness
from bootstraps import HCM, ROUTER, address, bootstrap, cluster
from harness import Client, Server, Trouble, ask, split_address, wait_until
from http2 import CACHE
from pki import Authority, TlsClient, TlsOrigin, client_context

for _site in glob.glob(CACHE + "/python/xds-protos==*/lib/python3*/site-packages"):
    sys.path.append(_site)
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
try:
    import grpc
    from google.protobuf import json_format
    from envoy.config.cluster.v3 import cluster_pb2
    from envoy.config.listener.v3 import listener_pb2
    from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: known to json_format
    from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa
    from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # noqa
    from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
except ImportError as error:
    raise Trouble("this test needs grpcio and xds-protos: run `tools/setup --peers`") from error

FILTER = "type.googleapis.com/envoy.extensions.filters."
TCP = FILTER + "network.tcp_proxy.v3.TcpProxy"
SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets."
LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
SIGNATURE2 = b"\r\n\r\n\0\r\nQUIT\n"


def listener_filter(name, **more):
    return {"name": name, "typed_config": {
        "@type": FILTER + "listener.%s.v3.%s" % (name, "".join(w.capitalize() for w in name.split("_"))), **more}}


TLS_INSPECTOR, HTTP_INSPECTOR = listener_filter("tls_inspector"), listener_filter("http_inspector")


def tcp_chain(cluster=None, match=None, name="", transport=None, **more):
    if cluster:
        more["cluster"] = cluster
    chain = {"name": name, "filters": [{"name": "tcp", "typed_config": {
        "@type": TCP, "stat_prefix": more.pop("stat_prefix", "tcp"), **more}}]}
    return complete(chain, match, transport)


def http_chain(cluster, match=None, name="", transport=None, answer=None, prefix="http"):
    route = ({"direct_response": {"status": 200, "body": {"inline_string": answer}}} if answer
             else {"route": {"cluster": cluster}})
    chain = {"name": name, "filters": [{"name": "hcm", "typed_config": {
        "@type": HCM, "stat_prefix": prefix, "drain_timeout": "0.3s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}]}}]}
    return complete(chain, match, transport)


def complete(chain, match, transport):
    if match:
        chain["filter_chain_match"] = match
    if transport:
        chain["transport_socket"] = transport
    return chain


def listener(name, at, chains, filters=(), **more):
    return {"name": name, "address": address(at), "filter_chains": chains, "listener_filters": list(filters), **more}


def downstream_tls(leaf, alpn=()):
    return {"name": "tls", "typed_config": {"@type": SOCKETS + "tls.v3.DownstreamTlsContext", "common_tls_context": {
        "alpn_protocols": list(alpn),
        "tls_certificates": [{"certificate_chain": {"filename": str(leaf.chain)}, "private_key": {"filename": str(leaf.key)}}]}}}


class Peer(Server):
    """A TCP server: script(connection) on a thread a connection, which is closed after it."""

    def __init__(self, env, script):
        self.script = script
        super().__init__(env.network.ip("0.1"))
        env.cleanups.append(self.close)

    def serve(self, connection):
        connection.settimeout(30)
        self.script(connection)


class FakeXds(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    """A management server over upstream's own messages: clusters and listeners, state of the world."""

    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

    def __init__(self, env, clusters, listeners):
        self.resources = {self.CLUSTER: [json_format.ParseDict(c, cluster_pb2.Cluster()) for c in clusters],
                          self.LISTENER: [json_format.ParseDict(l, listener_pb2.Listener()) for l in listeners]}
        self.version, self.refused, self.streams = 1, [], []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, self.server)
        ip = env.network.ip("0.1")
        self.address = "%s:%d" % (ip, self.server.add_insecure_port(ip + ":0"))
        self.server.start()
        env.cleanups.append(lambda: self.server.stop(0))

    def put(self, listeners):
        self.resources[self.LISTENER] = [json_format.ParseDict(l, listener_pb2.Listener()) for l in listeners]
        self.version += 1
        for q in self.streams:
            q.put(self.LISTENER)

    def StreamAggregatedResources(self, requests, context):
        q, asked = queue.Queue(), set()
        self.streams.append(q)

        def read():
            try:
                for r in requests:
                    if r.error_detail.message:
                        self.refused.append(r.error_detail.message)
                    if r.type_url not in asked:
                        asked.add(r.type_url)
                        q.put(r.type_url)
            except Exception:
                pass  # the stream has ended
            q.put(None)
        threading.Thread(target=read, daemon=True).start()
        while True:
            kind = q.get()
            if kind is None:
                return
            response = discovery_pb2.DiscoveryResponse(version_info=str(self.version), type_url=kind, nonce=str(self.version))
            for r in self.resources.get(kind, ()):
                response.resources.add().Pack(r)
            yield response


def echo(connection):
    while True:
        data = connection.recv(65536)
        if not data:
            return
        connection.sendall(data)


def named(name):
    """Says its name, then repeats what it hears."""
    def script(connection):
        connection.sendall(name.encode() + b"\n")
        echo(connection)
    return script


def hears_first(name):
    """Says its name after the first bytes, then repeats."""
    def script(connection):
        first = connection.recv(65536)
        connection.sendall(name.encode() + b":" + first)
        echo(connection)
    return script


def dial(at, source=None):
    return socket.create_connection(split_address(at), 20, source_address=(source, 0) if source else None)


def read_until(connection, marker):
    data = b""
    while marker not in data:
        more = connection.recv(65536)
        if not more:
            raise Trouble("the end after %r" % data)
        data += more
    return data


def read_all(connection):
    data = bytearray()
    while True:
        more = connection.recv(1 << 20)
        if not more:
            return bytes(data)
        data += more


def ended(connection):
    """The peer has closed, orderly or not, within the socket's time."""
    try:
        return read_all(connection) == b""
    except ConnectionError:
        return True


class TcpTest(harness.TestCase):
    def setUp(self):
        self.net = self.env.network
        self.admin = self.net.address()

    def proxy(self, listeners, clusters, **more):
        return self.env.start_proxy(self._testMethodName, bootstrap(self.admin, listeners, clusters), self.admin, **more)

    def log_lines(self, path, count):
        wait_until(lambda: "%d lines in %s" % (count, path), lambda: path.exists() and path.read_text().count("\n") >= count, 20)
        return path.read_text().splitlines()

    # -- protocols on one port

    def test_one_port_for_every_protocol(self):
        """TLS, HTTP/1, HTTP/2 and anything else on one port, each with the chain that it is for."""
        authority = Authority(self.env.folder, "detect")
        leaf = authority.leaf("a", "DNS:a.test")
        opaque = Peer(self.env, hears_first("opaque"))
        at = self.net.address()
        proxy = self.proxy([listener("main", at, [
            http_chain(None, {"transport_protocol": "tls"}, transport=downstream_tls(leaf, ["h2", "http/1.1"]), answer="over tls", prefix="tls"),
            http_chain(None, {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.0", "http/1.1"]}, answer="plain 1", prefix="one"),
            http_chain(None, {"transport_protocol": "raw_buffer", "application_protocols": ["h2c"]}, answer="plain 2", prefix="two"),
            tcp_chain("opaque", {"transport_protocol": "raw_buffer"})], [TLS_INSPECTOR, HTTP_INSPECTOR])], [cluster("opaque", [opaque.address])])
        self.assertEqual(ask(at, "/").text(), "plain 1")
        with TlsClient(at, client_context(authority)) as c:
            self.assertEqual(c.ask("/").text(), "over tls")
        code, text = harness.run(["curl", "-sS", "--http2-prior-knowledge", "http://%s/" % at])
        self.assertEqual((code, text), (0, "plain 2"))
        code, text = harness.run(["curl", "-sS", "--http2", "--cacert", authority.certificate, "--connect-to", "a.test:443:" + at,
                                  "-w", " %{http_version}", "https://a.test/"])
        self.assertEqual((code, text), (0, "over tls 2"))
        with dial(at) as c:
            c.sendall(b"\x00\x01\x02 not HTTP\r\n")
            self.assertEqual(read_until(c, b"\n"), b"opaque:\x00\x01\x02 not HTTP\r\n")
        # In pieces: the choice waits for as many bytes as it needs, and no byte is lost.
        with dial(at) as c:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            for i in range(len(text)):
                c.sendall(text[i:i + 1])
            self.assertIn(b"plain 1", read_all(c))
        with dial(at) as c:
            c.sendall(b"PING")  # may become an HTTP method: told by the end
            c.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(c), b"opaque:PING")
        for prefix in ("tls", "one", "two"):
            self.assertGreater(proxy.stat("http.%s.downstream_cx_total" % prefix), 0)
        self.assertGreater(proxy.stat("tls_inspector.tls_found"), 1)
        self.assertGreater(proxy.stat("http_inspector.http11_found"), 1)
        self.assertGreater(proxy.stat("http_inspector.http2_found"), 0)

    def test_no_chain(self):
        at = self.net.address()
        proxy = self.proxy([listener("main", at, [tcp_chain("none", {"source_prefix_ranges": [
            {"address_prefix": "10.0.0.0", "prefix_len": 8}]})], stat_prefix="main")], [])
        with dial(at) as c:
            self.assertTrue(ended(c))
        wait_until("the counter", lambda: proxy.stat("listener.main.no_filter_chain_match") == 1)
        self.assertEqual(proxy.stat("listener.main.downstream_cx_total"), 0)

    def test_server_speaks_first(self):
        """A chain that is settled by its port does not wait for the client's bytes, though the listener inspects; where the
        choice needs them, listener_filters_timeout bounds the wait."""
        smtp = Peer(self.env, named("220 mail.test ESMTP"))
        at, waits, closes = self.net.address(), self.net.address(), self.net.address()
        port = split_address(at)[1]
        inspectors = [TLS_INSPECTOR, HTTP_INSPECTOR]
        proxy = self.proxy([
            # 15 s are the default: longer than the client waits.
            listener("settled", at, [tcp_chain("smtp", {"destination_port": port}),
                                     tcp_chain("smtp", {"server_names": ["a.test"]}, name="sni")], inspectors),
            listener("waits", waits, [tcp_chain("smtp"), tcp_chain("smtp", {"transport_protocol": "tls"}, name="tls")], inspectors,
                     listener_filters_timeout="0.3s", continue_on_listener_filters_timeout=True, stat_prefix="waits"),
            listener("closes", closes, [tcp_chain("smtp"), tcp_chain("smtp", {"transport_protocol": "tls"}, name="tls")], inspectors,
                     listener_filters_timeout="0.3s", stat_prefix="closes")], [cluster("smtp", [smtp.address])])
        with dial(at) as c:
            c.settimeout(10)
            self.assertEqual(read_until(c, b"\n"), b"220 mail.test ESMTP\n")
            c.sendall(b"EHLO a\r\n")
            self.assertEqual(read_until(c, b"\n"), b"EHLO a\r\n")
        with dial(waits) as c:
            self.assertEqual(read_until(c, b"\n"), b"220 mail.test ESMTP\n")
        with dial(waits) as c:  # what came within the time, and was not enough to choose, is not lost
            c.sendall(b"\x16\x03")
            self.assertEqual(read_until(c, b"\x03"), b"220 mail.test ESMTP\n\x16\x03")
        with dial(closes) as c:
            self.assertTrue(ended(c))
        self.assertEqual(proxy.stat("listener.waits.downstream_pre_cx_timeout"), 2)
        self.assertEqual(proxy.stat("listener.closes.downstream_pre_cx_timeout"), 1)
        self.assertEqual(proxy.stat("listener.closes.downstream_pre_cx_active"), 0)

    # -- SNI

    def test_sni_routing_without_terminating(self):
        """TLS goes through to servers with certificates of their own, chosen by the name that the client asks for."""
        authority = Authority(self.env.folder, "sni")
        origins = {}
        for name in ("a", "b", "rest"):
            origins[name] = TlsOrigin(self.net.ip("0.1") + ":0", authority.leaf(name, "DNS:%s.test,DNS:*.%s.test" % (name, name)), name=name)
            self.env.origins.append(origins[name])
        at = self.net.address()
        log = self.env.folder / "sni.log"
        access = [{"name": "f", "typed_config": {"@type": LOG, "path": str(log), "log_format": {"text_format_source": {
            "inline_string": "%REQUESTED_SERVER_NAME% %UPSTREAM_CLUSTER%\n"}}}}]
        self.proxy([listener("main", at, [
            tcp_chain("a", {"server_names": ["a.test"]}, access_log=access),
            tcp_chain("b", {"server_names": ["*.b.test", "b.test"]}, access_log=access),
            tcp_chain("rest", {"transport_protocol": "tls"}, access_log=access)], [TLS_INSPECTOR])],
            [cluster(n, [o.address]) for n, o in origins.items()])
        for name, want in (("a.test", "a"), ("b.test", "b"), ("x.b.test", "b"), ("rest.test", "rest"), ("A.test", "a")):
            with TlsClient(at, client_context(authority), name=name) as c:
                answer = c.ask("/", host=name)
                self.assertEqual(answer.json()["name"], want)
        # The openssl program, and a ClientHello in many small segments.
        done = subprocess.run(["openssl", "s_client", "-connect", at, "-servername", "x.b.test", "-verify_return_error", "-verify_hostname",
                               "x.b.test", "-CAfile", str(authority.certificate), "-brief"], input=b"", capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stderr)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context(authority).wrap_bio(incoming, outgoing, server_hostname="b.test")
        with dial(at) as c:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    data = outgoing.read()
                    for i in range(0, len(data), 20):
                        c.sendall(data[i:i + 20])
                    incoming.write(c.recv(65536))
            self.assertIn(("DNS", "b.test"), tls.getpeercert()["subjectAltName"])
        # No TLS, no name: no chain.
        with dial(at) as c:
            c.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertTrue(ended(c))
        lines = self.log_lines(log, 7)
        self.assertIn("a.test a", lines)
        self.assertIn("x.b.test b", lines)
        self.assertIn("rest.test rest", lines)

    # -- PROXY protocol

    def test_proxy_protocol_in(self):
        log = self.env.folder / "pp.log"
        origin = self.env.start_origin()
        at, strict, v2 = self.net.address(), self.net.address(), self.net.address()
        access = [{"name": "f", "typed_config": {"@type": LOG, "path": str(log), "log_format": {"text_format_source": {
            "inline_string": "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %BYTES_RECEIVED%\n"}}}}]
        chains = [tcp_chain("origin", access_log=access), tcp_chain("nowhere", {"source_prefix_ranges": [
            {"address_prefix": "9.9.9.9", "prefix_len": 32}]}, name="blocked", access_log=access)]
        proxy = self.proxy([
            listener("open", at, chains, [listener_filter("proxy_protocol", allow_requests_without_proxy_protocol=True)], stat_prefix="open"),
            listener("strict", strict, chains, [listener_filter("proxy_protocol")], stat_prefix="strict"),
            listener("v2", v2, chains, [listener_filter("proxy_protocol", disallowed_versions=["V1"], stat_prefix="mine")])],
            [cluster("origin", [origin.address])])
        get = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

        def talk(where, data, pieces=False):
            with dial(where) as c:
                c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                c.sendall(data[:20]) if pieces else None
                try:
                    c.sendall(data[20:] if pieces else data)
                    return read_until(c, b"}")
                except ConnectionError:
                    return b""
                except Trouble:
                    return b""

        two = SIGNATURE2 + b"\x21\x11" + struct.pack(">H", 12 + 6) + socket.inet_aton("5.6.7.8") + socket.inet_aton("1.1.1.1") + \
            struct.pack(">HH", 555, 80) + b"\x04\0\x03abc"
        for where in (at, strict):
            self.assertIn(b"/x", talk(where, b"PROXY TCP4 1.2.3.4 5.6.7.8 4000 443\r\n" + get))
            self.assertIn(b"/x", talk(where, two + get, pieces=True))
            self.assertIn(b"/x", talk(where, SIGNATURE2 + b"\x20\0\0\0" + get))
            self.assertEqual(b"", talk(where, b"PROXY TCP4 1.2.3.4 nonsense\r\n" + get))
        self.assertIn(b"/x", talk(at, get))
        self.assertEqual(b"", talk(strict, get))
        self.assertIn(b"/x", talk(v2, two + get))
        self.assertEqual(b"", talk(v2, b"PROXY UNKNOWN\r\n" + get))
        # The address of the header decides the chain.
        self.assertEqual(b"", talk(at, b"PROXY TCP4 9.9.9.9 5.6.7.8 4000 443\r\n" + get))
        lines = self.log_lines(log, 9)
        self.assertEqual(lines.count("1.2.3.4:4000 5.6.7.8:443 %d" % len(get)), 2, lines)
        self.assertEqual(lines.count("5.6.7.8:555 1.1.1.1:80 %d" % len(get)), 3, lines)
        self.assertEqual(sum(l.startswith("9.9.9.9:4000 ") for l in lines), 1, lines)
        self.assertEqual(proxy.stat("proxy_proto.versions.v1.found"), 3)
        self.assertEqual(proxy.stat("proxy_proto.versions.v1.error"), 2)
        self.assertEqual(proxy.stat("proxy_proto.not_found_allowed"), 1)
        self.assertEqual(proxy.stat("proxy_proto.not_found_disallowed"), 1)
        self.assertEqual(proxy.stat("proxy_proto.mine.versions.v1.disallowed"), 1)
        self.assertEqual(proxy.stat("listener.strict.downstream_cx_proxy_proto_error"), 2)

    def upstream_proxy(self, version, inner=None):
        return {"name": "pp", "typed_config": {
            "@type": SOCKETS + "proxy_protocol.v3.ProxyProtocolUpstreamTransport", "config": {"version": version},
            "transport_socket": inner or {"name": "raw", "typed_config": {"@type": SOCKETS + "raw_buffer.v3.RawBuffer"}}}}

    def test_proxy_protocol_out(self):
        """To an own peer, byte by byte; to nginx and HAProxy, which say what they understood; in front of TLS; through two hops."""
        seen = []

        def script(connection):
            seen.append(connection.recv(65536))
            connection.sendall(b"ok\n")
        peer = Peer(self.env, script)
        authority = Authority(self.env.folder, "pp")
        nginx = self.start_nginx(authority.leaf("n", "DNS:n.test"))
        haproxy = self.start_haproxy()
        names = ("one", "two", "nginx", "haproxy", "nginx_tls", "hop")
        at = {n: self.net.address() for n in names}
        inner = {"name": "tls", "typed_config": {"@type": SOCKETS + "tls.v3.UpstreamTlsContext", "sni": "n.test", "common_tls_context": {
            "validation_context": {"trusted_ca": {"filename": str(authority.certificate)}}}}}
        far = self.net.address()
        self.proxy(
            [listener(n, at[n], [tcp_chain(n)]) for n in names] +
            [listener("far", far, [tcp_chain("far")], [listener_filter("proxy_protocol")])],
            [cluster("one", [peer.address], transport_socket=self.upstream_proxy("V1")),
             cluster("two", [peer.address], transport_socket=self.upstream_proxy("V2")),
             cluster("nginx", [nginx[0]], transport_socket=self.upstream_proxy("V1")),
             cluster("nginx_tls", [nginx[1]], transport_socket=self.upstream_proxy("V1", inner)),
             cluster("haproxy", [haproxy], transport_socket=self.upstream_proxy("V2")),
             cluster("hop", [far], transport_socket=self.upstream_proxy("V2")),
             cluster("far", [nginx[0]], transport_socket=self.upstream_proxy("V1"))])
        client = self.net.ip("0.77")
        for name in ("one", "two"):
            with dial(at[name], client) as c:
                c.sendall(b"x")
                self.assertEqual(read_until(c, b"\n"), b"ok\n")
                port, (to, to_port) = c.getsockname()[1], split_address(at[name])
            if name == "one":
                want = b"PROXY TCP4 %s %s %d %d\r\n" % (client.encode(), to.encode(), port, to_port)
            else:
                want = SIGNATURE2 + b"\x21\x11\0\x0c" + socket.inet_aton(client) + socket.inet_aton(to) + struct.pack(">HH", port, to_port)
            self.assertTrue((want + b"x").startswith(seen[-1]), seen[-1])
            self.assertIn(seen[-1], (want, want + b"x"))
        for name in ("nginx", "nginx_tls", "haproxy", "hop"):
            with Client(at[name], 20, source=(client, 0)) as c:
                port = c.socket.getsockname()[1]
                answer = c.ask("/", headers=[("connection", "close")])
                self.assertEqual(answer.text().strip(), "%s:%d" % (client, port), name)

    def start_nginx(self, leaf):
        plain, secure = self.net.address(), self.net.address()
        text = """daemon off; master_process off; pid %(d)s/nginx.pid; error_log %(d)s/nginx.err;
            events {}
            http { access_log off; client_body_temp_path %(d)s/b; proxy_temp_path %(d)s/p; fastcgi_temp_path %(d)s/f;
              uwsgi_temp_path %(d)s/u; scgi_temp_path %(d)s/s;
              server { listen %(plain)s proxy_protocol; listen %(secure)s ssl proxy_protocol;
                ssl_certificate %(cert)s; ssl_certificate_key %(key)s;
                location / { return 200 "$proxy_protocol_addr:$proxy_protocol_port"; } } }
            """ % {"d": self.env.folder, "plain": plain, "secure": secure, "cert": leaf.chain, "key": leaf.key}
        path = self.env.write("nginx.conf", text)
        child = self.env.start("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", path, "-p", self.env.folder])
        self.env.wait_ready(child, lambda: dial(plain).close() is None)
        return plain, secure

    def start_haproxy(self):
        at = self.net.address()
        path = self.env.write("haproxy.cfg", """defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
frontend f
  bind %s accept-proxy
  http-request return status 200 content-type text/plain lf-string "%%[src]:%%[src_port]"
""" % at)
        child = self.env.start("haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", path])
        self.env.wait_ready(child, lambda: dial(at).close() is None)
        return at

    # -- bytes

    def test_half_close_both_ways_and_large_transfers(self):
        """Each side may end its direction first; nothing is lost, however much is on its way, and slow readers hold back."""
        size = 8 << 20
        block = os.urandom(1 << 16)

        def reads_then_answers(connection):  # the client ends first
            got = read_all(connection)
            connection.sendall(b"%d " % len(got) + got[-16:])

        def answers_then_reads(connection):  # the server ends first
            for _ in range(size // len(block)):
                connection.sendall(block)
            connection.shutdown(socket.SHUT_WR)
            totals.append(len(read_all(connection)))
        totals = []
        first, second, repeats = (Peer(self.env, s) for s in (reads_then_answers, answers_then_reads, echo))
        ats = [self.net.address() for _ in range(3)]
        log = self.env.folder / "half.log"
        access = [{"name": "f", "typed_config": {"@type": LOG, "path": str(log), "log_format": {"text_format_source": {
            "inline_string": "%BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %UPSTREAM_HOST%\n"}}}}]
        proxy = self.proxy([listener("l%d" % i, at, [tcp_chain("c%d" % i, access_log=access)]) for i, at in enumerate(ats)],
                           [cluster("c%d" % i, [p.address]) for i, p in enumerate((first, second, repeats))])
        with dial(ats[0]) as c:
            for _ in range(size // len(block)):
                c.sendall(block)
            c.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(c), b"%d " % size + block[-16:])
        with dial(ats[1]) as c:
            got = read_all(c)
            self.assertEqual(len(got), size)
            self.assertEqual(got[:len(block)], block)
            c.sendall(block)
            c.shutdown(socket.SHUT_WR)
            self.assertEqual(c.recv(1), b"")
        wait_until("the server has read on after it ended its side", lambda: totals == [len(block)])
        # Both ways at once, with a reader that begins late: the sender stands still meanwhile. All kernel buffers on the way
        # hold less than that.
        much = 64 << 20
        with dial(ats[2]) as c:
            def send():
                for _ in range(much // len(block)):
                    c.sendall(block)
                c.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            wait_until("reading was paused", lambda: proxy.stat("tcp.tcp.downstream_flow_control_paused_reading_total") > 0, 20)
            self.assertEqual(len(read_all(c)), much)
            sender.join(20)
        lines = self.log_lines(log, 3)
        self.assertIn("%d %d - %s" % (size, len(str(size)) + 17, first.address), lines)
        self.assertIn("%d %d - %s" % (len(block), size, second.address), lines)
        self.assertIn("%d %d - %s" % (much, much, repeats.address), lines)
        wait_until("no connection", lambda: proxy.stat("tcp.tcp.downstream_cx_active") == 0)
        self.assertEqual(proxy.stat("cluster.c2.upstream_cx_active"), 0)
        self.assertEqual(proxy.stat("cluster.c2.upstream_cx_rx_bytes_total"), much)

    def test_resets_are_passed_on(self):
        def resets(connection):
            connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        heard = []

        def hears(connection):
            connection.sendall(b"hello\n")
            try:
                heard.append(connection.recv(100))
            except ConnectionResetError:
                heard.append("reset")
        ats = [self.net.address(), self.net.address()]
        self.proxy([listener("a", ats[0], [tcp_chain("a")]), listener("b", ats[1], [tcp_chain("b")])],
                   [cluster("a", [Peer(self.env, resets).address]), cluster("b", [Peer(self.env, hears).address])])
        with dial(ats[0]) as c:
            c.sendall(b"x")
            with self.assertRaises(ConnectionResetError):
                c.recv(100)
        c = dial(ats[1])
        self.assertEqual(read_until(c, b"\n"), b"hello\n")
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
        wait_until("the server heard of it", lambda: heard == ["reset"])

    # -- clusters, retries, limits, timeouts

    def test_weights_attempts_and_flags(self):
        log = self.env.folder / "flags.log"
        a, b = Peer(self.env, named("a")), Peer(self.env, named("b"))
        dead = [self.net.address() for _ in range(2)]

        def held(connection):
            connection.sendall(b"x")
            connection.recv(1)
        limited = Peer(self.env, held)
        names = ("weights", "retry", "refused", "empty", "missing", "limit")
        at = {n: self.net.address() for n in names}

        def access(name):
            return [{"name": "f", "typed_config": {"@type": LOG, "path": str(log), "log_format": {"text_format_source": {
                "inline_string": name + " %RESPONSE_FLAGS% %UPSTREAM_CLUSTER%\n"}}}}]
        proxy = self.proxy([
            listener("weights", at["weights"], [tcp_chain(weighted_clusters={"clusters": [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]},
                                                          stat_prefix="weights")]),
            listener("retry", at["retry"], [tcp_chain("mixed", max_connect_attempts=3, access_log=access("retry"))]),
            listener("refused", at["refused"], [tcp_chain("dead", access_log=access("refused"))]),
            listener("empty", at["empty"], [tcp_chain("empty", access_log=access("empty"))]),
            listener("missing", at["missing"], [tcp_chain("missing", access_log=access("missing"), stat_prefix="missing")]),
            listener("limit", at["limit"], [tcp_chain("limit", access_log=access("limit"))])],
            [cluster("a", [a.address]), cluster("b", [b.address]), cluster("mixed", dead + [a.address]), cluster("dead", dead[:1]),
             cluster("empty", []), cluster("limit", [limited.address], circuit_breakers={"thresholds": [{"max_connections": 1}]})])
        counts = {b"a\n": 0, b"b\n": 0}
        for _ in range(200):
            with dial(at["weights"]) as c:
                counts[read_until(c, b"\n")] += 1
        self.assertEqual(sum(counts.values()), 200)
        # 50 of 200 expected, with a standard deviation of 6: this is out once in 10^10 runs.
        self.assertTrue(10 < counts[b"b\n"] < 90, counts)
        for _ in range(6):  # whichever host is first, another attempt finds the one that lives
            with dial(at["retry"]) as c:
                self.assertEqual(read_until(c, b"\n"), b"a\n")
        for name in ("refused", "empty", "missing"):
            with dial(at[name]) as c:
                self.assertTrue(ended(c), name)
        with dial(at["limit"]) as first:
            self.assertEqual(first.recv(1), b"x")
            with dial(at["limit"]) as second:
                self.assertTrue(ended(second))
        lines = self.log_lines(log, 11)
        self.assertEqual(lines.count("retry - mixed"), 6, lines)
        for want in ("refused UF,URX dead", "empty UH empty", "missing NC missing", "limit UO limit", "limit - limit"):
            self.assertIn(want, lines)
        self.assertEqual(proxy.stat("tcp.missing.downstream_cx_no_route"), 1)
        self.assertEqual(proxy.stat("tcp.weights.downstream_cx_total"), 200)
        self.assertEqual(proxy.stat("cluster.empty.upstream_cx_none_healthy"), 1)
        self.assertGreaterEqual(proxy.stat("cluster.dead.upstream_cx_connect_fail"), 1)

    def test_timeouts_and_log_intervals(self):
        log = self.env.folder / "times.log"
        peer = Peer(self.env, named("up"))
        idle, limited, logged = (self.net.address() for _ in range(3))
        proxy = self.proxy([
            listener("idle", idle, [tcp_chain("c", idle_timeout="0.5s", stat_prefix="idle")]),
            listener("limited", limited, [tcp_chain("c", max_downstream_connection_duration="0.5s", stat_prefix="limited")]),
            listener("logged", logged, [tcp_chain("c", stat_prefix="logged", access_log_options={
                "access_log_flush_interval": "0.1s", "flush_access_log_on_connected": True}, access_log=[
                    {"name": "f", "typed_config": {"@type": LOG, "path": str(log)}}])])], [cluster("c", [peer.address])])
        with dial(idle) as c:
            self.assertEqual(read_until(c, b"\n"), b"up\n")
            begun = time.monotonic()
            self.assertTrue(ended(c))
            self.assertGreaterEqual(time.monotonic() - begun, 0.4)
        with dial(limited) as c:
            self.assertEqual(read_until(c, b"\n"), b"up\n")
            self.assertTrue(ended(c))
        wait_until("counters", lambda: proxy.stat("tcp.idle.idle_timeout") == 1 and
                   proxy.stat("tcp.limited.max_downstream_connection_duration") == 1)
        with dial(logged) as c:
            self.assertEqual(read_until(c, b"\n"), b"up\n")
            self.log_lines(log, 3)

    # -- changes

    def test_chains_change_under_connections(self):
        """By xDS: connections of chains that did not change go on; a listener that can't be used leaves the last good one."""
        a, b = Peer(self.env, named("a")), Peer(self.env, named("b"))
        at = self.net.address()
        ports = (self.net.ip("0.11"), self.net.ip("0.12"), self.net.ip("0.13"))

        def by_source(ip):
            return {"source_prefix_ranges": [{"address_prefix": ip, "prefix_len": 32}]}

        def chains(middle="a", extra=True):
            out = [tcp_chain("a", by_source(ports[0]), "first", stat_prefix="first"),
                   http_chain(None, by_source(ports[1]), "second", answer="from " + middle, prefix="second")]
            if extra:
                out.append(tcp_chain("b", by_source(ports[2]), "third", stat_prefix="third"))
            return out
        server = FakeXds(self.env, [cluster("a", [a.address]), cluster("b", [b.address])],
                         [listener("main", at, chains(), stat_prefix="main")])
        text = json.dumps({
            "node": {"id": "tcp", "cluster": "tcp"}, "admin": {"address": address(self.admin)},
            "dynamic_resources": {"ads_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [
                {"envoy_grpc": {"cluster_name": "xds"}}]}, "cds_config": {"ads": {}}, "lds_config": {"ads": {}}},
            "static_resources": {"clusters": [cluster("xds", [server.address], typed_extension_protocol_options={
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}}}})]}})
        proxy = self.env.start_proxy("chains", text, self.admin)
        first, third = dial(at, ports[0]), dial(at, ports[2])
        self.assertEqual((read_until(first, b"\n"), read_until(third, b"\n")), (b"a\n", b"b\n"))
        with Client(at, 20, source=(ports[1], 0)) as second:
            self.assertEqual(second.ask("/").text(), "from a")
            server.put([listener("main", at, chains("b", extra=False), stat_prefix="main")])
            # Its chain changed: it carries one more answer at most and then closes; a new one has the new answer.
            wait_until("the new form", lambda: self.ask_from(at, ports[1]) == "from b", 20)
            self.assertTrue(second.closed_by_peer(20))
        for name, c in (("first", first), ("third, of a chain that is gone,", third)):
            c.sendall(b"still here\n")
            self.assertEqual(read_until(c, b"\n"), b"still here\n", name)
        with dial(at, ports[2]) as c:  # nobody takes it any more
            self.assertTrue(ended(c))
        self.assertEqual(proxy.stat("listener.main.no_filter_chain_match"), 1)
        # Two chains for the same connections: refused, and what was there stays.
        bad = chains("c")
        bad.append(tcp_chain("a", by_source(ports[0]), "again"))
        server.put([listener("main", at, bad, stat_prefix="main")])
        wait_until("refused", lambda: any("matches the same connections" in e for e in server.refused), 20)
        self.assertEqual(self.ask_from(at, ports[1]), "from b")
        first.sendall(b"still\n")
        self.assertEqual(read_until(first, b"\n"), b"still\n")
        first.close()
        third.close()
        wait_until("all gone", lambda: proxy.stat("tcp.first.downstream_cx_active") == 0 and proxy.stat("tcp.third.downstream_cx_active") == 0)

    def ask_from(self, at, ip):
        with Client(at, 20, source=(ip, 0)) as c:
            return c.ask("/", headers=[("connection", "close")]).text()


if __name__ == "__main__":
    harness.main()
