#!/usr/bin/env python3
"""h2spec, the conformance suite for HTTP/2 servers, against the real weft-proxy: all 145 cases, none skipped, on cleartext and
on TLS, in front of an origin whose answers are large enough for the cases about flow control."""

import re
import subprocess

import harness
import bootstraps
import http2
from pki import Authority

CASES = 145


class H2SpecTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        ca = Authority(cls.env.folder, "root")
        leaf = ca.leaf("server", "DNS:a.test")
        origin = cls.env.start_origin()
        cls.plain, cls.tls, admin = net.address(), net.address(), net.address()
        transport = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"alpn_protocols": ["h2"], "tls_certificates": [
                {"certificate_chain": {"filename": str(leaf.chain)}, "private_key": {"filename": str(leaf.key)}}]}}}
        manager = {"codec_type": "HTTP2"}
        cls.proxy = cls.env.start_proxy("proxy", bootstraps.bootstrap(admin, [
            bootstraps.listener("plain", cls.plain, "origin", manager),
            bootstraps.listener("tls", cls.tls, "origin", {}, transport)], [bootstraps.cluster("origin", origin.address)]), admin)

    def spec(self, at, *flags):
        ip, port = harness.split_address(at)
        done = subprocess.run([http2.peer("h2spec"), "-h", ip, "-p", str(port), "-P", "/?size=200000", "-o", "20", *flags],
                              capture_output=True, timeout=240)
        out = done.stdout.decode("utf-8", "replace")
        last = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", out)
        self.assertIsNotNone(last, out[-3000:] + done.stderr.decode("utf-8", "replace")[-1000:])
        print(last.group(0))
        failures = out[out.find("Failures:"):] if "Failures:" in out else ""
        self.assertEqual([int(n) for n in last.groups()], [CASES, CASES, 0, 0], failures[-6000:])

    def test_cleartext(self):
        self.spec(self.plain)

    def test_tls(self):
        self.spec(self.tls, "-t", "-k")


if __name__ == "__main__":
    harness.main()
