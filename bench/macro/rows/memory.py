"""Resident memory: idle, and for each idle connection, stream and cluster. No load, and no turns: a figure is what VmRSS of all
processes of a proxy grew by, divided by the count, on a proxy that was started for it."""

import dataclasses

import harness
import peers as peers_module
from harness import BenchError, say
from idle import Sockets, settled
from rows.base import Goal, Line, Row, Shape

SIZE = 1024


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is idle: so many of it, on a proxy of that shape. among: the peers that can do it; weft-proxy always can."""

    name: str
    goal: float
    shape: Shape
    count: int
    among: tuple = ("envoy", "haproxy", "nginx")
    unit: str = "KB"


H2 = ("envoy", "haproxy")
ENVOYS = ("envoy",)  # who read clusters
KINDS = [
    Kind("idle", 10.0, Shape(), 1, unit="MB"),
    Kind("h1-fresh", 2.0, Shape(), 2000),
    Kind("h1-used", 2.0, Shape(), 2000),
    Kind("h2-used", 18.0, Shape(up="h2"), 1000, H2),
    Kind("grpc-stream", 8.0, Shape(up="h2"), 1000, H2),
    Kind("websocket", 8.0, Shape(websocket=True), 1000, H2),
    Kind("tls", 14.0, Shape(down_tls=True, down_mutual=False), 1000, H2),
    Kind("mtls", 14.0, Shape(down_tls=True), 1000, H2),
    Kind("cluster", 2.0, Shape(workers=2, clusters=10000), 10000, ENVOYS),
]
TITLES = {
    "idle": "nothing open", "h1-fresh": "an HTTP/1 connection that sent nothing", "h1-used": "one after a request",
    "h2-used": "an HTTP/2 connection after a request", "grpc-stream": "an open gRPC stream, 100 on each of 10 connections",
    "websocket": "an open WebSocket, both its connections", "tls": "a TLS connection beyond a plain one",
    "mtls": "one with a client's certificate", "cluster": "a static cluster, 10,000 of them, 2 workers"}


class Memory(Row):
    name = "memory"
    title = "resident memory: idle, for each idle connection, stream and static cluster"
    goals = [Goal(k.goal) for k in KINDS]
    secure = True
    kinds = KINDS

    def run(self, bench):
        lines, results = [], self.results(bench)
        bench.start_origin(SIZE)
        kb = {k.name: {} for k in self.kinds}
        for r in results:
            if not r.peer.find():
                r.failure = r.peer.missing
                print("%-10s %s" % (r.name, r.failure))
                continue
            r.version = r.peer.version()
            for kind in self.kinds:
                if r.name in peers_module.NAMES and r.name not in (*kind.among, "weft-proxy"):
                    continue
                try:
                    kb[kind.name][r.name] = self.weigh(bench, r.peer, kind)
                    say("memory  %-12s %-10s %8.2f %s" % (kind.name, r.name, kb[kind.name][r.name], kind.unit))
                except BenchError as e:
                    r.failure = "%s: %s" % (kind.name, e)
                    say("error: %s, %s" % (r.name, r.failure))
        for kind in self.kinds:
            line = Line("memory " + kind.name, kind.unit, "%.2f", [Goal(kind.goal)], kb[kind.name], {})
            lines.append(line)
        head = ["idle", *(r.name for r in results), "goal, at most", "unit", "what"]
        print(harness.table(head, [[k.name, *("%.2f" % kb[k.name][r.name] if r.name in kb[k.name] else "-" for r in results),
                                    "%g" % k.goal, k.unit, TITLES[k.name]] for k in self.kinds]))
        return results, lines

    def peers(self, bench):
        return [p for p in super().peers(bench) if p.name != "relay"]

    def weigh(self, bench, peer, kind):
        if kind.name == "cluster":
            empty = self.weigh(bench, peer, dataclasses.replace(kind, name="idle", shape=Shape(workers=2)))
            return (self.weigh(bench, peer, dataclasses.replace(kind, name="idle")) - empty) * 1024 / kind.count
        if kind.name in ("tls", "mtls"):
            plain = dataclasses.replace(kind, name="h1-fresh", shape=Shape())
            return self.started(bench, peer, kind) - self.started(bench, peer, plain)
        return self.started(bench, peer, kind)

    def started(self, bench, peer, kind):
        peer.shape = dataclasses.replace(kind.shape, pki=bench.pki)
        peer.connections = kind.count + 64
        peer.start(bench.supervisor, bench.origin_port, bench.proxy_core)
        try:
            return self.one(bench, peer, kind)
        except OSError as e:
            raise BenchError(str(e))
        finally:
            bench.supervisor.end(peer.child)

    def one(self, bench, peer, kind):
        before = settled(peer.pids())
        if kind.name == "idle":
            return before / 1024
        streams = 100 if kind.name == "grpc-stream" else 1
        tls = bench.pki.client_context() if kind.shape.down_tls else None
        with Sockets(peer.port, kind.count // streams, tls, bench.pki.server.name) as sockets:
            if kind.name == "h1-used":
                sockets.use(SIZE)
            elif kind.name == "websocket":
                sockets.upgrade()
            elif kind.name in ("h2-used", "grpc-stream"):
                sockets.begin_h2()
                sockets.use_h2() if streams == 1 else sockets.open_streams(streams)
            return (settled(peer.pids()) - before) / kind.count


ROWS = [Memory()]
