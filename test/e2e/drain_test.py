#!/usr/bin/env python3
"""A proxy that is told to end loses nothing: 50 restarts behind another one under load, and what its clients see."""

import signal
import time

import harness
from bootstraps import bootstrap, cluster, listener
from harness import Client, ask, wait_until


class DrainTest(harness.TestCase):
    def start(self, name, to, at, admin, route=None, flags=()):
        # Half of all requests meet the instance that is away: three retries at a time, the default, are too few for them.
        text = bootstrap(admin, [listener("in", at, name, route=route)],
                         [cluster(name, to, circuit_breakers={"thresholds": [{"max_retries": 100}]})])
        return self.env.start_proxy(name, text, admin, flags=flags)

    def test_fifty_restarts_behind_another_instance(self):
        """Two instances behind a front; one of them is always there. No request is lost, slow ones included."""
        origin = self.env.start_origin()
        net = self.env.network
        ports = [net.address() for _ in range(6)]
        flags = ("--drain-accept-ms", "60", "--drain-time-s", "10")
        instances = [self.start("one", [origin.address], ports[0], ports[1], flags=flags),
                     self.start("two", [origin.address], ports[2], ports[3], flags=flags)]
        # The method says that requests are idempotent; a front retries what never got through.
        front = self.start("front", [ports[0], ports[2]], ports[4], ports[5],
                           route={"retry_policy": {"retry_on": "connect-failure,reset-before-request", "num_retries": 3}})
        quick = self.env.start_load(ports[4], "/quick", connections=4, rate=200)
        slow = self.env.start_load(ports[4], "/slow?delay=0.15", connections=4, rate=20)
        begun = time.monotonic()
        for i in range(50):
            which = i % 2
            old = instances[which]
            old.child.expected_to_end = True
            old.child.process.send_signal(signal.SIGTERM)
            code = old.child.process.wait(20)
            self.assertEqual(code, 0, old.child.text())
            instances[which] = self.start(("one", "two")[which], [origin.address], ports[which * 2], ports[which * 2 + 1],
                                          flags=flags)
        took = time.monotonic() - begun
        quick.stop()
        slow.stop()
        print("50 restarts in %.1f s; quick: %s; slow: %s; retries of the front: %d" % (
            took, quick, slow, front.stat("cluster.front.upstream_rq_retry")))
        self.assertGreater(quick.sent, 100)
        self.assertGreater(slow.sent, 20)
        self.assertEqual(quick.failed, 0, str(quick))
        self.assertEqual(slow.failed, 0, str(slow))

    def test_what_clients_of_a_draining_proxy_see(self):
        origin = self.env.start_origin()
        at, admin = self.env.network.address(), self.env.network.address()
        proxy = self.start("proxy", [origin.address], at, admin, flags=("--drain-accept-ms", "1500", "--drain-time-s", "30"))
        kept, waiting = Client(at, 30), Client(at, 30)
        self.assertEqual(kept.ask("/").status, 200)
        waiting.send(b"GET /?delay=3 HTTP/1.1\r\nhost: x\r\n\r\n")
        wait_until("the slow request is under way", lambda: proxy.stat("cluster.proxy.upstream_rq_active") == 1)
        proxy.child.expected_to_end = True
        proxy.child.process.send_signal(signal.SIGTERM)
        wait_until("it says that it drains", lambda: ask(admin, "/ready").status == 503)
        # Known clients and new ones are served once more, and told to go.
        answer = kept.ask("/")
        self.assertEqual((answer.status, answer.header("connection")), (200, "close"))
        answer = Client(at, 30).ask("/")
        self.assertEqual((answer.status, answer.header("connection")), (200, "close"))

        def refused():
            try:
                Client(at, 5).close()
                return False
            except ConnectionRefusedError:
                return True

        wait_until("nobody is accepted any more", refused, 20)
        answer = waiting.read()
        self.assertEqual((answer.status, answer.header("connection")), (200, "close"))
        self.assertEqual(proxy.child.process.wait(20), 0)

    def test_the_deadline_cuts_off(self):
        origin = self.env.start_origin()
        at, admin = self.env.network.address(), self.env.network.address()
        proxy = self.start("proxy", [origin.address], at, admin, flags=("--drain-accept-ms", "0", "--drain-time-s", "1"))
        waiting = Client(at, 30)
        waiting.send(b"GET /?delay=60 HTTP/1.1\r\nhost: x\r\n\r\n")
        wait_until("the slow request is under way", lambda: proxy.stat("cluster.proxy.upstream_rq_active") == 1)
        proxy.child.expected_to_end = True
        proxy.child.process.send_signal(signal.SIGTERM)
        self.assertEqual(proxy.child.process.wait(20), 0)
        self.assertIn("drain time is over", proxy.child.text())


if __name__ == "__main__":
    harness.main()
