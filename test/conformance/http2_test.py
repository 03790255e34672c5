#!/usr/bin/env python3
"""HTTP/2 cases through the real weft-proxy to an HTTP/1 origin: what a hostile client can make of the way down, and what a hostile
origin can make of the way up.

The cases are in http2/*.case (http2_cases.py says how they are written); the HTTP/1 corpus's answers (http1/responses.case) are
replayed to an HTTP/2 client as well. The origin and the desync detector are those of the HTTP/1 corpus. After each case a probe on the
same connection, where it stays open, and a request of somebody else must get their own answers.

    test/conformance/http2_test.py                      all
    WEFT_CASES=cookie test/conformance/http2_test.py    those with "cookie" in their names
"""

import os
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import harness  # noqa: E402
import http1_cases  # noqa: E402
import http2_cases  # noqa: E402
from base import split_address  # noqa: E402
from bootstraps import bootstrap, cluster, listener  # noqa: E402
from http1_cases import Bad, Partial  # noqa: E402
from http2_cases import RawClient  # noqa: E402
from recording import RecordingOrigin  # noqa: E402

BOUND = float(os.environ.get("WEFT_BOUND", "20"))  # seconds; nothing takes long unless it is broken

MANAGER = {"generate_request_id": False, "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]}
LISTENERS = {
    "main": {"allow_connect": True},
    # A malformed message costs its stream and not the connection.
    "stream": {"allow_connect": True, "override_stream_error_on_invalid_http_message": True},
}


class Http2Test(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        ip = net.ip("0.1")
        cls.origin = RecordingOrigin(ip)
        cls.env.cleanups.append(cls.origin.close)
        cls.addresses, listeners = {}, []
        for name, options in LISTENERS.items():
            at = net.address()
            cls.addresses[name] = split_address(at)
            made = listener(name, at, "origin", {**MANAGER, "http2_protocol_options": options})
            routes = made["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
            routes.insert(0, {"match": {"connect_matcher": {}}, "route": {"cluster": "origin"}})
            listeners.append(made)
        options = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"max_response_headers_kb": 16, "max_headers_count": 40},
            "explicit_http_config": {"http_protocol_options": {}}}}
        admin = net.address()
        cls.proxy = cls.env.start_proxy("proxy", bootstrap(admin, listeners, [
            cluster("origin", "%s:%d" % (ip, cls.origin.port), typed_extension_protocol_options=options)]), admin)
        cls.number = 0

    def exchange(self, case, pieces):
        """Runs one case; returns the list of what is wrong."""
        wrong = []
        self.origin.begin(case.answers)
        client = RawClient(self.addresses[case.listener], BOUND)
        try:
            stream = client.send(case.head, case.data, case.trailers, case.raw, case.end, pieces)
            if case.expect[-1] == "tunnel":
                s = client.streams[stream]
                client.until(lambda: s.final is not None and all(t.lower() in s.text().lower() for t in case.answer_has))
                got = [dict(h)[b":status"].decode() for h in s.heads] + ["tunnel" if not s.ended and s.reset is None else "ended"]
            else:
                client.wait(stream)
                got = client.outcome(stream)
                got += self.after(client, wrong)
            if not any(fits(e, got) for e in [case.expect, *case.or_else]):
                wrong.append("expected %s, got %s: %r" % (" ".join(case.expect), " ".join(got), client.streams[stream].text()[:300]))
            text = client.streams[stream].text().lower()
            wrong += ["the answer lacks %r: %r" % (t, text[:500]) for t in case.answer_has if t.lower() not in text]
            wrong += ["the answer has %r" % t for t in case.answer_lacks if t.lower() in text]
        except Bad as e:
            wrong.append("the answer is no HTTP/2: %s" % e)
        except OSError as e:
            wrong.append("%s; so far %r" % (e, [s.text()[:200] for s in client.streams.values()]))
        finally:
            client.close()
        sees = case.sees
        if sees is None:
            final = [w for w in case.expect if w.isdigit() and (int(w) >= 200)]
            sees = ["*"] if final and final[0][0] not in "45" else []
        wrong += self.origin.judge(sees, case.origin_has, case.origin_lacks, BOUND)
        if case.victim:
            wrong += self.victim()
        return wrong

    def next_number(self):
        Http2Test.number += 1
        return self.number

    def after(self, client, wrong):
        """A probe on the same connection: `open` when it is answered; a wrong answer is desync."""
        if client.closed or client.goaway:
            client.until(lambda: False)
            return ["close"]
        target = b"/probe-%d" % self.next_number()
        s = client.wait(client.send(http2_cases.pseudo(b"GET", target, b"probe")))
        if not s.ended:
            client.until(lambda: False)
            return (["goaway"] if client.goaway else []) + ["close"]
        if s.final[b":status"] != b"200" or bytes(s.body) != b"GET " + target:
            wrong.append("desync: the probe got %r" % s.text()[:300])
        return ["open"]

    def victim(self):
        """Somebody else: whatever the case did to pooled connections, this request gets its own answer."""
        target = b"/victim-%d" % self.next_number()
        self.origin.begin([])
        client = RawClient(self.addresses["main"], BOUND)
        try:
            s = client.wait(client.send(http2_cases.pseudo(b"GET", target, b"victim")))
            if not s.ended or s.final[b":status"] != b"200" or bytes(s.body) != b"GET " + target:
                return ["somebody else got %r" % s.text()[:300]]
        except (Bad, OSError) as e:
            return ["somebody else: %s" % e]
        finally:
            client.close()
        return []

    def run_all(self, cases):
        wanted = os.environ.get("WEFT_CASES", "")
        begun, runs, failed = time.monotonic(), 0, []
        for case in cases:
            if wanted not in case.name:
                continue
            for pieces in ([False, True] if case.pieces else [False]):
                runs += 1
                wrong = self.exchange(case, pieces)
                if wrong:
                    failed.append("%s (%s; %s%s):\n      %s" % (case.name, case.where, case.clause, ", in pieces" if pieces else "",
                                                             "\n      ".join(wrong)))
                self.assertTrue(self.proxy.child.alive(), "weft-proxy died at %s\n%s" % (case.name, self.proxy.child.text()[-3000:]))
        print("%d cases, %d runs, %d failed, %.1f s" % (len(cases), runs, len(failed), time.monotonic() - begun))
        self.assertFalse(failed, "\n  " + "\n  ".join(failed))
        return wanted

    def test_corpus(self):
        cases = http2_cases.load(HERE / "http2")
        if not self.run_all(cases):
            self.assertGreaterEqual(len(cases), 100)

    def test_answers_of_the_http1_corpus(self):
        """Every answer of http1/responses.case to a request that HTTP/2 can make as well."""
        cases = [c for c in map(http2_case, http1_cases.load(HERE / "http1")) if c is not None]
        if not self.run_all(cases):
            self.assertGreaterEqual(len(cases), 70)


