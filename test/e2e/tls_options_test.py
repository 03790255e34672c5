#!/usr/bin/env python3
"""TLS options one by one, against the real weft-proxy: ticket keys and their rotation, OCSP staples by policy, compliance policies,
require_sni, pins by hash and key, revocation lists that change. The peers are Python's ssl (OpenSSL) and the openssl program."""

import base64
import hashlib
import os
import shutil
import ssl
import subprocess

import harness
from bootstraps import bootstrap, cluster, listener
from harness import ask, wait_until
from pki import TlsClient, TlsOrigin, client_context, openssl
from tls_test import Base, certificate, downstream, file, s_client, trust, upstream

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def scope(at):
    return "listener.%s.ssl." % at.replace(":", "_")


def replace(path, data):
    draft = path.with_name("." + path.name)
    draft.write_bytes(data)
    os.replace(draft, path)


def spki(leaf):
    """The pin of a certificate's key, as verify_certificate_spki wants it."""
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], capture_output=True, check=True, timeout=20,
                         input=openssl("x509", "-in", leaf.chain, "-noout", "-pubkey").encode()).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def fingerprint(leaf):
    return openssl("x509", "-in", leaf.chain, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]


class TicketKeysTest(Base):
    def start(self, name, keys=(), **more):
        at = self.at()
        if keys:
            more["session_ticket_keys"] = {"keys": [file(k) for k in keys]}
        proxy = self.proxy(name, [listener("l", at, "origin", transport=downstream(
            [self.leaf], disable_stateful_session_resumption=True, **more))])
        return at, proxy

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.leaf = cls.ca.leaf("a", "DNS:a.test")

    def session(self, at, context, session=None):
        """One request; whether the session was resumed, and the session to go on with."""
        with TlsClient(at, context, session=session) as c:
            answer = c.ask("/x")
            self.assertEqual(answer.status, 200, answer)
            return c.socket.session_reused, c.socket.session

    def contexts(self):
        return [client_context(self.ca, minimum=v, maximum=v) for v in (V12, V13)]

    def test_two_proxies_of_the_same_keys(self):
        """What a fleet behind one address needs: a ticket of one opens at the other, and not at one of other keys."""
        keys = [self.env.folder / n for n in ("shared.key", "other.key")]
        for k in keys:
            k.write_bytes(os.urandom(80))
        first, _ = self.start("first", keys[:1])
        second, proxy = self.start("second", keys[:1])
        third, other = self.start("third", keys[1:])
        for context in self.contexts():
            reused, session = self.session(first, context)
            self.assertFalse(reused)
            self.assertTrue(self.session(second, context, session)[0])
            reused, session = self.session(first, context)
            self.assertFalse(self.session(third, context, session)[0])
        self.stat_is(proxy, scope(second) + "session_reused", 2)
        self.stat_is(other, scope(third) + "session_reused", 0)

    def test_rotation(self):
        """A new key seals, the old one still opens; once it is gone its tickets mean a full handshake, never a failed one."""
        current, previous = self.env.folder / "current.key", self.env.folder / "previous.key"
        old, new, last = (os.urandom(80) for _ in range(3))
        current.write_bytes(old)
        previous.write_bytes(os.urandom(80))
        at, proxy = self.start("rotate", [current, previous])

        def rotated(times):
            wait_until("the keys were read again", lambda: proxy.child.text().count("read again") >= times, 20)

        held = [(c, self.session(at, c)[1]) for c in self.contexts()]
        replace(previous, old)
        rotated(1)
        replace(current, new)
        rotated(2)
        renewed = []
        for context, session in held:
            reused, next_session = self.session(at, context, session)
            self.assertTrue(reused, context.maximum_version)
            renewed.append((context, next_session))
        replace(previous, new)
        rotated(3)
        replace(current, last)
        rotated(4)
        for context, session in held:  # sealed by a key that nobody has any more
            self.assertFalse(self.session(at, context, session)[0])
        for context, session in renewed:  # was renewed under the new key when it was used
            self.assertTrue(self.session(at, context, session)[0], context.maximum_version)
        # A broken file changes nothing.
        replace(current, b"short")
        wait_until(lambda: "it is reported:\n" + proxy.child.text(), lambda: "expected 80" in proxy.child.text(), 20)
        for context in self.contexts():
            _, session = self.session(at, context)
            self.assertTrue(self.session(at, context, session)[0])

    def test_without_tickets(self):
        at, proxy = self.start("none", disable_stateless_session_resumption=True)
        for context in self.contexts():
            _, session = self.session(at, context)
            if session is not None:
                self.assertFalse(self.session(at, context, session)[0])
        self.assertEqual(proxy.stat(scope(at) + "session_reused"), 0)


