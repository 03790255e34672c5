"""Rows whose load is HTTP/1 by //bench/macro:load: a proxy alone, two as sidecars, latency, workers, large bodies, TCP."""

import peers as peers_module
from rows.base import Goal, Row, Shape
from turns import load_turn

BODY = 10 << 20
WEFT = "weft-proxy"


def charge_the_core(turn):
    """Where a peer is several threads on one core, they wait for each other: disturbed is what others used of the core."""
    proxy = turn["watched"]["proxy"]
    proxy["waited"] = max(0.0, 1 - turn["core"]["idle"] - proxy["busy"])
    return turn


class Http1(Row):
    name = "h1"
    title = "HTTP/1.1 keep-alive, 64 connections, 1 KB answers"
    goals = [Goal(1.25, "relay"), Goal(1.0, "haproxy"), Goal(0.35, "envoy")]

    def run(self, bench):
        self.connections_note = bench.args.connections
        return super().run(bench)


class Sidecars(Row):
    name = "mtls-pair"
    title = "two sidecars, mutual TLS and HTTP/2 between them, h1 at both ends: both together"
    goals = [Goal(0.5, "envoy")]
    among = ("envoy", "haproxy", WEFT)
    secure = True
    connections = None  # the command's

    def peers(self, bench):
        return [peers_module.Pair(p, bench.pki) for p in super().peers(bench)]

    def turn(self, bench, peer):
        return charge_the_core(load_turn(bench, peer, connections=self.connections or bench.args.connections))


class SidecarsAlone(Sidecars):
    name = "mtls-pair-1"
    title = "the same pair with 1 connection: no batching"
    goals = [Goal(0.6, "envoy")]
    connections = 1


class Latency(Row):
    name = "latency"
    title = "added latency, p50, at 2,000 requests/s open loop, against going to the origin directly"
    unit, form = "us added", "%.1f"
    goals = [Goal(0.4, "envoy")]
    among = ("relay", "envoy", "haproxy", WEFT)
    rate = 2000

    def peers(self, bench):
        return [peers_module.Direct(), *super().peers(bench)]

    def turn(self, bench, peer):
        return load_turn(bench, peer, rate=self.rate)

    def cost(self, turn):
        return turn["added_us"]

    def measured(self, results):
        direct = results[0].turns
        for r in results:
            r.turns = r.turns[:len(direct)]
            for mine, base in zip(r.turns, direct):
                mine["added_us"] = mine["latency_us"]["p50"] - base["latency_us"]["p50"]


class Workers(Row):
    """On the proxies' core alone two workers can be compared with one fairly: a second core is the load generator's, whose work
    would be in the way. "two cores" has them there all the same, to show what sharing between cores costs; no goal is on it."""

    name = "workers"
    title = "two workers against one, on the same core"
    among = (WEFT,)
    goals = [Goal(1.1, "one worker")]

    def peers(self, bench):
        one, two, apart = ([p for p in super(Workers, self).peers(bench) if p.name == WEFT] for _ in range(3))
        for p in one:
            p.name = "one worker"
        for p in two + apart:
            p.shape = Shape(workers=2)
        for p in apart:
            p.name, p.cores = "two cores", {bench.proxy_core, bench.load_core}
        return one + two + apart

    def turn(self, bench, peer):
        turn = load_turn(bench, peer)
        if not peer.cores:
            return charge_the_core(turn)
        turn["watched"]["proxy"]["waited"] = 0.0  # it waits for the load generator, by design
        return turn


class Bulk(Row):
    name = "bulk-h1"
    title = "10 MB bodies over HTTP/1.1, 4 connections"
    unit, form = "CPU ms/GB", "%.0f"
    goals = [Goal(1.1, "relay"), Goal(1.0, "haproxy")]
    size = BODY
    connections = 4

    def turn(self, bench, peer):
        return load_turn(bench, peer, size=self.size, connections=self.connections)

    def cost(self, turn):
        return turn["watched"]["proxy"]["cpu_us_per_request"] / 1e3 * (1e9 / self.size)


class Tcp(Bulk):
    name = "tcp"
    title = "TCP proxy, 10 MB answers, 4 connections"
    among = ("relay", "envoy", "haproxy", WEFT)
    shape = Shape(tcp=True)


ROWS = [Http1(), Sidecars(), SidecarsAlone(), Tcp(), Bulk(), Latency(), Workers()]
