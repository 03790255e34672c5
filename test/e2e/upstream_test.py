#!/usr/bin/env python3
"""Real upstreams behind weft-proxy, by both HTTP versions on both sides: nginx and Envoy."""

import os
from pathlib import Path

import harness
from base import wait_until
from harness import Client, Server, ask
from bootstraps import HTTP_OPTIONS, bootstrap, cluster, listener
from http2 import H2Client, peer
from pki import Authority

import h2.config
import h2.connection
import h2.events

NGINX = """\
daemon off; master_process off; worker_processes 1; error_log stderr warn; pid %(dir)s/nginx.pid;
events { worker_connections 512; }
http {
  access_log off; keepalive_timeout 1s; client_max_body_size 64m;
  client_body_temp_path %(dir)s/body; proxy_temp_path %(dir)s/proxy; fastcgi_temp_path %(dir)s/f; uwsgi_temp_path %(dir)s/u;
  scgi_temp_path %(dir)s/s;
  server { listen %(h1)s; root %(dir)s; location = /no { return 404 "no"; } location = /204 { return 204; } }
  ssl_certificate %(chain)s; ssl_certificate_key %(key)s;
  server { listen %(tls1)s ssl; location / { return 200 "$server_protocol $ssl_server_name"; } }
  server { listen %(tls2)s ssl http2; location / { return 200 "$server_protocol $ssl_server_name"; } }
  server { listen %(h2)s http2; root %(dir)s; location = /no { return 404 "no"; } location = /204 { return 204; } }
}
"""


class UpstreamTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        net, env = cls.env.network, cls.env
        at = {name: net.address() for name in ("nginx1", "nginx2", "envoy1", "envoy2", "admin", "envoy_admin", "l1", "l2", "l3", "l4", "l5", "l6", "l7",
                                                "tls1", "tls2")}
        folder = Path(env.folder) / "nginx"
        folder.mkdir()
        cls.big = os.urandom(1 << 20) * 5
        (folder / "big").write_bytes(cls.big)
        (folder / "small").write_text("small")
        authority = Authority(Path(env.folder) / "pki")
        leaf = authority.leaf("up", "DNS:a.test,DNS:b.test")
        tls = {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "a.test",
            "common_tls_context": {"validation_context": {"trusted_ca": {"filename": str(authority.certificate)}}}}}

        def by(options):
            return {"transport_socket": tls, "typed_extension_protocol_options": {HTTP_OPTIONS: {
                "@type": "type.googleapis.com/" + HTTP_OPTIONS, **options}}}

        conf = env.write("nginx/nginx.conf", NGINX % {
            "dir": folder, "h1": at["nginx1"], "h2": at["nginx2"], "tls1": at["tls1"], "tls2": at["tls2"],
            "chain": leaf.chain, "key": leaf.key})
        cls.nginx = env.start("nginx", [peer("nginx"), "-p", str(folder), "-c", conf])
        cls.origin = env.start_origin()
        cls.envoy = env.start_envoy("envoy", bootstrap(at["envoy_admin"], [
            listener("one", at["envoy1"], "origin"), listener("two", at["envoy2"], "origin")],
            [cluster("origin", cls.origin.address)]), at["envoy_admin"])
        cls.ports = {"nginx by HTTP/1": at["l1"], "nginx by HTTP/2": at["l2"], "Envoy by HTTP/1": at["l3"], "Envoy by HTTP/2": at["l4"]}
        cls.by_alpn, cls.by_name = {"HTTP/1.1": at["l5"], "HTTP/2.0": at["l6"]}, at["l7"]
        cls.proxy = env.start_proxy("proxy", bootstrap(at["admin"], [
            listener("l1", at["l1"], "nginx1"), listener("l2", at["l2"], "nginx2"),
            listener("l3", at["l3"], "envoy1"), listener("l4", at["l4"], "envoy2"),
            listener("l5", at["l5"], "alpn1"), listener("l6", at["l6"], "alpn2"), listener("l7", at["l7"], "sni")], [
            cluster("alpn1", at["tls1"], **by({"auto_config": {}})), cluster("alpn2", at["tls2"], **by({"auto_config": {}})),
            cluster("sni", at["tls1"], **by({"explicit_http_config": {"http_protocol_options": {}},
                                             "upstream_http_protocol_options": {"auto_sni": True}})),
            cluster("nginx1", at["nginx1"]), cluster("nginx2", at["nginx2"], http2=True),
            cluster("envoy1", at["envoy1"]), cluster("envoy2", at["envoy2"], http2=True)]), at["admin"])

        def up():
            try:
                return ask(at["l1"], "/small").status == 200
            except OSError:
                return False

        wait_until("nginx", up, 20)

    def test_nginx(self):
        for name in ("nginx by HTTP/1", "nginx by HTTP/2"):
            with self.subTest(name), Client(self.ports[name], 20) as c:
                self.assertEqual(c.ask("/small").body, b"small")
                self.assertTrue(c.ask("/big").body == self.big, "all of a large answer, and nothing else")
                self.assertEqual(c.ask("/no").status, 404)
                self.assertEqual(c.ask("/204").status, 204)
                self.assertEqual(c.ask("/big", "HEAD").status, 200)
                self.assertEqual(c.ask("/small").body, b"small")

    def test_envoy(self):
        for name in ("Envoy by HTTP/1", "Envoy by HTTP/2"):
            with self.subTest(name), Client(self.ports[name], 20) as c:
                for size in (0, 1, 100_000, 3_000_000):
                    self.assertEqual(len(c.ask("/?size=%d" % size).body), size)
                self.assertEqual(c.ask("/", "POST", body=b"p" * 3_000_000).status, 200)
                self.assertEqual(c.ask("/?status=503").status, 503)
        self.assertGreater(self.proxy.stat("cluster.envoy2.upstream_cx_http2_total"), 0)

    def test_http2_downstream(self):
        for name, path in (("nginx by HTTP/1", "/big"), ("nginx by HTTP/2", "/big"), ("Envoy by HTTP/2", "/?size=1000000")):
            with self.subTest(name):
                c = H2Client(self.ports[name])
                streams = [c.request(path) for _ in range(8)]
                for s in streams:
                    got = c.wait(s)
                    self.assertEqual(got.status, 200)
                    self.assertEqual(len(got.body), len(self.big) if path == "/big" else 1_000_000)

    def test_requests_at_once_share_few_connections(self):
        before = self.proxy.stat("cluster.envoy2.upstream_cx_total")
        load = self.env.start_load(self.ports["Envoy by HTTP/2"], "/?size=2000", connections=16, rate=400)
        load.wait_for(400)
        load.stop()
        self.assertEqual(load.failed, 0, str(load))
        self.assertLessEqual(self.proxy.stat("cluster.envoy2.upstream_cx_total") - before, 1)

    def test_alpn_chooses_the_version(self):
        for version, at in self.by_alpn.items():
            with self.subTest(version), Client(at, 20) as c:
                for _ in range(3):
                    self.assertEqual(c.ask("/").text(), version + " a.test")
        self.assertEqual(self.proxy.stat("cluster.alpn2.upstream_cx_http2_total"), 1)
        self.assertEqual(self.proxy.stat("cluster.alpn1.upstream_cx_http1_total"), 1)

    def test_the_server_name_is_the_requests_host(self):
        for host in ("a.test", "b.test", "a.test", "b.test:8443"):
            self.assertEqual(ask(self.by_name, "/", host=host).text(), "HTTP/1.1 " + host.partition(":")[0])
        self.assertEqual(self.proxy.stat("cluster.sni.upstream_cx_total"), 2, "one connection a name")

    def test_nginx_closes_idle_connections_at_1s(self):
        """GETs of a steady load, some of which come when nginx closes: none is lost."""
        load = self.env.start_load(self.ports["nginx by HTTP/1"], "/small", connections=8, rate=8)
        load.wait_for(30)
        load.stop()
        self.assertEqual(load.failed, 0, str(load))