def fits(expect, got):
    """Whether an outcome is the one of the case. The head of an answer that is cut off at once may be lost with it, and informational
    heads that nobody has read yet are not piled up."""
    def short(words):
        return [w for i, w in enumerate(words) if not (w.startswith("1") and i > 0 and words[i - 1] == w)]
    cut = [w for w in expect if w != "cut" and not w.isdigit()]
    return short(got) == short(expect) or ("cut" in expect and got == ["reset"] + cut)


def http2_case(old):
    """The case of the HTTP/1 corpus as one of HTTP/2; None when it is about something else than the origin's answer."""
    if not old.where.startswith("responses.case") or old.listener != "main" or old.half_close or len(old.answers) > 1:
        return None
    try:
        request, end = http1_cases.parse_request(old.send, 0)
    except (Bad, Partial):
        return None
    if end != len(old.send) or old.expect[-1] == "tunnel":
        return None
    case = http2_cases.Case("h1-" + old.name, old.where)
    case.clause = old.clause
    fields = [(n, v) for n, v in request.fields if n not in (b"host", b"content-length", b"transfer-encoding", b"connection")]
    case.head = http2_cases.pseudo(request.method, request.target) + fields
    if request.body:
        case.data = [request.body]
    case.answers, case.sees = old.answers, old.sees
    case.origin_has, case.origin_lacks = old.origin_has, old.origin_lacks
    # Names are lower case here, there is no reason phrase, and no field that frames.
    case.answer_lacks = [t for t in old.answer_lacks if not t.lower().startswith((b"content-length", b"transfer-encoding", b"101"))]
    case.answer_has = [t for t in old.answer_has if not t.startswith(b"HTTP/1.1") and b"transfer-encoding" not in t.lower()
                       and b"connection" not in t.lower()]
    case.expect = []
    for word in old.expect[:-1]:  # a cut answer shows its status here, and its stream is reset
        case.expect += [re.match(rb"HTTP/1\.. (\d+)", old.answers[0][0][1]).group(1).decode(), "cut"] if word == "cut" else [word]
    case.expect.append("open")
    case.pieces = False
    return case


if __name__ == "__main__":
    harness.main()
