"""Turns and rounds: every peer of a row has one turn a round; ratios are taken within a round.

A row (rows/) says what a turn is; here is how turns are taken, which rounds count, and how figures are told.
"""

import dataclasses
import json
import statistics
import time

import harness
from harness import BenchError, say

DISTURBED = 0.05  # share of a turn that the proxy waited for its core
LEAST_ROUNDS = 3  # as many undisturbed ones make it possible to leave the others out

median = statistics.median


@dataclasses.dataclass
class Bench:
    """What a run has while it measures."""

    supervisor: object
    args: object          # turns, seconds, warmup, connections, size, rate, wait_quiet
    proxy_core: int
    load_core: int
    unbuilt: str = None    # why weft-proxy has no new binary
    origin: object = None  # the origin's Child...
    origin_port: int = 0   # ...and where it listens
    pki: object = None

    def start_origin(self, size):
        self.origin, self.origin_port = self.supervisor.start_announcing(
            "origin", [harness.built("//bench/macro:origin"), "--listen", "127.0.0.1:0", "--bytes", size], self.load_core, batch=True)

    def origin_stats(self):
        return json.loads(harness.fetch(self.origin_port, "/-/stats")[1])


def cpu_us(turn):
    """What a turn costs, where a row does not say otherwise: CPU time of the proxy for a request."""
    return turn["watched"]["proxy"]["cpu_us_per_request"]


class Result:
    """What is known of one peer: its turns, or why it has none."""

    def __init__(self, peer, cost=cpu_us):
        self.peer, self.name, self.cost = peer, peer.name, cost
        self.turns = []
        self.rounds = None    # those that count; None: all
        self.failure = None   # why it is not measured
        self.broken = False   # it failed, rather than not being installed
        self.version = self.upstream_head = ""
        self.rss_idle_kb = self.rss_kb = self.anon_kb = 0

    def counted(self):
        """(round, turn). A turn without one answer has no cost: other programs had the cores for all of it."""
        return [(n, t) for n, t in enumerate(self.turns) if (self.rounds is None or n in self.rounds) and t.get("requests", 1) > 0]

    def values(self, get):
        return [get(t) for _, t in self.counted()]

    def costs(self):
        return self.values(self.cost)

    def errors(self):
        return sum(t["errors"]["total"] for t in self.turns)  # of all turns: there is no excuse for one

    def first_error(self):
        return next((t["errors"]["first"] for t in self.turns if t["errors"]["total"]), "")

    def ratio_to(self, other):
        """Cost against another peer, round by round: (median, least, most), or None."""
        if other is None:
            return None
        others = dict(other.counted())
        ratios = [self.cost(t) / other.cost(others[n]) for n, t in self.counted() if n in others and other.cost(others[n]) > 0]
        return (median(ratios), min(ratios), max(ratios)) if ratios else None

    def json(self, relay, envoy):
        out = {"version": self.version, "not_measured": self.failure}
        if self.counted():
            out.update(rounds_counted=[n for n, _ in self.counted()], cost=median(self.costs()), rss_idle_kb=self.rss_idle_kb,
                       rss_kb=self.rss_kb, rss_anon_kb=self.anon_kb, errors=self.errors(), ratio_to_relay=self.ratio_to(relay),
                       ratio_to_envoy=self.ratio_to(envoy), upstream_request_head=self.upstream_head, turns=self.turns)
        return out


def start_all(bench, results):
    for r in results:
        if not r.peer.find():
            r.failure = r.failure or r.peer.missing
            continue
        if r.failure:
            continue
        try:
            r.version = r.peer.version()
            r.peer.start(bench.supervisor, bench.origin_port, bench.proxy_core)
            r.upstream_head = r.peer.upstream_head()
        except BenchError as e:
            r.failure, r.broken = "did not start", True
            say("error: %s" % e)
    time.sleep(0.5)
    for r in results:
        if not r.failure:
            r.rss_idle_kb = harness.memory_kb(r.peer.pids())


def load_turn(bench, peer, **options):
    """A turn of //bench/macro:load. options: connections, size, rate, where they are not the command's."""
    args = bench.args
    before = bench.origin_stats()
    t = harness.run_load(
        bench.supervisor, harness.built("//bench/macro:load"), peer.port, bench.load_core,
        {"proxy": peer.pids(), "origin": bench.origin.pids()}, bench.proxy_core, options.get("connections", args.connections),
        args.seconds, args.warmup, options.get("size", args.size), options.get("rate", args.rate))
    after = bench.origin_stats()
    # Less the two connections of the look at the figures.
    t["origin_connections"] = after["connections"] - before["connections"] - 1
    t["origin_requests"] = after["requests"] - before["requests"]
    return t