class StapleTest(Base):
    @classmethod
    def prepare(cls):
        super().prepare()
        ca, net = cls.ca, cls.env.network
        cls.good, cls.must = ca.leaf("good", "DNS:a.test"), ca.leaf("must", "DNS:a.test", more="tlsfeature=status_request\n")
        cls.staple, stale = file(ca.ocsp(cls.good)), file(ca.ocsp(cls.good, expired=True))
        cls.live = cls.env.folder / "live.ocsp"
        shutil.copy(ca.ocsp(cls.good), cls.live)
        cls.ats, listeners = {}, []
        for name, leaf, policy in (
                ("lenient-stale", certificate(cls.good, ocsp_staple=stale), "LENIENT_STAPLING"),
                ("strict-fresh", certificate(cls.good, ocsp_staple=cls.staple), "STRICT_STAPLING"),
                ("strict-stale", certificate(cls.good, ocsp_staple=stale), "STRICT_STAPLING"),
                ("strict-none", certificate(cls.good), "STRICT_STAPLING"),
                ("strict-must-none", certificate(cls.must), "STRICT_STAPLING"),
                ("lenient-must-none", certificate(cls.must), "LENIENT_STAPLING"),
                ("must-fresh", certificate(cls.good, ocsp_staple=cls.staple), "MUST_STAPLE"),
                ("must-stale", certificate(cls.good, ocsp_staple=stale), "MUST_STAPLE"),
                ("live", certificate(cls.good, ocsp_staple=file(cls.live)), "MUST_STAPLE")):
            cls.ats[name] = net.address()
            listeners.append(listener(name, cls.ats[name], "origin", transport=downstream([leaf], ocsp_staple_policy=policy)))
        admin = net.address()
        cls.proxy_ = cls.env.start_proxy("staples", bootstrap(admin, listeners, [cluster("origin", cls.origin.address)]), admin)

    def said(self, name, *more):
        return s_client(self.ats[name], "-status", "-servername", "a.test", "-CAfile", self.ca.certificate, *more)

    STAPLED, NONE, REFUSED = "OCSP Response Status: successful", "OCSP response: no response sent", "Cipher is (NONE)"

    def test_policies(self):
        for name, text in (("lenient-stale", self.NONE), ("strict-fresh", self.STAPLED), ("strict-stale", self.REFUSED),
                           ("strict-none", self.NONE), ("strict-must-none", self.REFUSED), ("lenient-must-none", self.NONE),
                           ("must-fresh", self.STAPLED), ("must-stale", self.REFUSED)):
            for version in ("-tls1_2", "-tls1_3"):
                said = self.said(name, version)
                self.assertIn(text, said, name + version)
                if text != self.REFUSED:
                    self.assertIn("Verify return code: 0 (ok)", said, name)
        for name in ("strict-stale", "must-stale", "strict-must-none"):
            self.stat_is(self.proxy_, scope(self.ats[name]) + "connection_error", 2)

    def test_a_client_that_does_not_ask(self):
        for name in ("strict-fresh", "must-fresh", "lenient-stale"):
            with TlsClient(self.ats[name], client_context(self.ca)) as c:
                self.assertEqual(c.ask("/x").status, 200)

    def test_a_staple_that_goes_stale_and_comes_back(self):
        self.assertIn(self.STAPLED, self.said("live"))
        fresh = self.live.read_bytes()
        replace(self.live, self.ca.ocsp(self.good, expired=True).read_bytes())
        wait_until("the stale one is taken", lambda: self.REFUSED in self.said("live"), 20)
        replace(self.live, fresh)
        wait_until("the fresh one is taken", lambda: self.STAPLED in self.said("live"), 20)

    def test_refused_configurations(self):
        def refused(transport, text):
            path = self.env.write("refused.yaml", bootstrap(self.at(), [listener("l", self.at(), "origin", transport=transport)],
                                                            [cluster("origin", self.origin.address)]))
            done = subprocess.run([harness.program("weft-proxy"), "-c", path, "--mode", "validate"], capture_output=True, timeout=20)
            said = (done.stdout + done.stderr).decode()
            self.assertNotEqual(done.returncode, 0, said)
            self.assertIn(text, said)

        refused(downstream([certificate(self.good)], ocsp_staple_policy="MUST_STAPLE"), "ocsp_staple_policy is MUST_STAPLE")
        refused(downstream([certificate(self.must, ocsp_staple=self.staple)]), "ocsp_staple")  # about another certificate
        refused(downstream([certificate(self.good)], session_ticket_keys={"keys": [{"inline_string": "short"}]}),
                "session_ticket_keys.keys[0]: has 5 bytes: expected 80")


