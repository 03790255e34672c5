#!/usr/bin/env python3
"""Both real programs on a demo-shaped configuration: weft-controller reads directories of Istio resources, sidecars take
them by delta ADS, requests pass two sidecars and follow the files."""

import json
import os
import re
import time

import harness
from harness import ask, destination_rule, virtual_service, wait_until, weights, versions_seen

HOST = "reviews.default.svc.cluster.local"


class MeshTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        cls.mesh = harness.Mesh(cls.env)
        cls.page = cls.mesh.add("productpage")
        cls.reviews = [cls.mesh.add("reviews", v) for v in ("v1", "v2", "v3")]
        cls.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2", "v3"]))
        cls.start_routing = weights("reviews", v1=50, v3=50)
        cls.mesh.route("reviews.yaml", cls.start_routing)
        for w in cls.reviews:
            w.start_origin()
        cls.controller = cls.mesh.start_controller(mgmt=True)
        for w in cls.mesh.workloads:
            w.start_proxy()
        cls.mesh.wait_synced()

    def setUp(self):
        """Every case begins with the same files."""
        for path in self.mesh.routing.iterdir():
            if path.name not in ("rules.yaml", "reviews.yaml"):
                path.unlink()
        self.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2", "v3"]))
        self.mesh.route("reviews.yaml", self.start_routing)
        self.wait_for_only({"reviews-v1-1", "reviews-v3-1"})
        wait_until(lambda: "no errors in the configuration: %s" % self.controller.errors(), lambda: not self.controller.errors())

    def seen(self, requests=20, **kwargs):
        return versions_seen(self.page.by_port, requests, **kwargs)

    def wait_for_only(self, names, requests=12, seconds=10):
        """Until a run of requests is answered by all of these and by nobody else."""
        last = []

        def check():
            last[:] = [self.seen(requests)]
            return set(last[0]) == set(names)

        wait_until(lambda: "answers from %s alone; the last run had %s" % (sorted(names), dict(last[0])), check, seconds)

    def nobody_refused(self):
        for p in self.controller.syncz():
            for t in p["types"]:
                self.assertEqual(t["nacks"], 0, "%s refused a %s: %s" % (p["proxy"], t["type"], t["refused"]))

    # -- traffic

    def test_requests_pass_two_sidecars_by_each_way_out(self):
        ways = [
            ("the forward proxy port", self.page.http_proxy, "http://reviews:9080/reviews/7", "reviews:9080"),
            ("the service's own listener", self.page.service_listener("reviews"), "/reviews/7", "anything.example"),
            ("the outbound address by port, short name", self.page.by_port, "/reviews/7", "reviews"),
            ("the outbound address by port, full name", self.page.by_port, "/reviews/7", HOST + ":9080"),
        ]
        for way, address, target, host in ways:
            with self.subTest(way):
                out = sum(self.page.proxy.stat("cluster.outbound|9080|%s|%s.upstream_rq_total" % (v, HOST)) for v in ("v1", "v3"))
                arrived = sum(w.proxy.stat("cluster.inbound|9080||.upstream_rq_total") for w in self.reviews)
                answer = ask(address, target, host=host, headers={"x-probe": "1"})
                self.assertEqual(answer.status, 200, answer)
                got = answer.json()
                self.assertIn(got["name"], ("reviews-v1-1", "reviews-v3-1"))
                self.assertEqual(got["target"], "/reviews/7")
                self.assertIn(["x-probe", "1"], got["headers"])
                self.assertEqual(out + 1, sum(
                    self.page.proxy.stat("cluster.outbound|9080|%s|%s.upstream_rq_total" % (v, HOST)) for v in ("v1", "v3")),
                    "the caller's sidecar sent it")
                self.assertEqual(arrived + 1, sum(w.proxy.stat("cluster.inbound|9080||.upstream_rq_total") for w in self.reviews),
                                 "the reviews' sidecar passed it on")

    def test_both_sidecars_write_it_down(self):
        path = "/reviews/logged-%d" % time.monotonic_ns()
        answer = ask(self.page.by_port, path, host="reviews:9080")
        self.assertEqual(answer.status, 200, answer)
        served = next(w for w in self.reviews if w.name == answer.header("x-origin"))
        for w, upstream in ((self.page, served.inbound), (served, served.program + ":9080")):
            def line():
                found = [l for l in w.access_log.read_text().splitlines() if path in l]
                return found[0] if found else None

            text = wait_until("%s logs the request within a second" % w.name, line, 2)
            self.assertRegex(text, r'^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] "GET %s HTTP/1\.1" 200 - 0 \d+ \d+ \d+ ' % path)
            self.assertIn('"%s"' % upstream, text)

    def test_post_bodies_and_headers_arrive_whole(self):
        body = "b" * 100_000
        answer = ask(self.page.by_port, "/reviews/0", "POST", {"x-one": "1", "X-Two": "2"}, body, "reviews:9080")
        got = answer.json()
        self.assertEqual(got["method"], "POST")
        self.assertEqual(got["body"], body)
        self.assertIn(["x-one", "1"], got["headers"])
        self.assertTrue(any(k.lower() == "x-two" and v == "2" for k, v in got["headers"]), got["headers"])

    def test_an_unknown_host_is_answered_404_by_the_sidecar(self):
        self.assertEqual(ask(self.page.by_port, "/", host="nowhere:9080").status, 404)

    def test_an_origin_that_is_away_is_a_503_and_its_return_is_found(self):
        away = self.reviews[1]
        self.mesh.route("reviews.yaml", weights("reviews", v2=100))
        self.wait_for_only({away.name})
        origin = next(o for o in self.env.origins if o.name == away.name)
        origin.close()
        self.env.origins.remove(origin)
        try:
            wait_until("a 503 while the program is away", lambda: ask(self.page.by_port, "/", host="reviews").status == 503)
        finally:
            away.start_origin()
        self.wait_for_only({away.name})

    # -- names are contracts

    def test_names(self):
        clusters = self.page.proxy.resources("cluster")
        for subset in ("", "v1", "v2", "v3"):
            self.assertIn("outbound|9080|%s|%s" % (subset, HOST), clusters)
        self.assertIn("inbound|9080||", clusters)
        routes = self.page.proxy.resources("route")
        for name in ("9080", "http_proxy", HOST + ":9080"):
            self.assertIn(name, routes)
        self.assertIn(HOST + ":9080", [v["name"] for v in routes["9080"]["virtual_hosts"]])
        domains = next(v["domains"] for v in routes["9080"]["virtual_hosts"] if v["name"] == HOST + ":9080")
        for name in ("reviews", "reviews.default", "reviews.default.svc", HOST):
            self.assertIn(name, domains)
            self.assertIn(name + ":9080", domains)
        self.assertIn("%s_9080" % self.page.sidecar, self.page.proxy.resources("listener"))
        endpoints = self.page.proxy.resources("endpoint")["outbound|9080|v2|" + HOST]
        address = endpoints["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
        self.assertEqual(address, {"address": self.reviews[1].sidecar, "port_value": 9080})

    # -- files

    def test_weights_follow_the_file(self):
        seen = self.seen(400)
        self.assertEqual(sum(seen.values()), 400)
        self.assertEqual(set(seen), {"reviews-v1-1", "reviews-v3-1"})
        self.assertTrue(140 <= seen["reviews-v1-1"] <= 260, seen)  # 6 standard deviations
        self.mesh.route("reviews.yaml", weights("reviews", v1=90, v2=10))
        self.wait_for_only({"reviews-v1-1", "reviews-v2-1"}, requests=60)
        seen = self.seen(400)
        self.assertTrue(320 <= seen["reviews-v1-1"] <= 398, seen)

    def test_ways_to_save_a_file(self):
        path = self.mesh.routing / "reviews.yaml"
        with self.subTest("rename over it"):
            self.mesh.route("reviews.yaml", weights("reviews", v2=100))
            self.wait_for_only({"reviews-v2-1"})
        with self.subTest("write in place"):
            path.write_text(weights("reviews", v3=100))
            self.wait_for_only({"reviews-v3-1"})
        with self.subTest("in place, in two writes with a pause"):
            text = weights("reviews", v1=100)
            with open(path, "w") as f:
                f.write(text[:len(text) // 2])
                f.flush()
                time.sleep(0.3)
                f.write(text[len(text) // 2:])
            self.wait_for_only({"reviews-v1-1"})
            wait_until("the half file's errors are gone", lambda: not self.controller.errors())
        with self.subTest("the old one moved away, as some editors do"):
            os.rename(path, self.mesh.routing / "reviews.yaml~")
            path.write_text(weights("reviews", v2=100))
            self.wait_for_only({"reviews-v2-1"})
        with self.subTest("a draft of an editor is no file"):
            (self.mesh.routing / ".reviews.yaml.swp").write_text("b0VIM 9.0: nothing to read\n")
            (self.mesh.routing / "reviews.yaml~").write_text("{{{{")
            time.sleep(0.5)
            self.assertEqual(self.controller.errors(), [])
        self.nobody_refused()

    def test_no_request_fails_while_files_change(self):
        load = self.env.start_load(self.page.by_port, "/reviews/0", "reviews:9080", connections=4, rate=400)
        for i in range(12):
            self.mesh.route("reviews.yaml", weights("reviews", **[{"v1": 100}, {"v2": 50, "v3": 50}, {"v3": 100}][i % 3]))
            load.wait_for(40)
            # Clusters that come and go with the subsets, too.
            self.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2", "v3"] + ["x%d" % i] * (i % 2)))
            load.wait_for(40)
        load.stop()
        self.assertEqual(load.failed, 0, str(load))
        self.assertGreater(load.sent, 900)
        self.nobody_refused()

    def test_a_new_rule_by_header_takes_effect(self):
        self.mesh.route("reviews.yaml", virtual_service("reviews", """\
- match: [{headers: {end-user: {exact: jason}}}]
  route: [{destination: {host: reviews, subset: v2}}]
- route: [{destination: {host: reviews, subset: v1}}]
"""))
        self.wait_for_only({"reviews-v1-1"})
        self.assertEqual(set(self.seen(10, headers={"end-user": "jason"})), {"reviews-v2-1"})
        self.assertEqual(set(self.seen(10, headers={"end-user": "jasonx"})), {"reviews-v1-1"})

    def test_a_broken_file_keeps_the_last_good_and_is_reported(self):
        self.mesh.route("reviews.yaml", weights("reviews", v2=100))
        self.wait_for_only({"reviews-v2-1"})
        cases = [
            ("not YAML", "apiVersion: [unclosed\n", r"reviews\.yaml:\d+:\d+: .*"),
            ("a wrong type", weights("reviews", v1=100).replace("weight: 100", "weight: ten"),
             r'reviews\.yaml:9:15: spec\.http\[0\]\.route\[0\]\.weight: expected a number, got "ten"'),
            ("an unknown field", weights("reviews", v1=100).replace("weight: 100", "wieght: 100"),
             r'reviews\.yaml:9:7: spec\.http\[0\]\.route\[0\]: unknown field "wieght"; did you mean "weight"'),
        ]
        for what, text, expected in cases:
            with self.subTest(what):
                self.mesh.route("reviews.yaml", text)
                wait_until(lambda: "%s among the errors of /debug/configz: %s" % (expected, self.controller.errors()),
                           lambda: any(re.search(expected, e) for e in self.controller.errors()))
                self.assertGreaterEqual(self.controller.metric("weft_config_errors"), 1)
                self.assertIn("reviews.yaml:", self.controller.child.text(), "and in its log")
                self.assertEqual(set(self.seen(20)), {"reviews-v2-1"}, "the last good rules stay in effect")
        self.mesh.route("reviews.yaml", weights("reviews", v1=100))
        self.wait_for_only({"reviews-v1-1"})
        wait_until("the errors are gone", lambda: not self.controller.errors())

    def test_one_bad_file_does_not_hold_the_others(self):
        self.mesh.route("zz-broken.yaml", "kind: VirtualService\nspec: {hosts: 7}\n")
        self.mesh.route("reviews.yaml", weights("reviews", v3=100))
        self.wait_for_only({"reviews-v3-1"})
        errors = wait_until("the error of the broken file", self.controller.errors)
        self.assertTrue(all("zz-broken.yaml" in e for e in errors), errors)

    def test_a_deleted_file_is_gone(self):
        (self.mesh.routing / "reviews.yaml").unlink()
        # Without rules every version is asked in turn.
        self.wait_for_only({"reviews-v1-1", "reviews-v2-1", "reviews-v3-1"})
        (self.mesh.routing / "rules.yaml").unlink()
        wait_until("the subsets' clusters are removed",
                   lambda: "outbound|9080|v2|" + HOST not in self.page.proxy.resources("cluster"))
        self.assertIn("outbound|9080||" + HOST, self.page.proxy.resources("cluster"))
        self.wait_for_only({"reviews-v1-1", "reviews-v2-1", "reviews-v3-1"})

    def test_a_missing_subset_is_reported_where_it_is_named(self):
        self.mesh.route("reviews.yaml", virtual_service("reviews", "- route:\n  - destination: {host: reviews, subset: v9}\n"))
        condition = {}

        def reported():
            objects = [o for o in self.controller.configz()["objects"] if (o["kind"], o["name"]) == ("VirtualService", "reviews")]
            condition["all"] = objects
            text = json.dumps(objects)
            return "v9" in text and ("subset" in text)

        wait_until(lambda: "the missing subset in the object's status: %s" % json.dumps(condition["all"])[:2000], reported)
        self.assertRegex(self.controller.child.text(), r"reviews\.yaml:8:\d+: spec\.http\[0\]\.route\[0\]\.destination\.subset: .*v9")
        self.assertEqual(set(self.seen(40)), {"reviews-v1-1", "reviews-v3-1"}, "the last good rules stay in effect")
        self.nobody_refused()
        # Repaired by the rule that was missing; nobody touches the file that named it.
        self.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2", "v3"]).rstrip("\n") +
                        "\n  - {name: v9, labels: {version: v2}}\n")
        self.wait_for_only({"reviews-v2-1"})
        wait_until(lambda: "the report is gone: %s" % self.controller.errors(), lambda: not self.controller.errors())

    def test_a_missing_host_is_reported(self):
        self.mesh.route("other.yaml", virtual_service("reviews", "").replace("name: reviews", "name: other").replace(
            "hosts: [reviews]\n  http:\n", "hosts: [others.example]\n  http:\n  - route: [{destination: {host: nowhere}}]\n"))
        def reported():
            text = json.dumps([o for o in self.controller.configz()["objects"] if o["name"] == "other"])
            return "nowhere" in text and '"severity"' in text or "nowhere.default.svc.cluster.local" in text

        wait_until(lambda: json.dumps(self.controller.configz())[:3000], reported)

    # -- workloads

    def test_a_workload_that_leaves_and_comes_back(self):
        (self.mesh.routing / "reviews.yaml").unlink()
        everybody = {"reviews-v1-1", "reviews-v2-1", "reviews-v3-1"}
        self.wait_for_only(everybody)
        load = self.env.start_load(self.page.by_port, "/reviews/0", "reviews:9080", connections=4, rate=300)
        gone = self.mesh.registry / "workload.reviews-v3-1.yaml"
        text = gone.read_text()
        try:
            gone.unlink()
            self.wait_for_only(everybody - {"reviews-v3-1"})
            load.wait_for(60)
        finally:
            gone.write_text(text)
        self.wait_for_only(everybody)
        load.wait_for(60)
        load.stop()
        self.assertEqual(load.failed, 0, str(load))

    # -- weftctl against the real controller

    def test_weftctl_applies_reads_and_deletes(self):
        ctl = [harness.program("weftctl")]
        flags = ["--socket", str(self.controller.mgmt)]
        code, out = harness.run(ctl + ["apply", "-f", self.env.write("all-v2.yaml", weights("reviews", v2=100)), *flags])
        self.assertEqual(code, 0, out)
        self.wait_for_only({"reviews-v2-1"})
        code, out = harness.run(ctl + ["get", "virtualservice", "reviews", "-o", "yaml", *flags])
        self.assertEqual(code, 0, out)
        self.assertIn("subset: v2", out)
        code, out = harness.run(ctl + ["proxy-status", *flags])
        self.assertEqual(code, 0, out)
        for w in self.mesh.workloads:
            self.assertIn(w.name, out)
        self.assertNotIn("REFUSED", out.upper().replace("NOT REFUSED", ""))
        code, out = harness.run(ctl + ["apply", "-f", self.env.write("bad.yaml", weights("reviews", v1=100).replace("100", "many")), *flags])
        self.assertNotEqual(code, 0, out)
        self.assertIn("bad.yaml:9:15", out)
        self.assertEqual(set(self.seen(10)), {"reviews-v2-1"})
        code, out = harness.run(ctl + ["delete", "virtualservice", "reviews", *flags])
        self.assertEqual(code, 0, out)
        self.wait_for_only({"reviews-v1-1", "reviews-v2-1", "reviews-v3-1"})


if __name__ == "__main__":
    harness.main()
