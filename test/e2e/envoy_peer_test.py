#!/usr/bin/env python3
"""Real Envoy under weft-controller, by both variants of ADS, beside weft-proxy on the same configuration: the same
answers, before and after changes, and nobody refuses anything."""

import json
import unittest

import harness
from harness import ask, destination_rule, virtual_service, wait_until, weights

HOST = "reviews.default.svc.cluster.local"

# Each kind of rule that the controller translates. The last one is the rest.
RULES = virtual_service("reviews", """\
- name: by-user
  match: [{headers: {end-user: {exact: jason}}}]
  route: [{destination: {host: reviews, subset: v2}}]
- name: without
  match: [{uri: {prefix: /without}, withoutHeaders: {x-not: {}}}]
  route: [{destination: {host: reviews, subset: v2}}]
- name: exact
  match: [{uri: {exact: /exact}}]
  route: [{destination: {host: reviews, subset: v2}}]
- name: regex
  match: [{uri: {regex: "/items/[0-9]+"}}]
  route: [{destination: {host: reviews, subset: v2}}]
- name: ignoring-case
  match: [{uri: {prefix: /CaSe}, ignoreUriCase: true}]
  route: [{destination: {host: reviews, subset: v2}}]
- name: query
  match: [{queryParams: {version: {exact: "2"}}}]
  route: [{destination: {host: reviews, subset: v2}}]
- name: method
  match: [{method: {exact: DELETE}}]
  route: [{destination: {host: reviews, subset: v2}}]
- name: rewritten
  match: [{uri: {prefix: /old/}}]
  rewrite: {uri: /new/, authority: other.example}
  route: [{destination: {host: reviews, subset: v1}}]
- name: mutated
  match: [{uri: {prefix: /mutated}}]
  headers:
    request: {set: {x-set: "1"}, add: {x-add: "2"}, remove: [x-remove]}
    response: {set: {x-back: "3"}, add: {x-more: "4"}, remove: [x-origin]}
  route: [{destination: {host: reviews, subset: v1}, headers: {request: {set: {x-dest: "5"}}}}]
- name: redirect
  match: [{uri: {prefix: /moved}}]
  redirect: {uri: /elsewhere, authority: other.example, redirectCode: 302}
- name: direct
  match: [{uri: {prefix: /direct}}]
  directResponse: {status: 418, body: {string: short and stout}}
- name: slow
  match: [{uri: {prefix: /slow}}]
  timeout: 0.2s
  route: [{destination: {host: reviews, subset: v1}}]
- name: retried
  match: [{uri: {prefix: /retried}}]
  retries: {attempts: 2, retryOn: "5xx", backoff: 10ms}
  route: [{destination: {host: reviews, subset: v1}}]
- route: [{destination: {host: reviews, subset: v1}}]
""")

# What each asks, and what shows that two proxies did the same.
REQUESTS = [
    ("the rest", {"path": "/reviews/0"}),
    ("by header", {"path": "/reviews/0", "headers": {"end-user": "jason"}}),
    ("by header, another value", {"path": "/reviews/0", "headers": {"end-user": "jasonx"}}),
    ("without a header", {"path": "/without"}),
    ("without a header, which is there", {"path": "/without", "headers": {"x-not": "1"}}),
    ("exact path", {"path": "/exact"}),
    ("exact path with a query", {"path": "/exact?a=b"}),
    ("exact path, longer", {"path": "/exactly"}),
    ("regular expression", {"path": "/items/42"}),
    ("regular expression, only a part", {"path": "/items/42/more"}),
    ("case ignored", {"path": "/cAsE/x"}),
    ("query parameter", {"path": "/reviews/0?a=1&version=2"}),
    ("query parameter, another value", {"path": "/reviews/0?version=22"}),
    ("method", {"path": "/reviews/0", "method": "DELETE"}),
    ("rewritten", {"path": "/old/thing?x=1"}),
    ("mutated", {"path": "/mutated", "headers": {"x-set": "0", "x-add": "0", "x-remove": "0"}}),
    ("redirect", {"path": "/moved/here?x=1"}),
    ("direct response", {"path": "/direct"}),
    ("timeout", {"path": "/slow?delay=1"}),
    ("retried until it is given up", {"path": "/retried?status=503"}),
    ("an error of the origin", {"path": "/reviews/0?status=500"}),
    ("404 of the origin", {"path": "/reviews/0?status=404"}),
    ("a body", {"path": "/reviews/0", "method": "POST", "body": "hello"}),
    ("an empty body", {"path": "/reviews/0", "method": "POST", "body": ""}),
    ("chunked answer", {"path": "/reviews/0?chunked&size=5000"}),
    ("large answer", {"path": "/reviews/0?size=300000"}),
    ("HEAD", {"path": "/reviews/0", "method": "HEAD"}),
    ("204", {"path": "/reviews/0?status=204"}),
    ("304", {"path": "/reviews/0?status=304"}),
    ("short host name with port", {"path": "/reviews/0", "host": "reviews:9080"}),
    ("full host name", {"path": "/reviews/0", "host": HOST}),
    ("host name in capitals", {"path": "/reviews/0", "host": "REVIEWS:9080"}),
    ("unknown host", {"path": "/reviews/0", "host": "nowhere"}),
]