class ParametersTest(Base):
    @classmethod
    def prepare(cls):
        super().prepare()
        ca, net = cls.ca, cls.env.network
        cls.leaf, cls.other_leaf = ca.leaf("a", "DNS:a.test"), ca.leaf("b", "DNS:b.test")
        cls.fips, cls.named, cls.scan, cls.pinned, cls.both = (net.address() for _ in range(5))
        cls.one, cls.two, cls.three = (ca.leaf(n, "URI:spiffe://td.test/" + n) for n in ("one", "two", "three"))
        admin = net.address()
        cls.proxy_ = cls.env.start_proxy("parameters", bootstrap(admin, [
            listener("fips", cls.fips, "origin", transport=downstream([cls.leaf], {"tls_params": {"compliance_policies": ["FIPS_202205"]}})),
            listener("named", cls.named, "origin", transport=downstream([cls.leaf, cls.other_leaf], require_sni=True)),
            listener("scan", cls.scan, "origin", transport=downstream([cls.leaf, cls.other_leaf], full_scan_certs_on_sni_mismatch=True)),
            listener("pinned", cls.pinned, "origin", transport=downstream(
                [cls.leaf], {"validation_context": {"verify_certificate_spki": [spki(cls.one)]}}, require_client_certificate=True)),
            listener("both", cls.both, "origin", transport=downstream([cls.leaf], {"validation_context": {
                "trusted_ca": file(ca.certificate), "verify_certificate_spki": [spki(cls.one)],
                "verify_certificate_hash": [fingerprint(cls.two)]}}, require_client_certificate=True)),
        ], [cluster("origin", cls.origin.address)]), admin)

    def answer(self, at, leaf=None, name="a.test"):
        with TlsClient(at, client_context(None, leaf=leaf), name=name) as c:
            return c.ask("/x").status

    def refused(self, at, counter, **kwargs):
        before = self.proxy_.stat(scope(at) + counter)
        with self.assertRaises((ssl.SSLError, OSError)):
            self.answer(at, **kwargs)
        self.stat_is(self.proxy_, scope(at) + counter, before + 1)

    def test_compliance_policy(self):
        """FIPS_202205: curves of NIST and AES only, whatever the defaults are."""
        for argv in (("-groups", "P-256"), ("-groups", "P-384"), ("-groups", "P-256", "-tls1_2"),
                     ("-groups", "P-256", "-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384")):
            self.assertNotIn("Cipher is (NONE)", s_client(self.fips, *argv), argv)
        for argv in (("-groups", "X25519"), ("-groups", "P-256", "-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
                     ("-groups", "P-256", "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")):
            self.assertIn("Cipher is (NONE)", s_client(self.fips, *argv), argv)
            self.assertNotIn("Cipher is (NONE)", s_client(self.named, "-servername", "a.test", *argv), argv)

    def test_require_sni(self):
        self.assertEqual(self.answer(self.named), 200)
        self.assertEqual(self.answer(self.named, name="nobody.test"), 200)
        for version in ("-tls1_2", "-tls1_3"):
            before = self.proxy_.stat(scope(self.named) + "connection_error")
            self.assertIn("Cipher is (NONE)", s_client(self.named, "-noservername", version))
            self.stat_is(self.proxy_, scope(self.named) + "connection_error", before + 1)

    def test_a_name_that_no_certificate_has(self):
        for name, shown in (("b.test", "CN = b"), ("nobody.test", "CN = a")):
            self.assertIn(shown, s_client(self.scan, "-servername", name))

    def test_pinned_key(self):
        self.assertEqual(self.answer(self.pinned, leaf=self.one), 200)
        self.refused(self.pinned, "fail_verify_cert_hash", leaf=self.two)
        self.refused(self.pinned, "fail_verify_no_cert")

    def test_either_pin_and_the_authority(self):
        """One of all pins is enough, and a pin does not replace the authority."""
        self.assertEqual(self.answer(self.both, leaf=self.one), 200)
        self.assertEqual(self.answer(self.both, leaf=self.two), 200)
        self.refused(self.both, "fail_verify_cert_hash", leaf=self.three)
        self.refused(self.both, "fail_verify_error", leaf=self.other.leaf("stranger", "URI:spiffe://td.test/one"))


class UpstreamPinTest(Base):
    def test_pins_of_servers(self):
        server, another = self.ca.leaf("server", "DNS:a.test"), self.ca.leaf("another", "DNS:a.test")
        origin = TlsOrigin(self.env.network.ip("0.1") + ":0", server)
        self.env.origins.append(origin)
        paths, listeners, clusters = {}, [], []
        for name, context in (("spki", {"verify_certificate_spki": [spki(server)]}),
                              ("spki-wrong", {"verify_certificate_spki": [spki(another)]}),
                              ("hash", {"verify_certificate_hash": [fingerprint(another), fingerprint(server)]}),
                              ("hash-wrong", {"verify_certificate_hash": [fingerprint(another)]})):
            paths[name] = self.at()
            listeners.append(listener(name, paths[name], name))
            clusters.append(cluster(name, origin.address, transport=upstream({"validation_context": {
                "trusted_ca": file(self.ca.certificate), **context}}, sni="a.test")))
        proxy = self.proxy("pins", listeners, clusters)
        for name in ("spki", "hash"):
            self.assertEqual(ask(paths[name], "/x").status, 200, name)
        for name in ("spki-wrong", "hash-wrong"):
            before = origin.requests
            self.assertEqual(ask(paths[name], "/x").status, 503, name)
            self.assertGreaterEqual(proxy.stat("cluster.%s.ssl.fail_verify_cert_hash" % name), 1)
            self.assertEqual(origin.requests, before)


class RequestedNameTest(Base):
    """auto_sni with auto_san_validation: the certificate must be for the host of the request, whatever else is configured."""

    OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

    def options(self, **more):
        return {self.OPTIONS: {"@type": "type.googleapis.com/" + self.OPTIONS, "explicit_http_config": {"http_protocol_options": {}},
                               "upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": True, **more}}}

    def test_names(self):
        origin = TlsOrigin(self.env.network.ip("0.1") + ":0", self.ca.leaf("server", "DNS:a.test,DNS:*.wild.test"))
        self.env.origins.append(origin)
        transport = upstream({"validation_context": {"trusted_ca": file(self.ca.certificate)}}, sni="a.test")
        at, by_field = self.at(), self.at()
        proxy = self.proxy("names", [listener("l", at, "o"), listener("f", by_field, "f")], [
            cluster("o", origin.address, transport=transport, typed_extension_protocol_options=self.options()),
            cluster("f", origin.address, transport=transport,
                    typed_extension_protocol_options=self.options(override_auto_sni_header="x-name"))])
        for host in ("a.test", "A.test", "a.test:8443", "x.wild.test"):
            for path in ("/x?close", "/x", "/x"):  # the first one on a connection that is closed then, the second resumes
                status = ask(at, path, host=host).status
                self.assertEqual(status, 503 if "close" in path else 200, host)
        self.assertGreaterEqual(proxy.stat("cluster.o.ssl.session_reused"), 1)
        served = origin.requests
        for i, host in enumerate(("b.test", "x.y.wild.test", "127.0.0.1", "[::1]:80"), 1):
            self.assertEqual(ask(at, "/x", host=host).status, 503, host)
            self.stat_is(proxy, "cluster.o.ssl.fail_verify_san", i)
        self.assertEqual(ask(by_field, "/x", host="b.test", headers={"x-name": "b.test"}).status, 503)
        self.assertEqual(origin.requests, served)
        self.assertEqual(ask(by_field, "/x", host="b.test", headers={"x-name": "a.test"}).status, 200)

    def test_refused_configurations(self):
        def refused(text, transport, **more):
            made = cluster("o", self.origin.address, transport=transport, typed_extension_protocol_options=self.options(**more))
            path = self.env.write("refused.yaml", bootstrap(self.at(), [listener("l", self.at(), "o")], [made]))
            done = subprocess.run([harness.program("weft-proxy"), "-c", path, "--mode", "validate"], capture_output=True, timeout=20)
            said = (done.stdout + done.stderr).decode()
            self.assertNotEqual(done.returncode, 0, said)
            self.assertIn(text, said)

        refused("auto_san_validation: needs a transport_socket with TLS", None)
        refused("validation_context: needs trusted_ca: auto_san_validation", upstream())
        refused("auto_san_validation: needs auto_sni", upstream({"validation_context": {"trusted_ca": file(self.ca.certificate)}}),
                auto_sni=False)


