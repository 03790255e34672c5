#!/usr/bin/env python3
"""Raw HTTP/1 cases through the real weft-proxy: what the client gets, and what reaches the origin.

The cases are in http1/*.case (http1_cases.py says how they are written). Each is sent once as a whole and once byte by byte.
The origin records every byte; a strict parser that has nothing in common with the proxy's reads them (the desync detector):
bytes that are no request, or requests that the case does not expect, fail the case. After each case a probe on the same
connection, where it stays open, and a request of somebody else on a new one must get their own answers.

    test/conformance/http1_test.py                      all
    WEFT_CASES=chunk test/conformance/http1_test.py     those with "chunk" in their names
"""

import os
import re
import socket
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import harness  # noqa: E402
import http1_cases  # noqa: E402
from http1_cases import Bad, Partial  # noqa: E402
from recording import RecordingOrigin  # noqa: E402

BOUND = float(os.environ.get("WEFT_BOUND", "20"))  # seconds; nothing takes long unless it is broken

BOOTSTRAP = """
node: {id: conformance, cluster: conformance}
admin:
  address: {socket_address: {address: %(ip)s, port_value: %(admin)d}}
static_resources:
  listeners:
%(listeners)s
  clusters:
  - name: origin
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        common_http_protocol_options: {max_response_headers_kb: 16, max_headers_count: 40}
        explicit_http_config: {http_protocol_options: {}}
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: %(ip)s, port_value: %(origin)d}}}
"""

LISTENER = """
  - name: %(name)s
    address: {socket_address: {address: %(ip)s, port_value: %(port)d}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: %(name)s
          generate_request_id: false
          upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}]
%(more)s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route: {cluster: origin}
              - match: {prefix: /no-upgrade}
                route: {cluster: origin, upgrade_configs: [{upgrade_type: websocket, enabled: false}]}
              - match: {prefix: /direct}
                direct_response: {status: 200, body: {inline_string: "direct"}}
              - match: {prefix: /}
                route: {cluster: origin}
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"""

LISTENERS = {
    "main": "",
    "http10": "          http_protocol_options: {accept_http_10: true, default_host_for_http_10: default.example}",
    "http10-hostless": "          http_protocol_options: {accept_http_10: true}",
    "limits": "          max_request_headers_kb: 2\n          common_http_protocol_options: {max_headers_count: 10, max_requests_per_connection: 3}",
}


class ClientSide:
    def __init__(self, address):
        self.socket = socket.create_connection(address, BOUND)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = bytearray()
        self.ended = None  # "eof" or "reset"

    def send(self, data, piecewise):
        try:
            if piecewise:
                for i in range(len(data)):
                    self.socket.sendall(data[i:i + 1])
            else:
                self.socket.sendall(data)
        except OSError:
            pass  # a refusal may come before the last byte is sent

    def more(self):
        """False at the end."""
        if self.ended:
            return False
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise harness.Trouble("nothing came for %g s; so far: %r" % (BOUND, bytes(self.data[-500:])))
        except OSError:
            data, self.ended = b"", "reset"
        if not data:
            self.ended = self.ended or "eof"
            return False
        self.data += data
        return True

    def response(self, at, method):
        while True:
            try:
                return http1_cases.parse_response(bytes(self.data), at, method, self.ended == "eof")
            except Partial:
                if not self.more():
                    try:
                        return http1_cases.parse_response(bytes(self.data), at, method, self.ended == "eof")
                    except Partial:
                        return None, at


def methods_of(data):
    """The methods of the requests that the client meant, as far as they can be told; for framing of answers to HEAD."""
    return [m.group(1) for m in re.finditer(rb"(?:\A|\n)([A-Z]+) [^ \r\n]+ HTTP/1", data)]


