#!/usr/bin/env python3
"""Every protocol at once through one weft-proxy with two workers: HTTP/1 and HTTP/2 to both, TLS at both ends, TCP, tunnels, requests
that are given up, admin pages beside it. Every answer is checked, and that no sanitizer said anything.

WEFT_SOAK_SECONDS: how long (default 3). WEFT_SANITIZER: asan, ubsan or tsan, which the program must have been built with.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e")]

import harness  # noqa: E402
from bootstraps import address, bootstrap, cluster, listener  # noqa: E402
from harness import ask, wait_until  # noqa: E402
from pki import Authority  # noqa: E402

SECONDS = float(os.environ.get("WEFT_SOAK_SECONDS") or 3)
SANITIZER = os.environ.get("WEFT_SANITIZER", "")
MARKS = {"asan": b"__asan_init", "ubsan": b"__ubsan_handle", "tsan": b"__tsan_init"}
COMPLAINT = re.compile(r"Sanitizer|runtime error:|Assertion .* failed|terminate called")
SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


class SoakTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.origin = subprocess.Popen([sys.executable, str(HERE / "clients.py"), "origin", net.ip("0.1")], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        cls.env.cleanups.append(lambda: (cls.origin.communicate(), cls.origin.wait(10)))
        http, echo = cls.origin.stdout.readline().split()
        ca = Authority(cls.env.folder)
        leaf = ca.leaf("a.test", "DNS:a.test")
        cls.pems = [ca.certificate, leaf.chain, leaf.key]
        common = {"tls_certificates": [{"certificate_chain": {"filename": str(leaf.chain)}, "private_key": {"filename": str(leaf.key)}}],
                  "validation_context": {"trusted_ca": {"filename": str(ca.certificate)}}, "alpn_protocols": ["h2", "http/1.1"]}
        server = {"name": "tls", "typed_config": {"@type": SOCKETS + "DownstreamTlsContext", "require_client_certificate": True,
                                                  "common_tls_context": common}}
        client = {"name": "tls", "typed_config": {"@type": SOCKETS + "UpstreamTlsContext", "sni": "a.test", "common_tls_context": {
            **common, "alpn_protocols": ["h2"]}}}
        manager = {"upgrade_configs": [{"upgrade_type": "websocket"}],
                   "http2_protocol_options": {"allow_connect": True, "max_concurrent_streams": 100},
                   "access_log": [{"name": "f", "typed_config": {"@type": LOG, "path": str(cls.env.folder / "access.log")}}]}
        cls.at = {n: net.address() for n in ("plain", "relay", "inner", "secure", "inner_tls", "tcp")}
        cls.admin = net.address()
        # A connection that ends just when it is lent is not what this is about.
        route = {"timeout": "0s", "retry_policy": {"retry_on": "reset,connect-failure,refused-stream", "num_retries": 5}}

        def http_at(name, to, transport=None):
            return listener(name, cls.at[name], to, manager, transport, route)

        many = {"circuit_breakers": {"thresholds": [{k: 10000 for k in (
            "max_connections", "max_pending_requests", "max_requests", "max_retries")}]}}
        text = bootstrap(cls.admin, [
            http_at("plain", "origin"), http_at("inner", "origin"), http_at("relay", "inner"), http_at("secure", "inner_tls", server),
            http_at("inner_tls", "origin", server),
            {"name": "tcp", "address": address(cls.at["tcp"]), "filter_chains": [{"filters": [{"name": "tcp", "typed_config": {
                "@type": TCP, "stat_prefix": "tcp", "cluster": "echo"}}]}]}],
            [cluster("origin", http, **many), cluster("inner", cls.at["inner"], http2=True, **many), cluster("echo", echo, **many),
             cluster("inner_tls", cls.at["inner_tls"], http2=True, transport=client, **many)])
        cls.program = harness.program("weft-proxy").read_bytes()
        # The first complaint is enough, and ends in an exit code.
        os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        cls.proxy = cls.env.start_proxy("proxy", text, cls.admin, concurrency=2)

    def test_load(self):
        if SANITIZER:
            self.assertIn(MARKS[SANITIZER], self.program, "weft-proxy was not built with --config=" + SANITIZER)
        kinds = [("h1", "plain"), ("h1", "relay"), ("h2", "plain"), ("h2", "relay"), ("tls", "secure"), ("tcp", "tcp"),
                 ("upgrade", "plain"), ("upgrade", "relay")]
        begun, wrong = time.monotonic(), []
        running = [(kind, to, subprocess.Popen([sys.executable, str(HERE / "clients.py"), kind, self.at[to], str(SECONDS), *map(str, self.pems)],
                                               stdout=subprocess.PIPE, text=True)) for kind, to in kinds]
        pages = 0
        for kind, to, process in running:
            while process.poll() is None:
                self.assertTrue(self.proxy.child.alive(), self.said())
                for page in ("/stats", "/stats/prometheus", "/clusters", "/config_dump", "/listeners"):
                    self.assertEqual(ask(self.admin, page, timeout=60).status, 200, page)
                    pages += 1
                time.sleep(0.2)
        for kind, to, process in running:
            out, _ = process.communicate()
            self.assertEqual(process.returncode, 0, kind)
            done = json.loads(out)
            print("\n" * (kind == kinds[0][0] and to == kinds[0][1]) + "| %-8s %-8s %6d answers" % (kind, to, done["answers"]))
            wrong += ["%s at %s: %s" % (kind, to, w) for w in done["wrong"]]
            self.assertTrue(wrong or done["answers"] > 0, "%s at %s: no answer" % (kind, to))
        print("| %.0f s, %d admin pages, built with %s" % (time.monotonic() - begun, pages, SANITIZER or "no sanitizer"))
        self.assertEqual(wrong, [], self.said())
        wait_until("nothing is under way", lambda: self.proxy.stat("http.plain.downstream_rq_active") == 0 and
                   self.proxy.stat("cluster.origin.upstream_rq_active") == 0, 60)
        self.assertEqual(self.proxy.child.end(60), 0, self.said())
        self.assertFalse(COMPLAINT.search(self.proxy.child.text()), self.said())

    def said(self):
        """What a sanitizer said, else the end of the log."""
        lines = self.proxy.child.text().splitlines()
        for i, line in enumerate(lines):
            if COMPLAINT.search(line):
                return "\n".join(lines[i:i + 150])
        return "\n".join(lines[-30:])


if __name__ == "__main__":
    harness.main()