class RevocationTest(Base):
    def test_a_list_that_changes(self):
        """A client that is revoked while the proxy runs gets in no more, by resumption neither; the others do."""
        leaf = self.ca.leaf("a", "DNS:a.test")
        stays, goes = (self.ca.leaf(n, "URI:spiffe://td.test/" + n) for n in ("stays", "goes"))
        live = self.env.folder / "live.crl"
        shutil.copy(self.ca.crl(), live)
        at = self.at()
        proxy = self.proxy("crl", [listener("l", at, "origin", transport=downstream(
            [leaf], trust(self.ca, crl=file(live)), require_client_certificate=True))])
        contexts = {n: client_context(self.ca, leaf=l) for n, l in (("stays", stays), ("goes", goes))}
        sessions = {}
        for name, context in contexts.items():
            with TlsClient(at, context) as c:
                self.assertEqual(c.ask("/x").status, 200)
                sessions[name] = c.socket.session
        replace(live, self.ca.crl([goes]).read_bytes())
        wait_until("the list was read again", lambda: "read again" in proxy.child.text(), 20)
        before = proxy.stat(scope(at) + "fail_verify_error")
        for session in (None, sessions["goes"]):
            with self.assertRaises((ssl.SSLError, OSError)):
                with TlsClient(at, contexts["goes"], session=session) as c:
                    c.ask("/x")
        self.stat_is(proxy, scope(at) + "fail_verify_error", before + 2)
        with TlsClient(at, contexts["stays"]) as c:
            self.assertEqual(c.ask("/x").status, 200)
        # A list of somebody else vouches for nobody.
        replace(live, self.other.crl().read_bytes())
        wait_until("it was read again", lambda: proxy.child.text().count("read again") >= 2, 20)
        with self.assertRaises((ssl.SSLError, OSError)):
            with TlsClient(at, contexts["stays"]) as c:
                c.ask("/x")


if __name__ == "__main__":
    harness.main()
