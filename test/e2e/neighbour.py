#!/usr/bin/env python3
"""The well-behaved client of the abuse tests and its origin, in a process of their own, so that an attacker's Python does not
slow them. Used through abuse.Neighbour.

Prints the origin's address, then obeys lines of standard input:
  start ADDRESS h1|h2 RATE   one connection, RATE requests a second (latency counts from the moment at which one is due)
  count                      how many answers there are so far
  stop                       {"sent", "good", "wrong": [...], "p50", "p99", "max"} in ms, as JSON
"""

import json
import sys
import threading
import time

from base import percentile
from wire import Client, Server

BODY = "%d " + "n" * 1000


class CalmOrigin(Server):
    """Answers /calm/N with BODY % N."""

    def serve(self, connection):
        got = b""
        while True:
            while b"\r\n\r\n" not in got:
                data = connection.recv(65536)
                if not data:
                    return
                got += data
            head, _, got = got.partition(b"\r\n\r\n")
            number = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
            body = (BODY % number).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


class Run:
    def __init__(self, address, protocol, rate):
        self.address, self.protocol, self.interval = address, protocol, 1 / rate
        self.times, self.wrong, self.sent, self.over = [], [], 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _connect(self):
        if self.protocol == "h1":
            return Client(self.address, 20.0)
        from http2 import H2Client  # needs the peers
        return H2Client(self.address)

    def _run(self):
        try:
            with self._connect() as client:
                due = time.monotonic()
                while not self.over.is_set():
                    now = time.monotonic()
                    if now < due:
                        time.sleep(due - now)
                    self.sent += 1
                    answer = client.ask("/calm/%d" % self.sent)
                    self.times.append(time.monotonic() - due)
                    if answer.status != 200 or bytes(answer.body) != (BODY % self.sent).encode():
                        self.wrong.append("%s %r" % (answer.status, bytes(answer.body[:100])))
                    # What could not be sent in time is not sent all at once after it.
                    due = max(due + self.interval, time.monotonic() - self.interval)
        except Exception as e:  # told by stop()
            self.wrong.append("%s: %s, after %d requests" % (type(e).__name__, e, self.sent))

    def stop(self):
        self.over.set()
        self.thread.join(30)
        if self.thread.is_alive():
            self.wrong.append("no answer to request %d" % self.sent)
        ms = [t * 1e3 for t in self.times] or [0.0]
        return {"sent": self.sent, "good": len(self.times) - len(self.wrong), "wrong": self.wrong[:5],
                "p50": percentile(ms, 50), "p99": percentile(ms, 99), "max": max(ms)}


def main():
    print(CalmOrigin(sys.argv[1]).address, flush=True)
    run = None
    for line in sys.stdin:
        what, *arguments = line.split()
        if what == "start":
            run = Run(arguments[0], arguments[1], float(arguments[2]))
        elif what == "count":
            print(-1 if run.wrong else len(run.times), flush=True)
        elif what == "stop":
            print(json.dumps(run.stop()), flush=True)


main()
