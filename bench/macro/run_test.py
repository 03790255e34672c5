#!/usr/bin/env python3
"""Tests of bench/macro/run: what its verdict is made of, and the whole command with the relay and stand-ins for weft-proxy.

usage: run_test.py   (needs //bench/macro:load, :origin and :relay in bazel-bin)
"""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("macro_run", str(HERE / "run"))
spec = importlib.util.spec_from_loader("macro_run", loader)
run = importlib.util.module_from_spec(spec)
loader.exec_module(run)

# Speaks weft-proxy's command line, moves bytes as the relay does: fast, no HTTP work.
STAND_IN = """#!/bin/sh
while [ "$1" != -c ]; do shift; done
ports=$(grep -o '"port_value": [0-9]*' "$2" | grep -o '[0-9]*')
set -- $ports  # admin, listener, origin
exec %s --listen 127.0.0.1:$2 --connect 127.0.0.1:$3
"""


def turn(cpu, errors=0, waited=0.0):
    return {"watched": {"proxy": {"cpu_us_per_request": cpu, "waited": waited}}, "errors": {"total": errors, "first": "boom" if errors else ""}}


class FakePeer:
    def __init__(self, name):
        self.name = name


def result(name, *turns):
    r = run.Result(FakePeer(name))
    r.turns = list(turns)
    return r


class RatioTest(unittest.TestCase):
    def test_is_taken_within_a_turn(self):
        # The machine became twice as slow in the second turn: the ratio must not notice.
        relay = result("relay", turn(10), turn(20), turn(10))
        weft = result("weft-proxy", turn(15), turn(30), turn(15))
        self.assertEqual(weft.ratio_to(relay), (1.5, 1.5, 1.5))

    def test_without_the_other(self):
        weft = result("weft-proxy", turn(15))
        self.assertIsNone(weft.ratio_to(None))
        self.assertIsNone(weft.ratio_to(result("relay")))


class RoundsTest(unittest.TestCase):
    def test_disturbed_rounds_are_left_out_for_all(self):
        relay = result("relay", turn(10), turn(10), turn(90), turn(10))
        weft = result("weft-proxy", turn(15), turn(15), turn(15, waited=0.2), turn(16))
        self.assertEqual(run.choose_rounds([relay, weft], 4), (1, False))
        self.assertEqual(relay.costs(), [10, 10, 10])
        self.assertEqual(weft.ratio_to(relay), (1.5, 1.5, 1.6))

    def test_all_count_when_too_few_are_quiet(self):
        relay = result("relay", turn(10, waited=0.5), turn(20), turn(30))
        self.assertEqual(run.choose_rounds([relay], 3), (0, True))
        self.assertEqual(relay.costs(), [10, 20, 30])

    def test_one_quiet_round_of_one_is_enough(self):
        relay = result("relay", turn(10))
        self.assertEqual(run.choose_rounds([relay], 1), (0, False))

    def test_errors_of_left_out_rounds_count(self):
        weft = result("weft-proxy", turn(1), turn(1), turn(1), turn(1, errors=2, waited=0.9))
        run.choose_rounds([weft], 4)
        self.assertEqual(weft.errors(), 2)

    def test_a_turn_without_an_answer_has_no_cost(self):
        relay, weft = result("relay", turn(10), turn(10)), result("weft-proxy", {**turn(0), "requests": 0}, turn(15))
        self.assertEqual(weft.costs(), [15])
        self.assertEqual(weft.ratio_to(relay), (1.5, 1.5, 1.5))
        self.assertEqual(relay.ratio_to(weft), (10 / 15, 10 / 15, 10 / 15))

    def test_a_peer_that_ended_early(self):
        relay, weft = result("relay", turn(10), turn(10), turn(10)), result("weft-proxy", turn(15))
        self.assertEqual(run.choose_rounds([relay, weft], 3), (0, False))
        self.assertEqual(weft.ratio_to(relay), (1.5, 1.5, 1.5))


