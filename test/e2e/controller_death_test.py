#!/usr/bin/env python3
"""The controller dies (kill -9) under load, is away, and comes back: no request fails, nothing that did not change is sent
again, and proxies that start meanwhile live from their last good configuration on disk, and say so."""

import time

import harness
from harness import ask, destination_rule, versions_seen, wait_until, weights

HOST = "reviews.default.svc.cluster.local"


class ControllerDeathTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        cls.mesh = harness.Mesh(cls.env)
        cls.page = cls.mesh.add("productpage")
        cls.reviews = [cls.mesh.add("reviews", v) for v in ("v1", "v2")]
        cls.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2"]))
        cls.mesh.route("reviews.yaml", weights("reviews", v1=100))
        for w in cls.reviews:
            w.start_origin()
        cls.mesh.start_controller()
        for w in cls.mesh.workloads:
            w.start_proxy(cls.flags(w))
        cls.mesh.wait_synced()

    @classmethod
    def flags(cls, w):
        return ("--state-dir", cls.env.folder / "state" / w.name, "--log-level", "info")

    def setUp(self):
        (self.env.folder / "state").mkdir(exist_ok=True)
        if not self.mesh.controller.child.alive():
            self.mesh.start_controller()
        for w in self.mesh.workloads:
            if not w.proxy.child.alive():
                w.start_proxy(self.flags(w))
        self.mesh.route("reviews.yaml", weights("reviews", v1=100))
        self.mesh.wait_synced()
        wait_until("all requests go to v1", lambda: self.served() == {"reviews-v1-1"})

    def served(self, requests=10):
        return set(versions_seen(self.page.by_port, requests))

    def last_good(self, w):
        return self.env.folder / "state" / w.name / "last-good.xds"

    def wait_saved(self, w, after):
        """Until the configuration that came after that time (wall clock) is on disk."""
        wait_until("%s keeps its configuration on disk" % w.name,
                   lambda: self.last_good(w).exists() and self.last_good(w).stat().st_mtime >= after, 15)

    def wait_back(self):
        """After a restart of the controller: everybody is connected again. Back-off is at most 5 s."""
        self.mesh.wait_synced(seconds=20)

    # --------------------------------------------------------------------------------------------------------------------

    def test_death_and_return_under_load(self):
        load = [self.env.start_load(address, path, "reviews:9080", connections=4, rate=300) for address, path in (
            (self.page.by_port, "/reviews/0"), (self.page.http_proxy, "http://reviews:9080/reviews/1"))]
        for l in load:
            l.wait_for(100)
        for death in range(2):
            self.mesh.controller.child.kill()
            for l in load:
                l.wait_for(150)
            # Requests on new connections work, too.
            self.assertEqual(self.served(), {"reviews-v1-1"})
            for w in self.mesh.workloads:
                self.assertEqual(w.proxy.ready().status, 200, "a proxy with a configuration stays ready without a controller")
                wait_until("%s says that the controller is away" % w.name,
                           lambda: w.proxy.stat("control_plane.connected_state") == 0)
            # A change meanwhile changes nothing, since nobody reads it.
            if death == 1:
                self.mesh.route("reviews.yaml", weights("reviews", v2=100))
                time.sleep(0.3)
                self.assertEqual(self.served(), {"reviews-v1-1"})
            controller = self.mesh.start_controller()
            self.wait_back()
            sent = controller.metric("weft_xds_pushed_resources_total")
            if death == 0:
                self.assertEqual(sent, 0, "nothing changed, so nothing may be sent again: %s" % controller.syncz())
                for w in self.mesh.workloads:
                    for name, t in controller.types(w.name).items():
                        self.assertEqual((t["nacks"], t["missing"]), (0, []), (w.name, name))
                        self.assertGreater(t["resources"], 0, (w.name, name))
            else:
                # The rules of reviews are in three route configurations of each proxy: by port, forward proxy, its own.
                wait_until("requests follow the file", lambda: self.served() == {"reviews-v2-1"})
                self.mesh.wait_synced()
                self.assertEqual(controller.metric("weft_xds_pushed_resources_total"), 3 * len(self.mesh.workloads),
                                 "what changed is sent, and nothing else")
            self.assertEqual(controller.metric("weft_xds_removed_resources_total"), 0)
        for l in load:
            l.stop()
            self.assertEqual(l.failed, 0, str(l))
            self.assertEqual(l.stale, 0, "no connection is closed for it: %s" % l)

    def test_a_subset_that_goes_while_the_controller_is_away_is_removed_at_its_return(self):
        self.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2", "v3"]))
        cluster = "outbound|9080|v3|" + HOST
        wait_until("the cluster is there", lambda: cluster in self.page.proxy.resources("cluster"))
        self.mesh.wait_synced()
        self.mesh.controller.child.kill()
        self.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2"]))
        self.mesh.start_controller()
        wait_until("the cluster is gone", lambda: cluster not in self.page.proxy.resources("cluster"), 20)
        self.wait_back()
        self.assertEqual(self.served(), {"reviews-v1-1"})

    def test_a_proxy_that_starts_without_controller_lives_from_disk(self):
        self.mesh.route("reviews.yaml", weights("reviews", v2=100))
        wait_until("requests follow", lambda: self.served() == {"reviews-v2-1"})
        for w in self.mesh.workloads:
            self.wait_saved(w, 0)
        # At latest ten times save_delay after the change it is on disk; an orderly end writes at once.
        self.mesh.controller.child.kill()
        for w in (self.page, self.reviews[1]):
            names = {kind: set(w.proxy.resources(kind)) for kind in ("cluster", "listener", "route", "endpoint")}
            self.assertEqual(w.proxy.child.end(), 0, "SIGTERM is an orderly end")
            proxy = w.start_proxy(self.flags(w))
            text = proxy.child.text()
            self.assertRegex(text, r"config source: disk, age \d+ s: the controller does not answer")
            self.assertIn(self.mesh.xds, text, "it names the controller that it misses")
            self.assertEqual(proxy.stat("control_plane.config_from_disk"), 1)
            self.assertEqual({kind: set(proxy.resources(kind)) for kind in names}, names)
        self.assertEqual(self.served(), {"reviews-v2-1"})
        # kill -9 loses nothing that was on disk.
        self.page.proxy.child.kill()
        proxy = self.page.start_proxy(self.flags(self.page))
        self.assertIn("config source: disk", proxy.child.text())
        self.assertEqual(self.served(), {"reviews-v2-1"})
        # The controller's return: connected, and what the disk gave is known by its version.
        load = self.env.start_load(self.page.by_port, "/reviews/0", "reviews:9080", connections=2, rate=200)
        controller = self.mesh.start_controller()
        self.wait_back()
        wait_until("the proxy says where its configuration is from now",
                   lambda: proxy.stat("control_plane.config_from_disk") == 0 or controller.metric("weft_xds_pushed_resources_total") == 0)
        self.assertEqual(controller.metric("weft_xds_pushed_resources_total"), 0, "versions on disk count as what it has")
        self.mesh.route("reviews.yaml", weights("reviews", v1=100))
        wait_until("changes arrive again", lambda: self.served() == {"reviews-v1-1"})
        load.stop()
        self.assertEqual(load.failed, 0, str(load))
        self.assertIn("config source: controller", proxy.child.text())

    def test_nothing_on_disk_and_no_controller(self):
        late = self.mesh.add("reviews", "v9")
        try:
            self.mesh.controller.child.kill()
            proxy = late.start_proxy(self.flags(late), wait=False)
            answer = wait_until("the admin port answers", proxy.ready)
            begun = time.monotonic()
            wait_until("it says that there is nothing to start from",
                       lambda: "the controller does not answer" in proxy.child.text() and "nothing to start from" in proxy.child.text())
            self.assertRegex(proxy.child.text(), r"xds: .*%s.*trying again" % self.mesh.xds)
            while time.monotonic() < begun + 3:
                answer = proxy.ready()
                self.assertEqual(answer.status, 503, answer.text())
                time.sleep(0.1)
            self.assertTrue(answer.text().startswith("INITIALIZING"), answer.text())
            self.assertIn("clusters from %s" % self.mesh.xds, answer.text(), "/ready says what it waits for")
            self.assertTrue(proxy.child.alive())
            # The log tells once, not once a try.
            self.assertLessEqual(proxy.child.text().count("trying again"), 3, proxy.child.text())
            self.mesh.start_controller()
            wait_until("it becomes ready once the controller is there", proxy.is_ready, 15)
            self.mesh.wait_synced(late, seconds=20)
        finally:
            if late.proxy:
                late.proxy.child.end()
            self.mesh.workloads.remove(late)
            (self.mesh.registry / ("workload.%s.yaml" % late.name)).unlink()

    def test_a_damaged_or_foreign_file_is_not_used_and_said(self):
        self.wait_saved(self.page, 0)
        self.mesh.controller.child.kill()
        self.page.proxy.child.end()
        path = self.last_good(self.page)
        good = path.read_bytes()
        others = self.last_good(self.reviews[0])
        self.wait_saved(self.reviews[0], 0)
        cases = [
            ("one byte changed", good[:-10] + bytes([good[-10] ^ 1]) + good[-9:], "is damaged: wrong checksum"),
            ("cut", good[:len(good) // 2], "is cut: "),
            ("no such file at all", b"node: {}\n", "is not a file of this program"),
            ("another node's", others.read_bytes(), "belongs to node sidecar~%s~reviews-v1-1" % self.reviews[0].sidecar),
        ]
        for what, content, message in cases:
            with self.subTest(what):
                path.write_bytes(content)
                proxy = self.page.start_proxy(self.flags(self.page), wait=False)
                wait_until(lambda: "%r in its log:\n%s" % (message, proxy.child.text()), lambda: message in proxy.child.text())
                self.assertIn(str(path), proxy.child.text())
                self.assertEqual(proxy.ready().status, 503)
                proxy.child.end()
        path.write_bytes(good)
        self.page.start_proxy(self.flags(self.page))
        self.assertEqual(self.served(), {"reviews-v1-1"})


if __name__ == "__main__":
    harness.main()
