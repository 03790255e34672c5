#!/usr/bin/env python3
"""TLS end to end: the real proxy on bootstrap files as for Envoy; curl, the openssl program, Python's ssl, Envoy and a second
weft-proxy as peers."""

import json
import os
import shutil
import ssl
import subprocess
import threading

import harness
from bootstraps import bootstrap, cluster, listener
from harness import Client, ask, wait_until
from pki import Authority, TlsClient, TlsOrigin, client_context, openssl

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


def file(path):
    return {"filename": str(path)}


def certificate(leaf, **more):
    return {"certificate_chain": file(leaf.chain), "private_key": file(leaf.key), **more}


def downstream(leaves, common=None, **more):
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": TLS + "DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [l if isinstance(l, dict) else certificate(l) for l in leaves], **(common or {})},
        **more}}


def upstream(common=None, **more):
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": TLS + "UpstreamTlsContext", "common_tls_context": common or {}, **more}}


def trust(authority, uris=(), **more):
    out = {"trusted_ca": file(authority.certificate), **more}
    if uris:
        out["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": u}} for u in uris]
    return {"validation_context": out}


def s_client(at, *argv, stdin=b"", seconds=20):
    """The output of openssl s_client, whether the handshake succeeded or not."""
    done = subprocess.run(["openssl", "s_client", "-connect", at, *map(str, argv)], input=stdin, capture_output=True, timeout=seconds)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


class Base(harness.TestCase):
    @classmethod
    def prepare(cls):
        cls.ca = Authority(cls.env.folder, "root")
        cls.other = Authority(cls.env.folder, "stranger")
        cls.origin = cls.env.start_origin()

    def proxy(self, name, listeners, clusters=None, **kwargs):
        admin = self.env.network.address()
        if clusters is None:
            clusters = [cluster("origin", self.origin.address)]
        return self.env.start_proxy(name, bootstrap(admin, listeners, clusters), admin, **kwargs)

    def at(self):
        return self.env.network.address()

    def stat_is(self, proxy, name, value):
        wait_until(lambda: "%s is %d; it is %d" % (name, value, proxy.stat(name)), lambda: proxy.stat(name) == value, 20)


