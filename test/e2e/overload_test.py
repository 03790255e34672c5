#!/usr/bin/env python3
"""The overload manager: limits from the bootstrap are seen by clients, in counters and in the log."""

import harness
from bootstraps import bootstrap, cluster, listener
from harness import Client, Closed, wait_until

HEAP = "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
CONNECTIONS = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


class OverloadTest(harness.TestCase):
    def start(self, manager, flags=(), concurrency=1):
        net = self.env.network
        at, admin = net.address(), net.address()
        origin = self.env.start_origin()
        text = bootstrap(admin, [listener("in", at, "origin")], [cluster("origin", origin.address)], overload_manager=manager)
        return at, self.env.start_proxy("proxy", text, admin, flags=flags, concurrency=concurrency)

    def test_the_connection_limit_is_exact_over_workers(self):
        at, proxy = self.start({"resource_monitors": [
            {"name": "envoy.resource_monitors.global_downstream_max_connections",
             "typed_config": {"@type": CONNECTIONS, "max_active_downstream_connections": 5}}]}, concurrency=4)
        kept = [Client(at, 20) for _ in range(5)]
        for c in kept:
            self.assertEqual(c.ask("/").status, 200)
        for _ in range(20):
            other = Client(at, 20)
            with self.assertRaises(OSError):
                other.ask("/")
            other.close()
        for c in kept:
            self.assertEqual(c.ask("/").status, 200)
        kept.pop().close()

        def served():
            try:
                with Client(at, 5) as c:
                    return c.ask("/").status == 200
            except (OSError, Closed):
                return False

        wait_until("there is room for one again", served, 20)

    def test_without_memory_requests_are_refused_and_then_served_again(self):
        """5 MB of heap at most: bodies that nobody reads fill them, the largest streams go, and it recovers."""
        at, proxy = self.start({
            "refresh_interval": "0.05s",
            "resource_monitors": [{"name": "heap", "typed_config": {"@type": HEAP, "max_heap_size_bytes": 5000000}}],
            "actions": [
                {"name": "envoy.overload_actions.stop_accepting_requests",
                 "triggers": [{"name": "heap", "threshold": {"value": 0.8}}]},
                {"name": "envoy.overload_actions.disable_http_keepalive",
                 "triggers": [{"name": "heap", "scaled": {"scaling_threshold": 0.6, "saturation_threshold": 0.8}}]}]})
        self.assertEqual(Client(at, 20).ask("/").status, 200)
        stuck = []
        while proxy.stat("overload.envoy.overload_actions.stop_accepting_requests.active") == 0:
            self.assertLess(len(stuck), 400, "the heap never filled: pressure %d" % proxy.stat("overload.heap.pressure"))
            c = Client(at, 20)
            c.send(b"GET /?size=8000000 HTTP/1.1\r\nhost: x\r\n\r\n")
            stuck.append(c)
        refused = Client(at, 20).ask("/")
        self.assertEqual((refused.status, refused.text()), (503, "overloaded"))
        self.assertEqual(refused.header("connection"), "close")
        self.assertGreater(proxy.stat("http.in.downstream_rq_overload_close"), 0)
        self.assertIn("envoy.overload_actions.stop_accepting_requests is on", proxy.child.text())
        for c in stuck:
            c.close()
        wait_until("requests are served again", lambda: Client(at, 5).ask("/").status == 200, 20)
        wait_until("the log says so",
                   lambda: "envoy.overload_actions.stop_accepting_requests is off" in proxy.child.text(), 20)

    def test_mistakes_are_named(self):
        path = self.env.write("bad.yaml", "overload_manager: {actions: [{name: envoy.overload_actions.nope}]}\n")
        code, text = harness.run([harness.program("weft-proxy"), "-c", path, "--mode", "validate"])
        self.assertNotEqual(code, 0)
        self.assertIn("overload_manager.actions[0].name", text)
        self.assertIn("envoy.overload_actions.stop_accepting_requests", text)


if __name__ == "__main__":
    harness.main()