def measure(bench, results, turns, turn=load_turn, label=""):
    """Interleaved turns; appends to the results. A peer that dies is out, and said so."""
    for n in range(turns):
        for r in results:
            if r.failure:
                continue
            if not r.peer.alive():
                r.failure, r.broken = "ended during the run", True
                say("error: %s ended; its output:\n%s" % (r.name, r.peer.last_words()))
                continue
            if bench.args.wait_quiet:
                harness.wait_quiet((bench.proxy_core, bench.load_core), bench.args.wait_quiet)
            t = turn(bench, r.peer)
            if t.get("origin_requests", t["requests"]) < t["requests"]:
                raise BenchError("%s answered %d requests of %d without asking the origin: not the same work"
                                 % (r.name, t["requests"] - t["origin_requests"], t["requests"]))
            r.turns.append(t)
            r.rss_kb = max(r.rss_kb, harness.memory_kb(r.peer.pids()))
            r.anon_kb = max(r.anon_kb, harness.memory_kb(r.peer.pids(), "RssAnon"))
            say("%sturn %d/%d  %-10s %8.0f/s  %6.2f us CPU%s"
                % (label and label + "  ", n + 1, turns, r.name, t["requests_per_s"], cpu_us(t),
                   "  %d errors: %s" % (t["errors"]["total"], t["errors"]["first"][:120]) if t["errors"]["total"] else ""))


def choose_rounds(results, turns):
    """Leaves out the rounds in which a proxy had to wait for its core, if enough others remain. (left out, still disturbed)."""
    waited = lambda t: t["watched"]["proxy"]["waited"]  # noqa: E731
    quiet = {n for n in range(turns) if all(len(r.turns) <= n or waited(r.turns[n]) <= DISTURBED for r in results)}
    enough = len(quiet) >= LEAST_ROUNDS or len(quiet) == turns
    for r in results:
        r.rounds = quiet if enough else None
    return (turns - len(quiet), False) if enough else (0, True)


def spread(values, form):
    return "%s (%s..%s)" % tuple(form % v for v in (median(values), min(values), max(values)))


def ratio_text(ratio):
    return "%.2f (%.2f..%.2f)" % ratio if ratio else "-"


def print_table(results, turns, title, connections=0):
    """One line a peer. title: what a cost is. connections: what a peer needs upstream, to say when it opened far more."""
    left_out, disturbed = choose_rounds(results, turns)
    by_name = {r.name: r for r in results}
    rivals = [by_name[n] for n in ("relay", "envoy") if n in by_name]
    head = ["proxy", "per s", title, *("x " + o.name for o in rivals), "core busy", "RSS MB", "p50 ms", "p99 ms", "errors"]
    rows, notes = [], []
    for r in results:
        if not r.counted():
            notes.append("%-10s %s" % (r.name, r.failure or "not one complete answer: %s" % (r.first_error()[:300] or "no time for it")))
            continue
        latency = lambda q: ("%.2f" % (median(r.values(lambda t: t["latency_us"][q])) / 1000)  # noqa: E731
                             if all("latency_us" in t for t in r.turns) else "-")
        rows.append([
            r.name, spread(r.values(lambda t: t["requests_per_s"]), "%.0f"), spread(r.costs(), "%.2f"),
            *(ratio_text(r.ratio_to(o)) for o in rivals),
            "%.0f%%" % (100 * median(r.values(lambda t: t["watched"]["proxy"]["busy"]))), "%.1f" % (r.rss_kb / 1024), latency("p50"),
            latency("p99"), r.errors()])
        if r.errors():
            notes.append("%-10s first error: %s" % (r.name, r.first_error()[:300].replace("\r\n", " | ")))
        if r.failure:
            notes.append("%-10s %s" % (r.name, r.failure))
        closed = sum(r.values(lambda t: t.get("reconnects", 0)))
        if closed:
            notes.append("%-10s closed %d keep-alive connections of the load generator" % (r.name, closed))
        opened = max(r.values(lambda t: t.get("origin_connections", 0)))
        if connections and opened > 2 * connections:
            notes.append("%-10s does not keep upstream connections alive: it opened %d in one turn" % (r.name, opened))
    print(harness.table(head, rows))
    for n in notes:
        print(n)
    if left_out:
        print("%d of %d rounds are left out, in which other programs ran on the proxies' core" % (left_out, turns))
    if disturbed:
        waited = [t["watched"]["proxy"]["waited"] for r in results for t in r.turns]
        print("DISTURBED: other programs ran on the proxies' core; they waited for it %.0f%% of the time (median). "
              "Requests/s and latency mean little, and CPU per request is too high by what the caches lost." % (100 * median(waited)))
