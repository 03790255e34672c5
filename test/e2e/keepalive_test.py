#!/usr/bin/env python3
"""Keep-alive races: an upstream closes idle connections while requests are on their way. What may be sent again is, once; and
the proxy learns how long connections stay open and lends none that is near that age."""

import socket
import threading
import time

import harness
from harness import Client, Server, wait_until
from bootstraps import bootstrap, cluster, listener


class Upstream(Server):
    """HTTP/1.1 by hand. Closes a connection that was idle for `idle` seconds; with `die`, a connection takes one request and
    resets at the first byte of the second."""

    def __init__(self, at, idle=None):
        self.idle, self.die = idle, False
        self.closes = 0
        super().__init__(at)

    def serve(self, s):
        served = 0
        while True:
            s.settimeout(self.idle)
            got = b""
            try:
                while b"\r\n\r\n" not in got:
                    data = s.recv(65536)
                    if not data:
                        return
                    got += data
                    s.settimeout(None)
            except TimeoutError:
                self.closes += 1
                return
            if self.die and served:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                return
            head, _, body = got.partition(b"\r\n\r\n")
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    while len(body) < int(value):
                        body += s.recv(65536)
            s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            served += 1


class KeepaliveTest(harness.TestCase):
    def start(self, idle=None):
        net = self.env.network
        at, admin, upstream_at = net.address(), net.address(), net.address()
        upstream = Upstream(upstream_at, idle)
        self.addCleanup(upstream.close)
        proxy = self.env.start_proxy("p%s" % at.replace(":", "-"), bootstrap(admin, [listener("main", at, "up")],
                                                                           [cluster("up", upstream_at)]), admin)
        return proxy, at, upstream

    def rounds(self, at, method, count, every, clients=8):
        """All clients ask at the same moment, `count` times, `every` seconds apart: between them all the upstream's
        connections are idle for that long. Returns what did not succeed."""
        bad, barrier = [], threading.Barrier(clients)

        def run():
            with Client(at, 20) as c:
                for _ in range(count):
                    barrier.wait(20)
                    answer = c.ask("/", method, body=b"b" if method == "POST" else None)
                    if answer.status != 200:
                        bad.append(answer.status)
                    time.sleep(every)  # the passing of time is the point

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        return bad

    def test_an_upstream_that_closes_idle_connections_at_1s(self):
        proxy, at, upstream = self.start(idle=1.0)
        self.assertEqual(self.rounds(at, "GET", 4, 0.999), [], "idempotent requests: not one is lost")
        wait_until("an idle close", lambda: upstream.closes > 0, 20)
        self.rounds(at, "GET", 2, 0.9)  # learned: from now on, connections of this age are left alone
        wait_until("the limit to be learned", lambda: proxy.stat("cluster.up.upstream_cx_near_idle_limit") > 0, 20)
        self.assertEqual(self.rounds(at, "POST", 3, 0.999), [], "with the limit learned, no POST is lost")

    def second_request_dies(self, method, body):
        """The answer to a request whose reused connection dies under it, and how many were sent again."""
        proxy, at, upstream = self.start()
        upstream.die = True
        with Client(at, 20) as c:
            self.assertEqual(c.ask("/").status, 200)
            answer = c.ask("/", method, body=body)
        return answer, proxy.stat("cluster.up.upstream_rq_replayed")

    def test_idempotent_requests_are_sent_again_once(self):
        answer, replayed = self.second_request_dies("GET", None)
        self.assertEqual((answer.status, replayed), (200, 1))
        # With a body: it was kept, and is sent again as it was.
        body = b"x" * 20000
        answer, replayed = self.second_request_dies("PUT", body)
        self.assertEqual((answer.status, replayed, answer.body == body), (200, 1, True))

    def test_a_post_that_may_have_arrived_is_not(self):
        answer, replayed = self.second_request_dies("POST", b"once")
        self.assertEqual((answer.status, replayed), (503, 0))


if __name__ == "__main__":
    harness.main()