class Resetter(Server):
    """An HTTP/2 server that does what the path says, and counts the requests that it got."""

    def __init__(self, at):
        self.requests = []
        super().__init__(at)

    def serve(self, s):
        c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        c.initiate_connection()
        paths, bodies = {}, {}
        s.sendall(c.data_to_send())
        while data := s.recv(65536):
            for e in c.receive_data(data):
                if isinstance(e, h2.events.RequestReceived):
                    paths[e.stream_id], bodies[e.stream_id] = dict(e.headers)[":path"], b""
                elif isinstance(e, h2.events.DataReceived):
                    bodies[e.stream_id] += e.data
                    c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
                elif isinstance(e, h2.events.StreamEnded):
                    if not self._answer(c, s, e.stream_id, paths[e.stream_id], bodies[e.stream_id]):
                        return
            s.sendall(c.data_to_send())

    def _answer(self, c, s, stream, path, body):
        self.requests.append(path)
        first = self.requests.count(path) == 1
        ok = [(":status", "200")]
        if path == "/reset-at-once":
            c.reset_stream(stream, 2)
        elif path == "/refused-once" and first:
            c.reset_stream(stream, 7)
        elif path == "/goaway-once" and first:
            c.close_connection(0, last_stream_id=stream - 2 if stream > 1 else 0)
            s.sendall(c.data_to_send())
            return False
        elif path == "/closed-at-once":
            return False
        elif path in ("/reset-after-head", "/reset-in-body", "/closed-in-body"):
            c.send_headers(stream, ok)
            if path != "/reset-after-head":
                c.send_data(stream, b"half")
            if path == "/closed-in-body":
                s.sendall(c.data_to_send())
                return False
            c.reset_stream(stream, 2)
        elif path == "/early":
            c.send_headers(stream, [(":status", "103"), ("link", "</a>")])
            c.send_headers(stream, ok)
            c.send_data(stream, body)
            c.send_headers(stream, [("x-trailer", "t")], end_stream=True)
        else:
            c.send_headers(stream, ok)
            c.send_data(stream, body or b"fine", end_stream=True)
        return True


class ResetTest(harness.TestCase):
    """What an HTTP/2 upstream breaks off, at every phase."""

    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.at, admin, up = net.address(), net.address(), net.address()
        cls.upstream = Resetter(up)
        cls.proxy = cls.env.start_proxy("proxy", bootstrap(admin, [listener("main", cls.at, "up")],
                                                           [cluster("up", up, http2=True)]), admin)

    @classmethod
    def tearDownClass(cls):
        cls.upstream.close()
        super().tearDownClass()

    def test_before_an_answer(self):
        for path in ("/reset-at-once", "/closed-at-once"):
            with self.subTest(path):
                self.assertEqual(ask(self.at, path, "POST", body=b"x").status, 503)
                self.assertEqual(self.upstream.requests.count(path), 1, "a POST that may have arrived is sent once")
        self.assertEqual(ask(self.at, "/").text(), "fine", "the next request is served")

    def test_what_was_not_processed_is_sent_again(self):
        for path in ("/refused-once", "/goaway-once"):
            with self.subTest(path):
                answer = ask(self.at, path, "POST", body=b"the body")
                self.assertEqual((answer.status, answer.body), (200, b"the body"))
                self.assertEqual(self.upstream.requests.count(path), 2)
        self.assertGreaterEqual(self.proxy.stat("cluster.up.upstream_rq_replayed"), 2)

    def test_a_cut_answer_never_looks_complete(self):
        for path in ("/reset-after-head", "/reset-in-body", "/closed-in-body"):
            with self.subTest(path):
                with self.assertRaises(OSError):
                    ask(self.at, path)
                c = H2Client(self.at)
                got = c.wait(c.request(path))
                self.assertTrue(got.reset is not None and not got.ended, "reset, not ended")

    def test_1xx_and_trailers(self):
        c = H2Client(self.at)
        got = c.wait(c.request("/early", "POST", body=b"b"))
        self.assertEqual((got.status, bytes(got.body)), (200, b"b"))
        self.assertEqual(dict(got.trailers)["x-trailer"], "t")
        answer = ask(self.at, "/early", "POST", body=b"b")
        self.assertEqual((answer.status, answer.body), (200, b"b"))


if __name__ == "__main__":
    harness.main()