class Http1Test(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.ip = net.ip("0.1")
        cls.origin = RecordingOrigin(cls.ip)
        cls.env.cleanups.append(cls.origin.close)
        cls.addresses = {name: (cls.ip, net.port()) for name in LISTENERS}
        listeners = "".join(LISTENER % {"name": name, "ip": cls.ip, "port": cls.addresses[name][1], "more": more}
                            for name, more in LISTENERS.items())
        admin = net.port()
        cls.proxy = cls.env.start_proxy(
            "proxy", BOOTSTRAP % {"ip": cls.ip, "admin": admin, "origin": cls.origin.port, "listeners": listeners},
            "%s:%d" % (cls.ip, admin))
        cls.number = 0

    def exchange(self, case, piecewise):
        """Runs one case; returns the list of what is wrong."""
        wrong = []
        self.origin.begin(case.answers)
        client = ClientSide(self.addresses[case.listener])
        try:
            client.send(case.send, piecewise)
            if case.half_close:
                try:
                    client.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            got, at = [], 0
            methods = methods_of(case.send)
            finals = 0
            for want in case.expect[:-1]:
                if want == "cut":
                    while client.more():
                        pass
                    try:
                        r, _ = http1_cases.parse_response(bytes(client.data), at, methods[min(finals, len(methods) - 1)] if methods else b"",
                                                          client.ended == "eof")
                        wrong.append("a cut answer looks whole: %d %r" % (r.status, r.body[:100]))
                    except Partial:
                        pass
                    at = len(client.data)
                    continue
                method = methods[finals] if finals < len(methods) else b"?"
                r, at = client.response(at, method)
                if r is None:
                    wrong.append("expected %s, the connection ended (%s) after %r" % (want, client.ended, bytes(client.data[-300:])))
                    break
                got.append(r)
                if r.status >= 200 or r.status == 101:
                    finals += 1
                if str(r.status) != want:
                    wrong.append("expected %s, got %d: %r" % (want, r.status, r.body[:200]))
                    break
            if case.expect[-1] == "tunnel":
                while any(t.lower() not in bytes(client.data).lower() for t in case.answer_has) and client.more():
                    pass
                at = len(client.data)
            if not wrong:
                wrong += self.after(case, client, at)
            wrong += self.judge_answers(case, client, at)
        except Bad as e:
            wrong.append("the answer is no HTTP: %s" % e)
        except harness.Trouble as e:
            wrong.append(str(e))
        finally:
            client.socket.close()
        wrong += self.judge_origin(case)
        if case.victim:
            wrong += self.victim(case)
        return wrong

    def after(self, case, client, at):
        end = case.expect[-1]
        if end == "close":
            while client.more():
                pass
            if len(client.data) > at:
                return ["bytes behind the last answer: %r" % bytes(client.data[at:at + 200])]
            return []
        if end == "tunnel":
            return []
        if len(client.data) > at:
            return ["bytes behind the last answer: %r" % bytes(client.data[at:at + 200])]
        Http1Test.number += 1
        target = b"/probe-%d" % self.number
        client.send(b"GET %s HTTP/1.1\r\nHost: probe\r\n\r\n" % target, False)
        r, end_at = client.response(at, b"GET")
        if r is None:
            return ["the connection did not stay open"]
        if r.status != 200 or r.body != b"GET " + target or len(client.data) != end_at:
            return ["desync: the probe got %d %r" % (r.status, bytes(client.data[at:at + 300]))]
        return []

    def judge_answers(self, case, client, end):
        wrong = []
        low = bytes(client.data[:end]).lower()
        wrong += ["the answer lacks %r: %r" % (t, bytes(client.data[:500])) for t in case.answer_has if t.lower() not in low]
        wrong += ["the answer has %r" % t for t in case.answer_lacks if t.lower() in low]
        return wrong

    def judge_origin(self, case):
        sees = case.sees
        if sees is None:
            statuses = [s for s in case.expect[:-1] if s == "cut" or int(s) >= 200 or s == "101"]
            refused = statuses and statuses[0] != "cut" and statuses[0][0] in "45"
            sees = [] if refused else ["*"] * len(statuses)
        return self.origin.judge(sees, case.origin_has, case.origin_lacks, BOUND)

    def victim(self, case):
        """Somebody else: whatever the case did to pooled connections, this request gets its own answer."""
        Http1Test.number += 1
        target = b"/victim-%d" % self.number
        self.origin.begin([])
        client = ClientSide(self.addresses["main"])
        try:
            client.send(b"GET %s HTTP/1.1\r\nHost: victim\r\n\r\n" % target, False)
            r, end = client.response(0, b"GET")
            if r is None or r.status != 200 or r.body != b"GET " + target or len(client.data) != end:
                return ["somebody else got %r" % bytes(client.data[:300])]
        except (Bad, harness.Trouble) as e:
            return ["somebody else: %s" % e]
        finally:
            client.socket.close()
        return []

    def test_corpus(self):
        cases = http1_cases.load(HERE / "http1")
        wanted = os.environ.get("WEFT_CASES", "")
        begun, runs, failed = time.monotonic(), 0, []
        for case in cases:
            if wanted not in case.name:
                continue
            for piecewise in ([False, True] if case.pieces else [False]):
                runs += 1
                wrong = self.exchange(case, piecewise)
                if wrong:
                    failed.append("%s (%s; %s%s):\n      %s" % (case.name, case.where, case.clause, ", byte by byte" if piecewise else "",
                                                             "\n      ".join(wrong)))
                self.assertTrue(self.proxy.child.alive(), "weft-proxy died at %s\n%s" % (case.name, self.proxy.child.text()[-3000:]))
        print("%d cases, %d runs, %d failed, %.1f s" % (len(cases), runs, len(failed), time.monotonic() - begun))
        self.assertFalse(failed, "\n  " + "\n  ".join(failed))
        if not wanted:
            self.assertGreaterEqual(len(cases), 200)


if __name__ == "__main__":
    harness.main()
