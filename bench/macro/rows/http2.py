"""Rows whose load is HTTP/2 by h2load of Debian's nghttp2-client: small answers, gRPC calls, large bodies."""

import re
import shutil

import harness
from harness import BenchError
from rows.base import Goal, Row, Shape

PEERS = ("envoy", "haproxy", "weft-proxy")  # nginx speaks no HTTP/2 to an origin
FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s)\b")
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def parse(output, size):
    """h2load's words as //bench/macro:load's JSON. size: of an answer's DATA in all."""
    def number(pattern):
        found = re.search(pattern, output)
        if not found:
            raise BenchError("h2load printed something unknown:\n%s" % output[-1000:])
        return int(found.group(1))

    finished = FINISHED.search(output)
    started, done = number(r"requests: (\d+) total"), number(r"(\d+) succeeded")
    good, data = number(r"status codes: (\d+) 2xx"), number(r"\((\d+)\) data")
    wall = float(finished.group(1)) * SECONDS[finished.group(2)] if finished else 0.0
    wrong = started - min(done, good) + (data != good * size)
    first = "" if not wrong else "of %d requests %d succeeded, %d with 2xx; %d bytes of DATA, expected %d" % (
        started, done, good, data, good * size)
    return {"requests": good, "wall_s": wall, "requests_per_s": good / wall if wall else 0.0, "errors": {"total": wrong, "first": first}}


class Http2(Row):
    name = "h2"
    title = "HTTP/2 to HTTP/2, 4 connections x 16 streams, 1 KB answers"
    among = PEERS
    goals = [Goal(0.5, "envoy")]
    shape = Shape(up="h2")
    connections, streams = 4, 16
    probe = 2000     # requests that tell how fast a peer is
    flags = []       # further ones of h2load
    extra_bytes = 0  # of DATA, beside the body

    def __init__(self):
        self.pace = {}  # requests/s by peer, as last seen

    def answer(self, bench):
        return (self.size or bench.args.size) + self.extra_bytes

    def h2load(self, bench, peer, requests):
        argv = ["h2load", "-c", self.connections, "-m", self.streams, "-n", requests, *self.flags,
                "http://127.0.0.1:%d%s" % (peer.port, self.path())]
        return parse(harness.run_tool(bench.supervisor, "h2load", argv, bench.load_core, 120), self.answer(bench))

    def path(self):
        return "/"

    def requests_for(self, peer, seconds):
        return max(self.connections * self.streams, int(self.pace[peer.name] * seconds))

    def turn(self, bench, peer):
        if peer.name not in self.pace:
            self.pace[peer.name] = self.h2load(bench, peer, self.probe)["requests_per_s"] or 1.0
        if bench.args.warmup > 0:
            self.h2load(bench, peer, self.requests_for(peer, bench.args.warmup))
        use = harness.Use(peer.pids())
        before = bench.origin_stats()
        turn = self.h2load(bench, peer, self.requests_for(peer, bench.args.seconds))
        turn["watched"] = {"proxy": use.until_now(turn["requests"])}
        turn["origin_requests"] = bench.origin_stats()["requests"] - before["requests"]
        self.pace[peer.name] = turn["requests_per_s"] or 1.0
        return turn

    def run(self, bench):
        if not shutil.which("h2load"):
            raise BenchError("there is no h2load (tools/setup --bench installs it)")
        self.pace = {}
        return super().run(bench)


class Grpc(Http2):
    name = "grpc"
    title = "gRPC unary calls, 4 connections x 16 streams, messages of 100 bytes"
    unit = "us/call"
    size = 100
    extra_bytes = 5  # a message's prefix
    message = b"\0\0\0\0\x64" + b"m" * 100

    def path(self):
        return "/bench.Echo/Call"

    def run(self, bench):
        body = bench.supervisor.folder / "message"
        body.write_bytes(self.message)
        self.flags = ["-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        return super().run(bench)

    def started(self, bench, results):
        """h2load looks at no trailer: one call of each peer by nghttp, which prints them."""
        for r in results:
            if r.failure:
                continue
            said = harness.run_tool(bench.supervisor, "nghttp", [
                "nghttp", "-nv", *self.flags, "http://127.0.0.1:%d%s" % (r.peer.port, self.path())], bench.load_core, 20)
            if "grpc-status: 0" not in said:
                raise BenchError("%s: the answer to a gRPC call has no grpc-status: 0:\n%s" % (r.name, said[-1500:]))


class Bulk(Http2):
    name = "bulk-h2"
    title = "10 MB bodies over HTTP/2, 4 connections x 1 stream"
    unit, form = "CPU ms/GB", "%.0f"
    goals = [Goal(0.6, "envoy")]
    size = 10 << 20
    streams = 1
    probe = 40

    def cost(self, turn):
        return turn["watched"]["proxy"]["cpu_us_per_request"] / 1e3 * (1e9 / self.size)


ROWS = [Http2(), Grpc(), Bulk()]
