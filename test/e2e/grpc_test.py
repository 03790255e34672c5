#!/usr/bin/env python3
"""gRPC through the real proxy: a grpcio client and server (tools/setup --peers) on both sides of it."""

import base64
import concurrent.futures
import glob
import os
import struct
import sys
import threading
import time
from pathlib import Path

import harness
from harness import Client, wait_until
from base import Trouble
from bootstraps import bootstrap, cluster, listener
from http2 import CACHE

for _site in glob.glob(CACHE + "/python/xds-protos==*/lib/python3*/site-packages"):
    sys.path.append(_site)
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
try:
    import grpc
except ImportError as error:
    raise Trouble("this test needs grpcio: run `tools/setup --peers`") from error

SERVICE = "test.Echo"


class Service(grpc.GenericRpcHandler):
    """Messages are bytes. What the server does is in the method's name."""

    def __init__(self):
        self.cancelled = threading.Event()
        self.flaky = 0

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        handler = getattr(self, name, None)
        if handler is None:
            return None
        kind = {"Collect": grpc.stream_unary_rpc_method_handler, "Spread": grpc.unary_stream_rpc_method_handler,
                "Chat": grpc.stream_stream_rpc_method_handler, "Hang": grpc.unary_stream_rpc_method_handler}
        return kind.get(name, grpc.unary_unary_rpc_method_handler)(handler)

    def Echo(self, request, context):
        context.set_trailing_metadata((("x-trailer", "t"),))
        return request

    def Fail(self, request, context):
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much: 100%\n")

    def Flaky(self, request, context):
        self.flaky += 1
        if self.flaky % 2 == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return request

    def Slow(self, request, context):
        time.sleep(float(request.decode()))  # the passing of time is the point
        return request

    def Collect(self, requests, context):
        return b",".join(requests)

    def Spread(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def Chat(self, requests, context):
        for r in requests:
            yield r + r
        yield b"end"

    def Hang(self, request, context):
        if not context.add_callback(self.cancelled.set):
            self.cancelled.set()  # it was over before
        yield b"here"
        while context.is_active():
            if self.cancelled.wait(0.05):
                return


def serve(at, service):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64), handlers=(service,), options=[("grpc.so_reuseport", 0)])
    if not server.add_insecure_port(at):
        raise Trouble("cannot listen on " + at)
    server.start()
    return server