# Response fields that must agree; others are the proxy's own (server, date, its timings).
FIELDS = ("content-type", "content-length", "transfer-encoding", "location", "x-back", "x-more", "x-origin", "connection")
# Request fields as the origin gets them: all but those with a value of its own each time.
VARYING = ("x-request-id", "x-envoy-expected-rq-timeout-ms")


def seen_by_both(answer):
    """The part of an answer that has to be equal."""
    out = {"status": answer.status, "fields": {f: answer.all(f) for f in FIELDS if answer.all(f)}}
    if answer.header("content-type") == "application/json" and answer.body.startswith(b"{"):
        said = answer.json()
        said["headers"] = sorted((k.lower(), "*" if k.lower() in VARYING else v) for k, v in said["headers"])
        out["origin got"] = said
        # Its length has the numbers in it that differ.
        out["fields"].pop("content-length", None)
    else:
        out["body"] = answer.text()
    return out


class EnvoyPeerTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        harness.envoy()  # first, since without it nothing here means anything
        cls.mesh = harness.Mesh(cls.env)
        # Three callers, alike but for the proxy.
        cls.weft, cls.delta, cls.sotw = (cls.mesh.add("productpage", v) for v in ("weft", "delta", "sotw"))
        # And the callees: one behind each.
        cls.v1, cls.v2 = cls.mesh.add("reviews", "v1"), cls.mesh.add("reviews", "v2")
        cls.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2"]))
        cls.mesh.route("reviews.yaml", RULES)
        for w in (cls.v1, cls.v2):
            w.start_origin()
        cls.mesh.start_controller()
        cls.weft.start_proxy()
        cls.v1.start_proxy()
        cls.delta.start_envoy(wait=False)
        cls.sotw.start_envoy("GRPC", wait=False)
        cls.v2.start_envoy(wait=False)
        for w in (cls.delta, cls.sotw, cls.v2):
            cls.env.wait_ready(w.proxy.child, w.proxy.is_ready, 40)
        cls.mesh.wait_synced(seconds=30)
        cls.callers = {"weft-proxy": cls.weft, "Envoy, delta": cls.delta, "Envoy, state of the world": cls.sotw}

    def nobody_refused(self):
        connected = {}
        for p in self.mesh.controller.syncz():
            connected[p["proxy"].split("~")[2].split(".")[0]] = p
            for t in p["types"]:
                self.assertEqual(t["nacks"], 0, "%s refused a %s: %s" % (p["proxy"], t["type"], t["refused"]))
                self.assertEqual(t["missing"], [], "%s asked for what there is not" % p["proxy"])
        self.assertEqual(set(connected), {w.name for w in self.mesh.workloads})
        self.assertEqual(self.mesh.controller.metric("weft_xds_nacks_total"), 0)
        return connected

    def ask_all(self, way, request):
        """The same request through each caller's sidecar: name -> what has to be equal."""
        request = dict(request)
        out = {}
        for name, w in self.callers.items():
            kwargs = dict(request)
            kwargs.setdefault("host", "reviews:9080")
            path = kwargs.pop("path")
            if way == "forward proxy":
                # The program dials the host that it names.
                path = "http://%s%s" % (kwargs["host"], path)
                address = w.http_proxy
            elif way == "service listener":
                address = w.service_listener("reviews")
            else:
                address = w.by_port
            answer = ask(address, path, **kwargs)
            part = seen_by_both(answer)
            # x-forwarded-for and the like name the caller: each has its own addresses.
            text = json.dumps(part).replace(w.sidecar, "SIDECAR").replace(w.outbound, "OUTBOUND")
            out[name] = json.loads(text)
        return out

    def test_same_answers(self):
        for way in ("by port", "service listener", "forward proxy"):
            for what, request in REQUESTS:
                with self.subTest(way=way, what=what):
                    if way == "service listener" and what == "unknown host":
                        continue  # takes every name
                    got = self.ask_all(way, request)
                    for other in ("Envoy, delta", "Envoy, state of the world"):
                        self.assertEqual(got["weft-proxy"], got[other], other)

    def test_the_answers_are_right(self):
        """Equal could be equally wrong."""
        expected = {"by header": "reviews-v2-1", "exact path": "reviews-v2-1", "exact path, longer": "reviews-v1-1",
                    "regular expression": "reviews-v2-1", "regular expression, only a part": "reviews-v1-1",
                    "case ignored": "reviews-v2-1", "query parameter": "reviews-v2-1", "method": "reviews-v2-1",
                    "without a header": "reviews-v2-1", "without a header, which is there": "reviews-v1-1",
                    "the rest": "reviews-v1-1"}
        for what, request in REQUESTS:
            if what in expected:
                for name, got in self.ask_all("by port", request).items():
                    self.assertEqual(got["origin got"]["name"], expected[what], (what, name))
        for what, status in (("redirect", 302), ("direct response", 418), ("timeout", 504), ("unknown host", 404),
                             ("retried until it is given up", 503)):
            for name, got in self.ask_all("by port", dict(REQUESTS)[what]).items():
                self.assertEqual(got["status"], status, (what, name))

    def test_same_resources(self):
        """What a proxy says that it has: names equal, whoever it is."""
        self.mesh.wait_synced()
        for kind in ("cluster", "route", "endpoint"):
            # Envoy also lists routes that stand in a listener and endpoints that stand in a cluster; they are no resources.
            names = {name: {n for n in w.proxy.resources(kind) if kind == "cluster" or n not in ("inbound|9080||", "xds-grpc")}
                     for name, w in self.callers.items()}
            self.assertTrue(names["weft-proxy"], kind)
            for name in names:
                self.assertEqual(names["weft-proxy"], names[name], (kind, name))
        def domains(w):
            return {v["name"]: sorted(v["domains"]) for v in w.proxy.resources("route")["9080"]["virtual_hosts"]}
        for name, w in self.callers.items():
            self.assertEqual(domains(self.weft), domains(w), name)

    def test_zz_all_follow_changes(self):
        """Last by name, since it changes the files."""
        def served(w):
            answer = ask(w.by_port, "/reviews/0", host="reviews:9080")
            return answer.header("x-origin") if answer.status == 200 else answer.status

        load = [self.env.start_load(w.by_port, "/reviews/0", "reviews:9080", connections=2, rate=60) for w in self.callers.values()]
        for i in range(8):
            version = "v1" if i % 2 else "v2"
            self.mesh.route("reviews.yaml", weights("reviews", **{version: 100}))
            for name, w in self.callers.items():
                wait_until("%s follows to %s" % (name, version), lambda: served(w) == "reviews-%s-1" % version)
            # A subset's cluster comes and goes, with its endpoints.
            self.mesh.route("rules.yaml", destination_rule("reviews", ["v1", "v2"] + ["x%d" % i] * (i % 2)))
        self.mesh.wait_synced()
        for l in load:
            l.stop()
            self.assertEqual(l.failed, 0, str(l))
        for name, w in self.callers.items():
            wait_until("%s has the last cluster" % name, lambda: "outbound|9080|x7|" + HOST in w.proxy.resources("cluster"))
        # A file that is broken changes nothing anywhere.
        self.mesh.route("reviews.yaml", "no: [resource\n")
        wait_until("the error", self.mesh.controller.errors)
        for w in self.callers.values():
            self.assertEqual(served(w), "reviews-v1-1")
        # No rules at all: both versions, half each.
        (self.mesh.routing / "reviews.yaml").unlink()
        for name, w in self.callers.items():
            wait_until(name, lambda: {served(w) for _ in range(10)} == {"reviews-v1-1", "reviews-v2-1"})
        # A workload leaves.
        (self.mesh.registry / "workload.reviews-v2-1.yaml").unlink()
        for name, w in self.callers.items():
            wait_until(name, lambda: {served(w) for _ in range(10)} == {"reviews-v1-1"})
        self.mesh.wait_synced(*self.callers.values())
        connected = self.nobody_refused()
        self.assertEqual({n: p["protocol"] for n, p in connected.items() if n.startswith("productpage")},
                         {self.weft.name: "DELTA", self.delta.name: "DELTA", self.sotw.name: "STATE_OF_THE_WORLD"})

    def tearDown(self):
        super().tearDown()
        self.nobody_refused()


if __name__ == "__main__":
    harness.main()