class ServerTest(Base):
    """One proxy with several TLS listeners in front of a plain origin."""

    @classmethod
    def prepare(cls):
        super().prepare()
        net = cls.env.network
        ca = cls.ca
        cls.a = ca.leaf("a", "DNS:a.test,DNS:*.wild.test")
        cls.b = ca.leaf("b", "DNS:b.test")
        cls.rsa = ca.leaf("rsa", "DNS:rsa.test,DNS:a.test", rsa=True)
        cls.client = ca.leaf("client", "URI:spiffe://td.test/ns/one/sa/client")
        cls.client2 = ca.leaf("client2", "URI:spiffe://td.test/ns/two/sa/client")
        cls.revoked = ca.leaf("revoked", "URI:spiffe://td.test/ns/one/sa/client")
        cls.expired = ca.leaf("expired", "URI:spiffe://td.test/ns/one/sa/client", expired=True)
        cls.foreign = cls.other.leaf("foreign", "URI:spiffe://td.test/ns/one/sa/client")
        cls.plain, cls.many, cls.mutual, cls.optional, cls.only13, cls.stapled, cls.pinned, cls.spiffe = (
            net.address() for _ in range(8))
        fingerprint = openssl("x509", "-in", cls.client.chain, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]
        admin = net.address()
        cls.proxy_ = cls.env.start_proxy("server", bootstrap(admin, [
            listener("plain", cls.plain, "origin", transport=downstream([cls.a], {"alpn_protocols": ["h2", "http/1.1"]})),
            listener("many", cls.many, "origin", transport=downstream([cls.rsa, cls.a, cls.b])),
            listener("mutual", cls.mutual, "origin", transport=downstream(
                [cls.a], trust(ca, ["spiffe://td.test/ns/one/sa/client"], crl=file(ca.crl([cls.revoked])), only_verify_leaf_cert_crl=True),
                require_client_certificate=True)),
            listener("optional", cls.optional, "origin", transport=downstream([cls.a], trust(ca))),
            listener("only13", cls.only13, "origin", transport=downstream(
                [cls.a], {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}})),
            listener("stapled", cls.stapled, "origin", transport=downstream([certificate(cls.b, ocsp_staple=file(ca.ocsp(cls.b)))])),
            listener("pinned", cls.pinned, "origin", transport=downstream(
                [cls.a], {"validation_context": {"verify_certificate_hash": [fingerprint]}}, require_client_certificate=True)),
            listener("spiffe", cls.spiffe, "origin", transport=downstream([cls.a], {"validation_context": {"custom_validator_config": {
                "name": "envoy.tls.cert_validator.spiffe", "typed_config": {
                    "@type": TLS + "SPIFFECertValidatorConfig",
                    "trust_domains": [{"name": "td.test", "trust_bundle": file(ca.certificate)}]}}}},
                require_client_certificate=True)),
        ], [cluster("origin", cls.origin.address)]), admin)

    def scope(self, at):
        return "listener.%s.ssl." % at.replace(":", "_")

    def ask_with(self, at, **kwargs):
        with TlsClient(at, client_context(self.ca, **kwargs)) as c:
            return c.ask("/x")

    def refused(self, at, leaf, counter):
        """A client with this certificate gets no answer, and that is counted."""
        before = self.proxy_.stat(self.scope(at) + counter)
        with self.assertRaises((ssl.SSLError, OSError)):
            self.ask_with(at, leaf=leaf)
        self.stat_is(self.proxy_, self.scope(at) + counter, before + 1)

    def test_curl_gets_an_answer(self):
        before = self.proxy_.stat(self.scope(self.plain) + "handshake")
        for version in ("--tlsv1.2", "--tlsv1.3"):
            limit = ["--tls-max", version[-3:]]
            out = subprocess.run(["curl", "-sS", "--http1.1", version, *limit, "--cacert", self.ca.certificate, "--resolve",
                                  "a.test:%s:%s" % (self.plain.rpartition(":")[2], self.plain.rpartition(":")[0]),
                                  "https://a.test:%s/hello" % self.plain.rpartition(":")[2]], capture_output=True, timeout=20)
            self.assertEqual(out.returncode, 0, out.stderr)
            said = json.loads(out.stdout)
            self.assertEqual(said["target"], "/hello")
            self.assertIn(["x-forwarded-proto", "https"], [[k.lower(), v] for k, v in said["headers"]])
        self.stat_is(self.proxy_, self.scope(self.plain) + "handshake", before + 2)
        self.assertEqual(self.proxy_.stat(self.scope(self.plain) + "versions.TLSv1.2") >= 1, True)

    def test_large_bodies_both_ways(self):
        with TlsClient(self.plain, client_context(self.ca, alpn=["http/1.1"])) as c:
            body = os.urandom(2_000_000).hex()
            said = c.ask("/up", method="POST", body=body).json()
            self.assertEqual(said["body"], body)
            self.assertEqual(c.ask("/down?size=5000000").body, b"x" * 5_000_000)
            self.assertEqual(c.ask("/down?size=1000000&chunked").body, b"x" * 1_000_000)

    def test_alpn(self):
        for offered, agreed in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["other"], None), ([], None)):
            with TlsClient(self.plain, client_context(self.ca, alpn=offered)) as c:
                self.assertEqual(c.socket.selected_alpn_protocol(), agreed)

    def test_http2_over_tls(self):
        out = subprocess.run(["curl", "-sS", "--http2", "-w", "\\n%{http_version}", "--cacert", self.ca.certificate, "--resolve",
                              "a.test:%s:%s" % (self.plain.rpartition(":")[2], self.plain.rpartition(":")[0]),
                              "https://a.test:%s/h2?size=300000" % self.plain.rpartition(":")[2]], capture_output=True, timeout=20)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertEqual(out.stdout[-2:], b"\n2")
        self.assertEqual(out.stdout[:-2], b"x" * 300000)

    def test_connections_with_tls_are_counted_apart(self):
        """Once the handshake is over, and of a listener with TLS alone."""
        total, active = "http.plain.downstream_cx_ssl_total", "http.plain.downstream_cx_ssl_active"
        self.stat_is(self.proxy_, active, 0)
        before = self.proxy_.stat(total)
        for alpn in (["http/1.1"], ["h2"]):
            with TlsClient(self.plain, client_context(self.ca, alpn=alpn)):
                self.stat_is(self.proxy_, active, 1)
            self.stat_is(self.proxy_, active, 0)
        with Client(self.plain) as c:  # no TLS: never one of them
            c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            self.assertTrue(c.closed_by_peer())
        self.assertEqual(self.proxy_.stat(total), before + 2)

    def test_versions(self):
        self.assertIn("TLSv1.3", s_client(self.only13, "-tls1_3"))
        self.assertIn("alert protocol version", s_client(self.only13, "-tls1_2"))
        before = self.proxy_.stat(self.scope(self.only13) + "connection_error")
        s_client(self.only13, "-tls1_2")
        self.stat_is(self.proxy_, self.scope(self.only13) + "connection_error", before + 1)
        self.assertIn("Cipher is (NONE)", s_client(self.plain, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"))

    def test_plain_text_is_counted_and_closed(self):
        before = self.proxy_.stat(self.scope(self.plain) + "connection_error")
        with Client(self.plain) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            self.assertTrue(c.closed_by_peer())
        self.stat_is(self.proxy_, self.scope(self.plain) + "connection_error", before + 1)

    def test_certificate_by_name_and_algorithm(self):
        def shown(name, **kwargs):
            with TlsClient(self.many, client_context(**kwargs), name=name) as c:
                return openssl("x509", "-noout", "-subject", stdin=c.peer_pem().encode()).strip().rpartition("= ")[2]
        self.assertEqual(shown("a.test"), "a")
        self.assertEqual(shown("A.Test"), "a")
        self.assertEqual(shown("x.wild.test"), "a")
        self.assertEqual(shown("b.test"), "b")
        self.assertEqual(shown("rsa.test"), "rsa")
        self.assertIn("CN = rsa", s_client(self.many, "-servername", "a.test", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"))
        self.assertIn("CN = a", s_client(self.many, "-noservername"))

    def test_client_certificate(self):
        before = self.proxy_.stat(self.scope(self.mutual) + "handshake")
        self.assertEqual(self.ask_with(self.mutual, leaf=self.client).status, 200)
        self.assertEqual(self.ask_with(self.mutual, leaf=self.client, maximum=ssl.TLSVersion.TLSv1_2).status, 200)
        self.stat_is(self.proxy_, self.scope(self.mutual) + "handshake", before + 2)
        self.refused(self.mutual, None, "fail_verify_no_cert")
        self.refused(self.mutual, self.client2, "fail_verify_san")
        self.refused(self.mutual, self.foreign, "fail_verify_error")
        self.refused(self.mutual, self.expired, "fail_verify_error")
        self.refused(self.mutual, self.revoked, "fail_verify_error")

    def test_client_certificate_optional(self):
        before = self.proxy_.stat(self.scope(self.optional) + "no_certificate")
        self.assertEqual(self.ask_with(self.optional).status, 200)
        self.stat_is(self.proxy_, self.scope(self.optional) + "no_certificate", before + 1)
        self.assertEqual(self.ask_with(self.optional, leaf=self.client2).status, 200)
        self.refused(self.optional, self.foreign, "fail_verify_error")

    def test_pinned_certificate(self):
        self.assertEqual(self.ask_with(self.pinned, leaf=self.client).status, 200)
        self.refused(self.pinned, self.client2, "fail_verify_cert_hash")

    def test_spiffe_trust_domain(self):
        self.assertEqual(self.ask_with(self.spiffe, leaf=self.client).status, 200)
        self.refused(self.spiffe, self.foreign, "fail_verify_error")
        self.refused(self.spiffe, self.ca.leaf("nobody", "DNS:x.test"), "fail_verify_error")
        self.refused(self.spiffe, self.ca.leaf("elsewhere", "URI:spiffe://else.test/ns/a/sa/b"), "fail_verify_error")

    def test_resumption(self):
        reused = self.scope(self.mutual) + "session_reused"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            before = self.proxy_.stat(reused)
            context = client_context(self.ca, leaf=self.client, minimum=version, maximum=version)
            session = None
            for i in range(3):
                with TlsClient(self.mutual, context, session=session) as c:
                    self.assertEqual(c.ask("/x").status, 200)
                    self.assertEqual(c.socket.session_reused, i > 0, version)
                    session = c.socket.session
            self.stat_is(self.proxy_, reused, before + 2)

    def test_ocsp_staple(self):
        self.assertIn("OCSP Response Status: successful", s_client(self.stapled, "-status", "-servername", "b.test"))
        self.assertIn("OCSP response: no response sent", s_client(self.plain, "-status", "-servername", "a.test"))

    def test_close_notify_is_sent_and_understood(self):
        with TlsClient(self.plain, client_context(self.ca, alpn=["http/1.1"])) as c:
            c.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            data = b""
            while True:
                more = c.socket.recv(65536)  # raises on an end without close_notify
                if not more:
                    break
                data += more
            self.assertTrue(data.startswith(b"HTTP/1.1 200"))

    def test_truncated_request_is_no_request(self):
        before = self.origin.requests
        with TlsClient(self.plain, client_context(self.ca, alpn=["http/1.1"])) as c:
            c.send(b"POST /cut HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf")
            # The TCP connection ends, and TLS said nothing.
            raw = c.socket.detach()
            os.close(raw)
        wait_until("the connection is gone", lambda: self.proxy_.stat("listener.%s.downstream_cx_active" % self.plain.replace(":", "_")) == 0, 20)
        self.assertEqual(self.origin.requests, before)


class ReloadTest(Base):
    def test_reload_under_load(self):
        live = self.env.folder / "live"
        live.mkdir()
        first = self.ca.leaf("first", "DNS:a.test")
        second = self.ca.leaf("second", "DNS:a.test")

        def put(leaf):
            for source, name in ((leaf.key, "tls.key"), (leaf.chain, "tls.crt")):
                draft = live / ("." + name)
                shutil.copy(source, draft)
                os.replace(draft, live / name)

        put(first)
        at = self.at()
        proxy = self.proxy("reload", [listener("l", at, "origin", transport=downstream(
            [{"certificate_chain": file(live / "tls.crt"), "private_key": file(live / "tls.key")}]))])
        failures, count, seen, stop = [], [0], set(), threading.Event()

        def load():
            context = client_context(self.ca)
            while not stop.is_set():
                try:
                    with TlsClient(at, context) as c:
                        seen.add(c.socket.getpeercert()["serialNumber"])
                        if c.ask("/x").status != 200:
                            failures.append("status")
                    count[0] += 1
                except Exception as why:  # every failure counts
                    failures.append(repr(why))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for t in threads:
            t.start()
        self.addCleanup(lambda: (stop.set(), [t.join() for t in threads]))
        # A connection that is open stays, on the certificate that it began with.
        old = TlsClient(at, client_context(self.ca))
        self.addCleanup(old.close)
        self.assertEqual(old.ask("/x").status, 200)
        wait_until("there is traffic", lambda: count[0] > 20, 20)
        self.assertEqual(len(seen), 1)
        put(second)
        wait_until(lambda: "the second certificate is shown: %s %s" % (seen, proxy.child.text()), lambda: len(seen) == 2, 20)
        self.assertEqual(old.ask("/x").status, 200)
        # A broken file changes nothing but the log.
        (live / ".bad").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        os.replace(live / ".bad", live / "tls.crt")
        wait_until(lambda: "the broken file is reported:\n" + proxy.child.text(),
                   lambda: "can't be used" in proxy.child.text() and "tls.crt" in proxy.child.text(), 20)
        now = count[0]
        wait_until("traffic goes on", lambda: count[0] > now + 20, 20)
        put(first)
        wait_until("the log says that they were read again", lambda: proxy.child.text().count("read again") >= 2, 20)
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(seen), 2)

    def test_trust_ends_with_its_file(self):
        """A session of a client whose authority is gone is not resumed."""
        bundle = self.env.folder / "bundle.pem"
        shutil.copy(self.ca.certificate, bundle)
        leaf, client = self.ca.leaf("a", "DNS:a.test"), self.ca.leaf("client", "URI:spiffe://td/a")
        at = self.at()
        proxy = self.proxy("trust", [listener("l", at, "origin", transport=downstream(
            [leaf], {"validation_context": {"trusted_ca": file(bundle)}}, require_client_certificate=True))])
        context = client_context(self.ca, leaf=client)
        with TlsClient(at, context) as c:
            self.assertEqual(c.ask("/x").status, 200)
            session = c.socket.session
        draft = self.env.folder / ".bundle.pem"
        shutil.copy(self.other.certificate, draft)
        os.replace(draft, bundle)
        wait_until("the new trust is there", lambda: "read again" in proxy.child.text(), 20)
        with self.assertRaises((ssl.SSLError, OSError)):
            with TlsClient(at, context, session=session) as c:
                c.ask("/x")
        self.stat_is(proxy, "listener.%s.ssl.session_reused" % at.replace(":", "_"), 0)


class UpstreamTest(Base):
    @classmethod
    def prepare(cls):
        super().prepare()
        cls.server = cls.ca.leaf("server", "DNS:a.test,URI:spiffe://td.test/ns/one/sa/server")
        cls.client = cls.ca.leaf("client", "URI:spiffe://td.test/ns/one/sa/client")
        cls.tls_origin = TlsOrigin(cls.env.network.ip("0.1") + ":0", cls.server, cls.ca)
        cls.env.origins.append(cls.tls_origin)
        cls.paths = {}
        listeners, clusters = [], []

        def path(name, transport):
            cls.paths[name] = cls.env.network.address()
            listeners.append(listener(name, cls.paths[name], name))
            clusters.append(cluster(name, cls.tls_origin.address, transport=transport, circuit_breakers={"thresholds": [{"max_connections": 1}]}))

        ours = {"tls_certificates": [certificate(cls.client)]}
        path("good", upstream({**ours, **trust(cls.ca, ["spiffe://td.test/ns/one/sa/server"])}, sni="a.test"))
        path("san", upstream({**ours, **trust(cls.ca, ["spiffe://td.test/ns/one/sa/other"])}))
        path("stranger", upstream({**ours, **trust(cls.other)}))
        path("name", upstream({**ours, **trust(cls.ca)}, sni="b.test", auto_sni_san_validation=True))
        path("ownname", upstream({**ours, **trust(cls.ca)}, sni="a.test", auto_sni_san_validation=True))
        path("bare", upstream(trust(cls.ca)))
        path("blind", upstream(ours))
        admin = cls.env.network.address()
        cls.proxy_ = cls.env.start_proxy("client", bootstrap(admin, listeners, clusters), admin)

    def test_answers_of_a_trusted_server(self):
        answer = ask(self.paths["good"], "/up?size=500000")
        self.assertEqual((answer.status, len(answer.body)), (200, 500000))
        self.assertIn("a.test", self.tls_origin.names)
        self.assertEqual(self.proxy_.stat("cluster.good.ssl.handshake") >= 1, True)
        peer = self.tls_origin.seen[-1]["peer"]
        self.assertIn(("URI", "spiffe://td.test/ns/one/sa/client"), peer["subjectAltName"])

    def test_others_get_nothing(self):
        for name, counter in (("san", "fail_verify_san"), ("stranger", "fail_verify_error"), ("name", "fail_verify_san")):
            before = self.tls_origin.requests
            answer = ask(self.paths[name], "/x")
            self.assertEqual(answer.status, 503, name)
            self.assertEqual(self.proxy_.stat("cluster.%s.ssl.%s" % (name, counter)) >= 1, True, name)
            self.assertEqual(self.tls_origin.requests, before)
        self.assertEqual(ask(self.paths["bare"], "/x").status, 503)  # the server wants a certificate
        self.assertEqual(ask(self.paths["ownname"], "/x").status, 200)
        self.assertEqual(ask(self.paths["blind"], "/x").status, 200)

    def test_sessions_are_resumed(self):
        before = self.proxy_.stat("cluster.good.ssl.session_reused")
        for _ in range(3):  # the origin closes each connection
            ask(self.paths["good"], "/x?close")
        self.assertEqual(ask(self.paths["good"], "/x").status, 200)
        wait_until("a session was resumed", lambda: self.proxy_.stat("cluster.good.ssl.session_reused") > before, 20)

    def test_truncated_answer_is_not_complete(self):
        """The origin's body is cut off without close_notify where only the end of the stream ends it."""
        leaf = self.server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.chain, leaf.key)
        import socket
        server = socket.create_server((self.env.network.ip("0.2"), 0))
        self.addCleanup(server.close)
        at = "%s:%d" % server.getsockname()

        def serve():
            for orderly in (True, False):
                raw, _ = server.accept()
                tls = context.wrap_socket(raw, server_side=True)
                while b"\r\n\r\n" not in tls.recv(65536):
                    pass
                tls.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf of it")
                if orderly:
                    tls.unwrap()
                    tls.close()
                else:
                    os.close(tls.detach())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        entry = self.at()
        self.proxy("cut", [listener("l", entry, "o")], [cluster("o", at, transport=upstream(trust(self.ca)))])
        with Client(entry) as c:
            self.assertEqual(c.ask("/x").body, b"half of it")
        with self.assertRaises((harness.Closed, OSError)):
            with Client(entry) as c:
                c.ask("/x")


class MutualTest(Base):
    """Two proxies with mTLS between them, and Envoy on either side."""

    def sidecars(self, client_kind, server_kind, http2):
        """Returns the address where the client side listens, and both proxies."""
        name = "%s-%s-%s" % (client_kind, server_kind, "h2" if http2 else "h1")
        server = self.ca.leaf("server", "URI:spiffe://td.test/ns/one/sa/server")
        client = self.ca.leaf("client", "URI:spiffe://td.test/ns/one/sa/client")
        inner, entry = self.at(), self.at()
        start = {"weft": self.env.start_proxy, "envoy": self.env.start_envoy}
        alpn = {"alpn_protocols": ["h2"] if http2 else ["http/1.1"]}
        admin = self.at()
        b = start[server_kind](name + "-server", bootstrap(admin, [listener("in", inner, "origin", transport=downstream(
            [server], {**alpn, **trust(self.ca, ["spiffe://td.test/ns/one/sa/client"])}, require_client_certificate=True),
            manager={"forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": {"uri": True, "subject": True}})],
            [cluster("origin", self.origin.address)]), admin)
        admin = self.at()
        a = start[client_kind](name + "-client", bootstrap(admin, [listener("out", entry, "peer")], [cluster(
            "peer", inner, http2, upstream({**alpn, "tls_certificates": [certificate(client)],
                                            **trust(self.ca, ["spiffe://td.test/ns/one/sa/server"])}))]), admin)
        return entry, inner, a, b

    def check(self, client_kind, server_kind, http2):
        entry, inner, a, b = self.sidecars(client_kind, server_kind, http2)
        with Client(entry) as c:
            for _ in range(3):
                said = c.ask("/through", method="POST", body="hello").json()
                self.assertEqual(said["body"], "hello")
            fields = {k.lower(): v for k, v in said["headers"]}
            xfcc = fields["x-forwarded-client-cert"]
            self.assertIn("URI=spiffe://td.test/ns/one/sa/client", xfcc)
            self.assertIn("By=spiffe://td.test/ns/one/sa/server", xfcc)
            self.assertRegex(xfcc, "Hash=[0-9a-f]{64}")
            self.assertIn('Subject="CN=client,O=weft test"', xfcc)
            self.assertEqual(len(c.ask("/large?size=3000000").body), 3_000_000)
        self.assertGreaterEqual(a.stat("cluster.peer.ssl.handshake"), 1)
        self.assertGreaterEqual(b.stat("listener.%s.ssl.handshake" % inner.replace(":", "_")), 1)

    def test_weft_to_weft_http1(self):
        self.check("weft", "weft", False)

    def test_weft_to_weft_http2(self):
        self.check("weft", "weft", True)

    def test_weft_to_envoy_http1(self):
        self.check("weft", "envoy", False)

    def test_weft_to_envoy_http2(self):
        self.check("weft", "envoy", True)

    def test_envoy_to_weft_http1(self):
        self.check("envoy", "weft", False)

    def test_envoy_to_weft_http2(self):
        self.check("envoy", "weft", True)


class RefusalTest(Base):
    """What can't be done is refused by its name."""

    def refused(self, transport, *texts):
        path = self.env.write("refused.yaml", bootstrap(self.at(), [listener("l", self.at(), "origin", transport=transport)],
                                                        [cluster("origin", self.origin.address)]))
        done = subprocess.run([harness.program("weft-proxy"), "-c", path, "--mode", "validate"], capture_output=True, timeout=20)
        said = (done.stdout + done.stderr).decode()
        self.assertNotEqual(done.returncode, 0, said)
        for text in texts:
            self.assertIn(text, said)

    def test_messages(self):
        a, b = self.ca.leaf("a", "DNS:a.test"), self.ca.leaf("b", "DNS:b.test")
        common = "filter_chains[0].transport_socket.typed_config.common_tls_context"
        self.refused(downstream([]), common + ".tls_certificates: is empty")
        self.refused(downstream([{"certificate_chain": file(a.chain), "private_key": file(b.key)}]),
                     common + ".tls_certificates[0].private_key", "does not belong")
        self.refused(downstream([{"certificate_chain": file("/nowhere/x.pem"), "private_key": file(b.key)}]),
                     common + ".tls_certificates[0].certificate_chain.filename: cannot read /nowhere/x.pem")
        self.refused(downstream([a], {"tls_certificate_sds_secret_configs": [{"name": "x"}]}), "SDS")
        self.refused(downstream([a], {"tls_params": {"tls_minimum_protocol_version": "TLSv1_0"}}), "TLSv1_0 is not supported")
        self.refused(downstream([a], {"tls_params": {"cipher_suites": ["RC4"]}}), ".tls_params.cipher_suites")
        self.refused(downstream([a], require_client_certificate=True), "validation_context")
        self.refused(downstream([a], {"validation_context": {"match_typed_subject_alt_names": [
            {"san_type": "URI", "matcher": {"exact": "x"}}]}}), "trusted_ca: is missing")
        self.refused(upstream(), "UpstreamTlsContext is not supported here")


if __name__ == "__main__":
    harness.main()
