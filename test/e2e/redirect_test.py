#!/usr/bin/env python3
"""Redirected connections, in a network namespace of this test: nftables sends them to the proxy, as a sidecar's rules do, and
the proxy finds out where they were going."""

import os
import shutil
import socket
import subprocess
import sys
import unittest

INSIDE = "WEFT_TEST_IN_NAMESPACE"


def enter():
    """Runs this program again in a namespace of its own; also without being root."""
    for tool, package in (("unshare", "util-linux"), ("nft", "nftables"), ("ip", "iproute2")):
        if not (shutil.which(tool) or os.path.exists("/usr/sbin/" + tool)):
            sys.exit("this test needs %s of package %s: run `tools/setup --peers`" % (tool, package))
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    # Root may make a network namespace as it is, and in a chroot only so; others need a user namespace around it.
    refusals = []
    for unshare in (["unshare", "-n"], ["unshare", "-rn"]):
        tried = subprocess.run(unshare + ["true"], capture_output=True, text=True)
        if tried.returncode == 0:
            os.environ[INSIDE] = "yes"
            os.execvp(unshare[0], unshare + [sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
        refusals.append("%s: %s" % (" ".join(unshare), tried.stderr.strip()))
    os.environ[INSIDE] = "; ".join(refusals)


if __name__ == "__main__" and INSIDE not in os.environ:
    enter()

import harness  # noqa: starts nothing before the namespace
from harness import Trouble
from tcp_test import LOG, Peer, bootstrap, cluster, dial, ended, listener, listener_filter, named, read_until, tcp_chain  # noqa

RULES = """
table ip nat {
  chain output { type nat hook output priority -100; ip daddr 10.9.0.0/16 tcp dport 8000-9000 redirect to :15001; }
}
table ip6 nat {
  chain output { type nat hook output priority -100; ip6 daddr fd09::/16 tcp dport 8000-9000 redirect to :15001; }
}
"""


class RedirectTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        if os.environ[INSIDE] != "yes":
            raise unittest.SkipTest("this machine allows no network namespace: " + os.environ[INSIDE])
        for command in ("link set lo up", "addr add 10.8.0.1/32 dev lo", "route add 10.9.0.0/16 dev lo src 10.8.0.1",
                        "-6 addr add fd08::1/128 dev lo nodad", "-6 route add fd09::/16 dev lo src fd08::1"):
            code, text = harness.run(["ip"] + command.split())
            if code != 0:
                raise Trouble("ip %s: %s" % (command, text))
        subprocess.run(["nft", "-f", "-"], input=RULES.encode(), check=True, timeout=20)

    def setUp(self):
        self.admin = self.env.network.address()
        self.peers = {n: Peer(self.env, named(n)) for n in ("a", "b", "rest", "virtual")}
        self.clusters = [cluster(n, [p.address]) for n, p in self.peers.items()]

    def hears(self, to):
        with socket.create_connection(to, 20) as c:
            return read_until(c, b"\n").decode().strip()

    def test_original_destination_chooses_the_chain(self):
        log = self.env.folder / "redirect.log"
        access = [{"name": "f", "typed_config": {"@type": LOG, "path": str(log), "log_format": {"text_format_source": {
            "inline_string": "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_CLUSTER%\n"}}}}]

        def prefix(ip, bits):
            return [{"address_prefix": ip, "prefix_len": bits}]
        chains = [tcp_chain("a", {"prefix_ranges": prefix("10.9.1.0", 24)}, "a", access_log=access),
                  tcp_chain("b", {"prefix_ranges": prefix("10.9.1.7", 32) + prefix("fd09:1::", 32)}, "b", access_log=access),
                  tcp_chain("rest", {"destination_port": 8500}, "rest", access_log=access)]
        proxy = self.env.start_proxy("original", bootstrap(self.admin, [
            listener("four", "0.0.0.0:15001", chains, [listener_filter("original_dst")], stat_prefix="four"),
            listener("six", "::1:15001", chains, [listener_filter("original_dst")])], self.clusters), self.admin)
        self.assertEqual(self.hears(("10.9.1.5", 8080)), "a")
        self.assertEqual(self.hears(("10.9.1.7", 8080)), "b")
        self.assertEqual(self.hears(("10.9.2.5", 8500)), "rest")
        self.assertEqual(self.hears(("fd09:1::5", 8080)), "b")
        with socket.create_connection(("10.9.2.5", 8080), 20) as c:
            self.assertTrue(ended(c))
        self.assertEqual(proxy.stat("listener.four.no_filter_chain_match"), 1)
        # One that was not redirected keeps its address: no chain names it.
        with dial("127.0.0.1:15001") as c:
            self.assertTrue(ended(c))
        harness.wait_until("the log", lambda: log.exists() and log.read_text().count("\n") == 4, 20)
        lines = log.read_text().splitlines()
        for want in ("10.9.1.5:8080 a", "10.9.1.7:8080 b", "10.9.2.5:8500 rest", "[fd09:1::5]:8080 b"):
            self.assertIn(want, lines)
        proxy.child.end()

    def test_use_original_dst_goes_on_to_the_listener_of_the_address(self):
        proxy = self.env.start_proxy("virtual", bootstrap(self.admin, [
            listener("virtual", "0.0.0.0:15001", [tcp_chain("virtual")], use_original_dst=True),
            listener("a", "10.9.1.5:8080", [tcp_chain("a")], bind_to_port=False, stat_prefix="a"),
            listener("b", "10.9.1.6:8080", [tcp_chain("b", {"transport_protocol": "raw_buffer"}), tcp_chain("a", {"server_names": ["x"]})],
                     [listener_filter("tls_inspector")], bind_to_port=False, listener_filters_timeout="0.2s",
                     continue_on_listener_filters_timeout=True),
            listener("rest", "0.0.0.0:8500", [tcp_chain("rest")], bind_to_port=False)], self.clusters), self.admin)
        self.assertEqual(self.hears(("10.9.1.5", 8080)), "a")
        self.assertEqual(self.hears(("10.9.1.6", 8080)), "b")  # through that listener's own filters
        self.assertEqual(self.hears(("10.9.9.9", 8500)), "rest")
        self.assertEqual(self.hears(("10.9.9.9", 8080)), "virtual")
        self.assertEqual(proxy.stat("listener.a.downstream_cx_total"), 1)
        proxy.child.end()


if __name__ == "__main__":
    harness.main()