class VerdictTest(unittest.TestCase):
    """verdict() with recorded ratios of 1.40 to the relay and 0.30 to Envoy, hence limits of 1.75 and 0.375."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        old = run.gate.judge.BASELINE, run.measure
        counts = mock.patch.object(run.gate, "check_counts", lambda build: [])  # bench/gate/gate_test.py is about those
        counts.start()
        self.addCleanup(counts.stop)
        run.gate.judge.BASELINE = Path(self.folder.name) / "baseline.json"
        run.gate.judge.BASELINE.write_text(json.dumps(
            {"cpu_ratios": {"figures": {"h1 / relay": 1.40, "h1 / envoy": 0.30}, "commit": "abc"}}))
        self.addCleanup(lambda: (setattr(run.gate.judge, "BASELINE", old[0]), setattr(run, "measure", old[1])))

    def verdict(self, first, *later, others=(("relay", 10.0), ("envoy", 50.0)), asked=("relay",)):
        results = [*(result(n, turn(cpu)) for n, cpu in others), result("weft-proxy", first)]
        again = list(later)

        def measure(bench, measured, *rest):
            self.assertEqual([r.name for r in measured], [*asked, "weft-proxy"])
            for r in measured[:-1]:
                r.turns.append(turn(dict(others)[r.name]))
            measured[-1].turns.append(again.pop(0))

        run.measure = measure
        out = run.verdict(mock.Mock(**{"args.turns": 1}), results, results[-1])
        self.assertEqual(again, [], "measured fewer times than expected")
        return out

    def test_as_good_as_recorded(self):
        self.assertEqual(self.verdict(turn(14)), [])

    def test_a_little_worse(self):
        self.assertEqual(self.verdict(turn(17.4)), [])

    def test_worse_once_or_twice_is_noise(self):
        self.assertEqual(self.verdict(turn(18), turn(14)), [])
        self.assertEqual(self.verdict(turn(18), turn(18), turn(14)), [])

    def test_worse_three_times_fails(self):
        out = self.verdict(turn(18), turn(18.1), turn(18.5))
        self.assertEqual(len(out), 1)
        self.assertIn("h1 / relay: 1.85 (1.80, 1.81, 1.85: too high in 3 measurements in a row) is +32.1% against the recorded 1.40", out[0])

    def test_both_ratios_are_judged(self):
        out = self.verdict(turn(20), turn(20), turn(20), asked=("relay", "envoy"))
        self.assertEqual(len(out), 2)

    def test_a_peer_that_is_missing_is_no_fault(self):
        self.assertEqual(self.verdict(turn(14), others=(("relay", 10.0),)), [])

    def test_errors_fail(self):
        self.assertIn("2 errors; the first: boom", self.verdict(turn(14, errors=2))[0])
        with self.assertRaisesRegex(run.BenchError, "1 errors: boom"):
            self.verdict(turn(18), turn(14, errors=1))

    def test_not_started_fails(self):
        weft = result("weft-proxy")
        weft.failure, weft.broken = "did not start", True
        self.assertEqual(run.verdict(None, [weft], weft), ["weft-proxy: did not start"])

    def test_a_broken_baseline_is_an_error(self):
        run.gate.judge.BASELINE.write_text("{")
        with self.assertRaisesRegex(run.BenchError, "bench/baseline.json is not JSON"):
            self.verdict(turn(14))


class CommandTest(unittest.TestCase):
    def setUp(self):
        if not run.harness.built("//bench/macro:relay").exists():
            self.fail("bazel build //bench/macro/... first")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def program(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run_it(self, *flags, env=None):
        return subprocess.run([HERE / "run", "--no-build", "--turns", "2", "--seconds", "0.6", "--warmup", "0.1", *flags],
                              capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})})

    def test_table_and_json(self):
        stand_in = self.program("stand-in", STAND_IN % run.harness.built("//bench/macro:relay"))
        out = self.folder / "out.json"
        done = self.run_it("--only", "relay", "--also", "other=%s" % stand_in, "--seconds", "1", "--json", str(out))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^other .* 0$")
        figures = json.loads(out.read_text())
        peers = figures["rows"]["h1"]["peers"]
        for name in ("relay", "other"):
            peer = peers[name]
            self.assertEqual(len(peer["turns"]), 2)
            self.assertEqual(peer["errors"], 0)
            self.assertGreater(peer["cost"], 1)
            self.assertGreater(peer["rss_kb"], 500)
            self.assertIn("GET /-/echo HTTP/1.1", peer["upstream_request_head"])
            self.assertEqual(peer["turns"][0]["origin_connections"], 64)
        # The same program twice: the same cost. Far off only when something is wrong with the accounting.
        ratio = peers["other"]["ratio_to_relay"][0]
        self.assertTrue(0.4 < ratio < 2.5, ratio)

    def test_one_that_fails_is_quoted_and_the_others_are_measured(self):
        bad = self.program("bad", "#!/bin/sh\necho 'listeners[0]: no such thing' >&2\nexit 1\n")
        done = self.run_it("--only", "relay", "--also", "bad=%s" % bad)
        self.assertEqual(done.returncode, 0)
        self.assertIn("bad ended with status 1 before it was ready", done.stderr)
        self.assertIn("listeners[0]: no such thing", done.stderr)
        self.assertRegex(done.stdout, r"(?m)^bad +did not start$")
        self.assertRegex(done.stdout, r"(?m)^relay .* 0$")

    def test_a_missing_peer_is_named(self):
        empty = {"WEFT_CACHE": str(self.folder), "WEFT_ENVOY": "", "PATH": "/usr/bin:/bin"}
        done = self.run_it("--only", "relay,envoy", env=empty)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^envoy +not installed \(tools/setup --bench\)$")

    def test_wrong_flags(self):
        self.assertIn("there is no 'squid'; the names are relay, envoy", self.run_it("--only", "squid").stderr)
        self.assertIn("expected NAME=PATH", self.run_it("--also", "x").stderr)
        self.assertNotEqual(self.run_it("--turns", "-1").returncode, 0)
        self.assertIn("there is no 'h3'; the rows are h1, h2", self.run_it("--row", "h3").stderr)
        self.assertIn("--short and --record are about the row h1", self.run_it("--row", "all", "--short").stderr)

    def test_the_list_has_every_row(self):
        said = self.run_it("--list").stdout
        for row in run.rows_module.ALL:
            self.assertRegex(said, r"(?m)^%s " % row.name)

    def test_several_rows_end_in_one_summary(self):
        # A relay moves whatever bytes, HTTP/2 from h2load to the origin's HTTP/2 too.
        stand_in = self.program("stand-in", STAND_IN % run.harness.built("//bench/macro:relay"))
        out = self.folder / "out.json"
        done = self.run_it("--row", "h2,grpc,latency", "--only", "relay", "--also", "other=%s" % stand_in, "--json", str(out))
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        rows = json.loads(out.read_text())["rows"]
        self.assertEqual(list(rows), ["h2", "grpc", "latency"])
        for row in rows.values():
            self.assertEqual(row["peers"]["other"]["errors"], 0, done.stdout)
            self.assertEqual(len(row["peers"]["other"]["turns"]), 2)
        added = [t["added_us"] for t in rows["latency"]["peers"]["other"]["turns"]]
        self.assertEqual(len(added), 2)  # below 0 on a machine that is busy otherwise
        self.assertEqual([t["added_us"] for t in rows["latency"]["peers"]["direct"]["turns"]], [0, 0])
        summary = done.stdout[done.stdout.index("\nrow "):]
        self.assertRegex(summary, r"(?m)^h2 .*0\.5 x +not measured$")  # there is no weft-proxy


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
