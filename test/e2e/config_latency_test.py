#!/usr/bin/env python3
"""A saved file is in effect on all sidecars of the sample mesh within 150 ms at the 99th percentile of 100 edits, and no
request fails meanwhile.

Other programs on the machine can take the processor away. The kernel tells how long each thread that the change passes
through was able to run and had to wait (schedstat), so a run on a busy machine is told apart from a slow program: when the
limit is missed, and would not have been missed without that waiting, the measurement is made again, three times at most; the
last one is judged without the waiting. A program that is slow by itself fails at once.
"""

import os
import random
import time

import harness
from harness import Client, percentile, virtual_service

EDITS = 100
LIMIT = 0.150
TRIES = 3


def rules(number):
    """The routing of one edit: sidecars answer /edit by themselves with its number; requests go to another version."""
    return virtual_service("reviews", """\
- match: [{uri: {exact: /edit}}]
  directResponse: {status: 200, body: {string: "%d"}}
- route: [{destination: {host: reviews, subset: %s}}]
""" % (number, "v1" if number % 2 else "v3"))


class ConfigLatencyTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        cls.demo = harness.Demo(cls.env)
        cls.controller = cls.demo.pids(lambda name: name == "controller")
        cls.sidecars = cls.demo.sidecars()
        cls.addresses = [cls.env.network.ip("3.%d:9080" % (i + 1)) for i in range(len(cls.sidecars))]

    def save(self, number, in_place):
        text = rules(number)
        path = self.demo.config / "reviews.yaml"
        if in_place:
            begun = time.monotonic()
            path.write_text(text)
        else:
            draft = path.with_name(".reviews.yaml.draft")
            draft.write_text(text)
            begun = time.monotonic()
            os.replace(draft, path)
        return begun

    def edit(self, clients, number, in_place):
        """Saves, and waits until every sidecar answers by the new file: (seconds, seconds of it that were waiting)."""
        controller = harness.Waiting(self.controller.values())
        sidecars = harness.Waiting(self.sidecars.values(), threads=2)  # xDS on main, then the worker
        own = harness.Waiting([os.getpid()])
        begun = self.save(number, in_place)
        pending = list(clients)
        body = b"%d" % number
        while pending:
            pending = [c for c in pending if c.ask("/edit", host="reviews:9080").body != body]
            took = time.monotonic() - begun
            if took > 10:
                raise harness.Trouble("edit %d is not in effect on %d of %d sidecars within 10 s" % (number, len(pending), len(clients)))
            if pending:
                time.sleep(0.001)
        waited = max(controller.seconds().values()) + max(sidecars.seconds().values()) + max(own.seconds().values())
        return took, min(waited, took)

    def measure(self, first):
        load = self.env.start_load(self.demo.page, "/api/v1/products/0/reviews", connections=2, rate=60,
                                   good=lambda a: a.status == 200 and b'"podname":"reviews-v' in a.body)
        clients = [Client(a) for a in self.addresses]
        edits = []
        for number in range(first, first + EDITS):
            edits.append(self.edit(clients, number, in_place=number % 3 == 0))
            time.sleep(random.uniform(0.02, 0.1))
        for c in clients:
            c.close()
        load.stop()
        self.assertEqual(load.failed, 0, "no request may fail: %s" % load)
        self.assertEqual(load.stale, 0, "nor may a change close connections: %s" % load)
        self.assertGreater(load.sent, EDITS)
        print("load meanwhile: %s" % load)
        return edits

    def test_a_saved_file_is_in_effect_within_150_ms(self):
        self.assertEqual(len(self.addresses), 6)
        first = 1
        for attempt in range(1, TRIES + 1):
            edits = self.measure(first)
            first += EDITS
            took = [t for t, _ in edits]
            without = [t - w for t, w in edits]
            median, p99 = percentile(took, 50), percentile(took, 99)
            calm_median, calm_p99 = percentile(without, 50), percentile(without, 99)
            print("measurement %d of %d edits on %d sidecars: median %.1f ms, p99 %.1f ms, longest %.1f ms; without waiting for a "
                  "processor: median %.1f ms, p99 %.1f ms" % (attempt, len(edits), len(self.addresses), median * 1e3, p99 * 1e3,
                                                             max(took) * 1e3, calm_median * 1e3, calm_p99 * 1e3), flush=True)
            if median <= LIMIT and p99 <= LIMIT:
                return
            self.assertLessEqual(calm_median, LIMIT, "too slow, and not for want of a processor")
            self.assertLessEqual(calm_p99, LIMIT, "too slow, and not for want of a processor")
        print("the machine is busy: judged without what was waiting")


if __name__ == "__main__":
    harness.main()