class GrpcTest(harness.TestCase):
    @classmethod
    def prepare(cls):
        net = cls.env.network
        cls.at, cls.admin, cls.server_at, nobody = (net.address() for _ in range(4))
        cls.service = Service()
        cls.log = str(Path(cls.env.folder) / "access.log")
        manager = {"access_log": [{"name": "f", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": cls.log,
            "log_format": {"text_format_source": {"inline_string":
                           "%REQ(:PATH)% %RESPONSE_CODE% %GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%\n"}}}}]}
        main = listener("main", cls.at, "up", manager)
        route = main["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
        main["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"].insert(0, {
            "name": "envoy.filters.http.grpc_web", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"}})
        path = lambda name: {"path": "/%s/%s" % (SERVICE, name)}
        route[:0] = [
            {"match": path("Flaky"), "route": {"cluster": "up", "retry_policy": {"retry_on": "unavailable", "num_retries": 2}}},
            {"match": path("Slow"), "route": {"cluster": "up", "max_stream_duration": {"grpc_timeout_header_max": "0.3s"}}},
            {"match": path("Nobody"), "route": {"cluster": "nobody"}},
            {"match": path("Nowhere"), "direct_response": {"status": 404, "body": {"inline_string": "no such\nthing"}}},
            {"match": {"prefix": "/%s/" % SERVICE}, "route": {"cluster": "up", "timeout": "0s"}}]
        cls.proxy = cls.env.start_proxy("proxy", bootstrap(cls.admin, [main], [
            cluster("up", cls.server_at, http2=True), cluster("nobody", nobody, http2=True)]), cls.admin)
        cls.server = serve(cls.server_at, cls.service)  # behind the proxy's start: gRPC's threads do not like a fork
        cls.channel = grpc.insecure_channel(cls.at)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.server.stop(None)
        super().tearDownClass()

    def unary(self, name, request=b"m", timeout=20, channel=None):
        return (channel or self.channel).unary_unary("/%s/%s" % (SERVICE, name)).with_call(request, timeout=timeout)

    def fails(self, code, name, request=b"m", timeout=20):
        with self.assertRaises(grpc.RpcError) as caught:
            self.unary(name, request, timeout)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception

    def test_unary(self):
        for size in (0, 1, 100_000, 3_000_000):
            answer, call = self.unary("Echo", b"x" * size)
            self.assertEqual(len(answer), size)
            self.assertEqual(call.code(), grpc.StatusCode.OK)
            self.assertIn(("x-trailer", "t"), [(m.key, m.value) for m in call.trailing_metadata()])

    def test_streams(self):
        path = "/%s/" % SERVICE
        self.assertEqual(self.channel.stream_unary(path + "Collect")(iter([b"a", b"b", b"c"]), timeout=20), b"a,b,c")
        self.assertEqual(len(list(self.channel.unary_stream(path + "Spread")(b"500", timeout=20))), 500)
        answers = self.channel.stream_stream(path + "Chat")(iter([b"a", b"b"]), timeout=20)
        self.assertEqual(list(answers), [b"aa", b"bb", b"end"], "half-closed, the server still answers")

    def test_both_ways_in_turn(self):
        """Each answer is awaited before the next message is sent: nothing is held back."""
        turn = threading.Semaphore(0)
        got = []

        def questions():
            for i in range(20):
                yield b"%d" % i
                if not turn.acquire(timeout=20):
                    return

        for answer in self.channel.stream_stream("/%s/Chat" % SERVICE)(questions(), timeout=20):
            got.append(answer)
            turn.release()
        self.assertEqual(got, [b"%d%d" % (i, i) for i in range(20)] + [b"end"])

    def test_statuses(self):
        error = self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "Fail")
        self.assertEqual(error.details(), "too much: 100%\n")
        self.fails(grpc.StatusCode.UNIMPLEMENTED, "Unknown")
        # What the proxy answers by itself.
        error = self.fails(grpc.StatusCode.UNIMPLEMENTED, "Nowhere")
        self.assertEqual(error.details(), "no such\nthing")
        self.fails(grpc.StatusCode.UNAVAILABLE, "Nobody")
        wait_until("the log's line", lambda: "/test.Echo/Nobody 200 Unavailable UNAVAILABLE 14\n" in Path(self.log).read_text(), 20)
        self.assertIn("/test.Echo/Fail 200 ResourceExhausted RESOURCE_EXHAUSTED 8\n", Path(self.log).read_text())

    def test_deadlines(self):
        self.fails(grpc.StatusCode.DEADLINE_EXCEEDED, "Slow", b"2", timeout=0.5)
        # grpc_timeout_header_max: the proxy ends it long before the client does.
        begin = time.monotonic()
        error = self.fails(grpc.StatusCode.DEADLINE_EXCEEDED, "Slow", b"3", timeout=60)
        self.assertIn("duration timeout", error.details())
        self.assertLess(time.monotonic() - begin, 30)

    def test_cancel(self):
        self.service.cancelled.clear()
        answers = self.channel.unary_stream("/%s/Hang" % SERVICE)(b"m", timeout=60)
        self.assertEqual(next(answers), b"here")
        answers.cancel()
        self.assertTrue(self.service.cancelled.wait(20), "the server hears of the cancellation")

    def test_a_retry_by_status(self):
        for _ in range(3):
            self.assertEqual(self.unary("Flaky", b"again")[0], b"again")
        self.assertGreaterEqual(self.proxy.stat("cluster.up.upstream_rq_retry"), 3)

    def test_200_calls_at_once(self):
        call = self.channel.unary_unary("/%s/Echo" % SERVICE)
        calls = [call.future(b"%d" % i, timeout=20) for i in range(200)]
        self.assertEqual([c.result() for c in calls], [b"%d" % i for i in range(200)])

    def test_metrics(self):
        before = {n: self.proxy.stat("cluster.up." + n) for n in ("grpc_total", "grpc_success", "grpc_failure", "grpc_8")}
        self.unary("Echo")
        self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "Fail")
        want = {"grpc_total": 2, "grpc_success": 1, "grpc_failure": 1, "grpc_8": 1}
        wait_until("the counters", lambda: all(self.proxy.stat("cluster.up." + n) - before[n] == d for n, d in want.items()), 20)

    def web(self, name, message, type_="application/grpc-web+proto", headers=(), body=None):
        """One gRPC-Web call by hand: (the answer, its messages, its trailers as a dictionary)."""
        if body is None:
            body = struct.pack(">BI", 0, len(message)) + message
            if "text" in type_:
                body = base64.b64encode(body)
        with Client(self.at, 20) as c:
            answer = c.ask("/%s/%s" % (SERVICE, name), "POST", [("content-type", type_), *headers], body)
        data = bytes(answer.body)
        if "grpc-web-text" in answer.header("content-type"):
            data = b"".join(base64.b64decode(data[i:i + 4]) for i in range(0, len(data), 4))
        messages, trailers = [], {}
        while data and answer.status == 200:
            flag, size = struct.unpack(">BI", data[:5])
            frame, data = data[5:5 + size], data[5 + size:]
            if flag & 0x80:
                trailers = dict(line.split(": ", 1) for line in frame.decode().split("\r\n") if line)
            else:
                messages.append(frame)
        return answer, messages, trailers

    def test_grpc_web(self):
        for type_ in ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"):
            for message in (b"", b"hello", b"x" * 200_000):
                answer, messages, trailers = self.web("Echo", message, type_)
                self.assertEqual(answer.status, 200)
                self.assertIn("application/grpc-web-text+proto" if "text" in type_ else "application/grpc-web+proto",
                              answer.header("content-type"))
                self.assertEqual(messages, [message])
                self.assertEqual((trailers["grpc-status"], trailers["x-trailer"]), ("0", "t"))
        _, messages, trailers = self.web("Spread", b"50", "application/grpc-web-text")
        self.assertEqual((messages, trailers["grpc-status"]), ([b"%d" % i for i in range(50)], "0"))
        # Statuses without messages stand in the head, the proxy's own too.
        for name, status in (("Fail", "8"), ("Nobody", "14")):
            answer, messages, trailers = self.web(name, b"m")
            self.assertEqual((messages, trailers.get("grpc-status") or answer.header("grpc-status")), ([], status))
            self.assertIn("application/grpc-web+proto", answer.header("content-type"))
        # Each message may be encoded for itself.
        frame = struct.pack(">BI", 0, 4) + b"four"
        pieces = base64.b64encode(frame[:4]) + base64.b64encode(frame[4:])
        self.assertEqual(self.web("Echo", b"", "application/grpc-web-text", body=pieces)[1], [b"four"])
        answer = self.web("Echo", b"", "application/grpc-web-text", body=b"no base64!")[0]
        self.assertEqual(answer.status, 400)
        # What is no gRPC-Web call is left alone.
        self.assertEqual(self.unary("Echo")[0], b"m")

    def test_the_server_restarts(self):
        self.assertEqual(self.unary("Echo")[0], b"m")
        self.server.stop(0).wait(20)
        self.fails(grpc.StatusCode.UNAVAILABLE, "Echo")
        type(self).server = serve(self.server_at, self.service)

        def back():
            try:
                return self.unary("Echo", timeout=5)[0] == b"m"
            except grpc.RpcError:
                return False

        wait_until("the server's return", back, 20)
        for _ in range(20):
            self.assertEqual(self.unary("Echo")[0], b"m")


if __name__ == "__main__":
    harness.main()
