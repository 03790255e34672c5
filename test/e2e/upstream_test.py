#!/usr/bin/env python3
"""Real upstreams behind weft-proxy, by both HTTP versions on both sides: nginx and Envoy."""

import os
from pathlib import Path

import harness
from base import wait_until
from harness import Client, ask
from http2 import HTTP_OPTIONS, H2Client, bootstrap, cluster, listener, peer
from pki import Authority

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


if __name__ == "__main__":
    harness.main()
