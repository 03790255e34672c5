#!/usr/bin/env python3
"""Tests of the gate: its arithmetic, its words, and what it does when something can't be measured.

usage: gate_test.py   (needs //bench/gate:work in bazel-bin; no valgrind, no strace)
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
import gate  # noqa: E402
import instructions  # noqa: E402
import judge  # noqa: E402
import syscalls  # noqa: E402
from harness import BenchError, built  # noqa: E402
from judge import CPU, INSTRUCTIONS, SYSCALLS, NotMeasured  # noqa: E402

BASELINE = {
    "cpu_ratios": {"figures": {"h1 / relay": 1.20, "h1 / envoy": 0.32}, "commit": "c1"},
    "instructions_per_request": {"figures": {"h1-codec": 10000}, "commit": "c2", "built_with": "gcc 12",
                                 "functions": {"h1-codec": {"Parse": 4000, "Write": 3000}}},
    "syscalls_per_request": {"figures": {"h1": 4.0}, "commit": "c3"},
}


class Lines(list):
    """A `say` that keeps what was said."""

    def __call__(self, text):
        self.append(text)

    @property
    def text(self):
        return "\n".join(self)


class LimitTest(unittest.TestCase):
    def test_instructions_may_grow_by_a_tenth(self):
        self.assertEqual(judge.too_high(INSTRUCTIONS, {"h1-codec": 11000}, BASELINE), [])
        self.assertEqual(judge.too_high(INSTRUCTIONS, {"h1-codec": 11001}, BASELINE), ["h1-codec"])

    def test_system_calls_may_grow_by_a_tenth(self):
        self.assertEqual(judge.too_high(SYSCALLS, {"h1": 4.39}, BASELINE), [])
        self.assertEqual(judge.too_high(SYSCALLS, {"h1": 4.41}, BASELINE), ["h1"])

    def test_cpu_ratios_may_grow_by_a_quarter(self):
        self.assertEqual(judge.too_high(CPU, {"h1 / relay": 1.49, "h1 / envoy": 0.41}, BASELINE), ["h1 / envoy"])

    def test_what_is_not_recorded_or_not_measured_is_never_too_high(self):
        self.assertEqual(judge.too_high(INSTRUCTIONS, {"new": 10**9, "h1-codec": NotMeasured("x")}, BASELINE), [])
        self.assertEqual(judge.too_high(INSTRUCTIONS, {"h1-codec": 10**9}, {}), [])


class WordsTest(unittest.TestCase):
    def test_a_failure_names_figure_baseline_limit_and_what_to_do(self):
        text = judge.failure(INSTRUCTIONS, "h1-codec", 13210, BASELINE)
        for part in ("instructions per request, h1-codec: 13,210 is +32.1% against the recorded 10,000 (commit c2)",
                     "at most 11,000 (+10%)", "bench/gate/run --only instructions --keep",
                     "bench/gate/run --record --only instructions --reason 'why'"):
            self.assertIn(part, text)
        self.assertIn("system calls per request, h1: 5.020 is +25.5% against the recorded 4.000 (commit c3); at most 4.400 (+10%)",
                      judge.failure(SYSCALLS, "h1", 5.02, BASELINE))
        self.assertIn("bench/gate/run --record --only cpu", judge.failure(CPU, "h1 / relay", 1.6, BASELINE))

    def test_the_table(self):
        lines = judge.table(INSTRUCTIONS, {"h1-codec": 11500, "new": 7}, BASELINE)
        self.assertEqual([line.split() for line in lines], [
            "instructions per request now recorded change at most verdict".split(),
            ["h1-codec", "11,500", "10,000", "+15.0%", "11,000", "TOO", "HIGH"], ["new", "7", "-", "-", "-", "not", "recorded"]])

    def test_what_is_not_measured_says_why(self):
        lines = judge.table(SYSCALLS, {"h1": NotMeasured("no strace")}, BASELINE)
        self.assertEqual(lines[1].split(), ["h1", "-", "4.000", "-", "-", "not", "measured"])
        self.assertEqual(lines[2], "not measured: h1: no strace")

    def test_what_is_recorded_and_gone_is_not_skipped_quietly(self):
        self.assertIn("not measured: h1 / envoy: not part of this run", judge.table(CPU, {"h1 / relay": 1.2}, BASELINE))

    def test_a_better_figure_should_be_recorded(self):
        lines = judge.table(INSTRUCTIONS, {"h1-codec": 8000}, BASELINE)
        self.assertIn("better", lines[1])
        self.assertIn("h1-codec: 20.0% better than recorded; bench/gate/run --record --only instructions", lines[2])

    def test_colour_is_for_terminals(self):
        self.assertEqual(gate.painter(io.StringIO())("ok", "green"), "ok")
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        old = {k: os.environ.pop(k, None) for k in ("NO_COLOR", "TERM")}
        try:
            self.assertEqual(gate.painter(terminal)("ok", "green"), "\033[32mok\033[0m")
            os.environ["NO_COLOR"] = "1"
            self.assertEqual(gate.painter(terminal)("ok", "green"), "ok")
        finally:
            for k, v in old.items():
                os.environ.pop(k, None)
                if v is not None:
                    os.environ[k] = v


class CpuTest(unittest.TestCase):
    def judged(self, *measurements):
        """(ratios, wrong) of ratios that come one after the other; all of them must be asked for."""
        left, self.asked = list(measurements), []

        def again(names):
            self.asked.append(names)
            return left.pop(0)

        out = judge.judge_cpu(left.pop(0), again, BASELINE, Lines())
        self.assertEqual(left, [])
        return out

    def test_good_at_once(self):
        self.assertEqual(self.judged({"h1 / relay": 1.4, "h1 / envoy": 0.3})[1], [])
        self.assertEqual(self.asked, [])

    def test_only_what_was_too_high_is_measured_again(self):
        ratios, wrong = self.judged({"h1 / relay": 1.9, "h1 / envoy": 0.3}, {"h1 / relay": 1.8}, {"h1 / relay": 1.3})
        self.assertEqual((ratios, wrong), ({"h1 / relay": 1.3, "h1 / envoy": 0.3}, []))
        self.assertEqual(self.asked, [["h1 / relay"]] * 2)

    def test_three_times_in_a_row_is_wrong(self):
        _, wrong = self.judged({"h1 / relay": 1.9}, {"h1 / relay": 1.8}, {"h1 / relay": 1.7})
        self.assertEqual(len(wrong), 1)
        self.assertIn("1.70 (1.90, 1.80, 1.70: too high in 3 measurements in a row) is +41.7% against the recorded 1.20", wrong[0])

    def test_a_peer_that_is_gone_in_a_later_measurement(self):
        ratios, wrong = self.judged({"h1 / envoy": 0.9}, {})
        self.assertEqual((ratios, wrong), ({"h1 / envoy": NotMeasured("not measured again")}, []))

    def test_a_peer_that_was_never_there(self):
        ratios, wrong = self.judged({"h1 / envoy": NotMeasured("not installed")})
        self.assertEqual((ratios["h1 / envoy"].why, wrong), ("not installed", []))


class LeastTest(unittest.TestCase):
    def least(self, first, *later):
        left, self.asked = list(later), []

        def again(names):
            self.asked.append(names)
            return left.pop(0)

        out = judge.least(SYSCALLS, first, again, {"syscalls_per_request": {"figures": {"h1": 4.0, "h2": 0.25}}}, Lines())
        self.assertEqual(left, [])
        return out

    def test_good_at_once(self):
        self.assertEqual(self.least({"h1": 4.1, "h2": 0.25}), {"h1": 4.1, "h2": 0.25})

    def test_what_is_too_high_is_measured_up_to_three_times(self):
        self.assertEqual(self.least({"h1": 4.1, "h2": 0.29}, {"h2": 0.28}, {"h2": 0.30}), {"h1": 4.1, "h2": 0.28})
        self.assertEqual(self.asked, [["h2"], ["h2"]])
        self.assertEqual(self.least({"h1": 5.0}, {"h1": 4.0}), {"h1": 4.0})

    def test_not_measured_again_changes_nothing(self):
        self.assertEqual(self.least({"h1": 5.0}, {"h1": NotMeasured("x")}, {"h1": NotMeasured("x")}), {"h1": 5.0})


class CountsTest(unittest.TestCase):
    def judged(self, figures, calls, built_with="gcc 12", functions=None):
        self.said = Lines()
        return gate.judge_counts(figures, functions or {}, calls, built_with, BASELINE, self.said)

    def test_good(self):
        self.assertEqual(self.judged({"h1-codec": 10500}, {"h1": 4.1}), [])

    def test_both_can_be_wrong(self):
        self.assertEqual(len(self.judged({"h1-codec": 12000}, {"h1": 6.0})), 2)

    def test_the_functions_that_grew_are_named(self):
        self.judged({"h1-codec": 12000}, {}, functions={"h1-codec": {"Parse": 4000, "Write": 5000, "New": 3000}})
        self.assertEqual([line.split() for line in self.said[1:]], [
            ["5,000", "Write", "(recorded", "3,000)"]])

    def test_another_compiler_is_printed_and_not_judged(self):
        self.assertEqual(self.judged({"h1-codec": 99999}, {"h1": 4.0}, built_with="clang 16"), [])
        self.assertIn("printed and not judged: this program is built with clang 16, the recorded one with gcc 12", self.said.text)

    def test_nothing_is_said_of_the_compiler_of_what_was_not_counted(self):
        self.judged({}, {"h1": 4.0}, built_with=None)
        self.judged({"h1-codec": NotMeasured("no valgrind")}, {"h1": 4.0}, built_with="clang 16")
        self.assertEqual(self.said, [])

    def test_one_kind_is_enough(self):
        self.assertEqual(self.judged({"h1-codec": 10000}, {"h1": NotMeasured("ptrace is forbidden")}), [])
        self.assertEqual(self.judged({"h1-codec": NotMeasured("no valgrind")}, {"h1": 4.0}), [])

    def test_none_is_a_failure_with_both_reasons(self):
        wrong = self.judged({"h1-codec": NotMeasured("no valgrind")}, {"h1": NotMeasured("ptrace is forbidden")})
        self.assertEqual(wrong, ["no count could be measured, so nothing was judged: no valgrind; ptrace is forbidden"])


class RecordTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "baseline.json"

    def written(self):
        return json.loads(self.path.read_text())

    def test_needs_a_reason(self):
        with self.assertRaisesRegex(BenchError, "needs a reason"):
            judge.record(CPU, {"h1 / relay": 1.2}, {}, "  ", self.path)
        self.assertFalse(self.path.exists())

    def test_keeps_other_kinds_and_what_was_not_measured(self):
        self.path.write_text(json.dumps(BASELINE))
        judge.record(CPU, {"h1 / relay": 1.23456, "h1 / envoy": NotMeasured("x")}, {"commit": "c9"}, "it does more now", self.path)
        self.assertEqual(self.written(), {**BASELINE, "cpu_ratios": {
            "figures": {"h1 / relay": 1.235, "h1 / envoy": 0.32}, "commit": "c9", "reason": "it does more now"}})

    def test_figures_that_are_no_more_go(self):
        self.path.write_text(json.dumps(BASELINE))
        judge.record(INSTRUCTIONS, {"h1-heads": 9000}, {}, "renamed", self.path, partial=False)
        self.assertEqual(self.written()["instructions_per_request"]["figures"], {"h1-heads": 9000})

    def test_a_broken_baseline_is_an_error(self):
        self.path.write_text("{")
        with self.assertRaisesRegex(BenchError, "bench/baseline.json is not JSON"):
            judge.read_baseline(self.path)

    def test_the_real_one_is_readable_and_whole(self):
        baseline = judge.read_baseline()
        for kind in judge.KINDS:
            self.assertTrue(judge.recorded(baseline, kind), kind.key)
            self.assertTrue(baseline[kind.key]["reason"] and baseline[kind.key]["commit"])
        self.assertEqual(sorted(judge.recorded(baseline, INSTRUCTIONS)), sorted(instructions.names()))


CALLGRIND = """\
version: 1
creator: callgrind-3.19.0
events: Ir
ob=(1) /x/work
fl=(1) ???
fn=(10) weft::http::h1::HeadParser::Parse(std::basic_string_view<char, std::char_traits<char> >)
0 100
cfi=(2) ./string/memchr.S
cfn=(11) __memchr_sse2
calls=5 0
0 5000
+3 7
fn=(12) main
* 1
cfn=(10)
calls=1 0
0 5107
fl=(2)
fn=(11)
16 4000
-2 1000
totals: 5108
"""


class CallgrindTest(unittest.TestCase):
    def test_self_costs(self):
        costs = instructions.self_costs(CALLGRIND)
        self.assertEqual(sorted(costs.values()), [1, 107, 5000])
        self.assertEqual(costs["__memchr_sse2"], 5000)
        self.assertEqual(sum(costs.values()), 5108)

    def test_short_names(self):
        for name, want in {
            "weft::http::h1::HeadParser::Parse(std::basic_string_view<char, std::char_traits<char> >) const": "weft::http::h1::HeadParser::Parse",
            "weft::http::h1::(anonymous namespace)::SplitField(int*) [clone .constprop.0]": "weft::http::h1::SplitField",
            "void weft::ForEach<weft::F::{lambda(int)#1}>(int, weft::F::{lambda(int)#1})": "weft::ForEach",
            "main": "main",
            "uv__io_poll'2": "uv__io_poll",
        }.items():
            self.assertEqual(instructions.short(name), want)

    def test_what_the_cpu_chose_is_noticed(self):
        self.assertEqual(instructions.unpinned(["main", "__memcpy_sse2_unaligned", "__memcpy_avx_unaligned_erms", "__memchr_avx2",
                                                "__strlen_evex", "__memset_avx512_unaligned", "__strcmp_sse42"]),
                         ["__memchr_avx2", "__memcpy_avx_unaligned_erms", "__memset_avx512_unaligned", "__strcmp_sse42", "__strlen_evex"])

    def test_plain_functions_are_known_by_their_names(self):
        self.assertTrue(all(instructions.PLAIN.match(f) for f in ("__memchr_sse2", "__memset_sse2_unaligned")))
        self.assertFalse(any(instructions.PLAIN.match(f) for f in ("__memset_sse2_unaligned_erms", "__memchr_avx2", "main")))

    def test_without_a_record_the_most_expensive_are_named(self):
        self.assertEqual([line.split() for line in instructions.grown({"a": 5, "b": 7}, {})], [["7", "b"], ["5", "a"]])

    def test_a_new_function_counts_from_what_was_not_recorded(self):
        lines = instructions.grown({"old": 100, "new": 90, "small": 10}, {"old": 100, "other": 30})
        self.assertEqual([line.split()[:2] for line in lines], [["90", "new"]])

    def test_no_valgrind(self):
        old, os.environ["PATH"] = os.environ["PATH"], "/nowhere"
        try:
            figures, functions = instructions.measure(Path("/tmp"), Lines())
        finally:
            os.environ["PATH"] = old
        self.assertEqual(set(figures), set(instructions.names()))
        self.assertEqual({v.why for v in figures.values()}, {"there is no valgrind (tools/setup --bench installs it)"})
        self.assertEqual(functions, {})


class SyscallsTest(unittest.TestCase):
    def measured(self, script, rows=("h1",)):
        with tempfile.TemporaryDirectory() as folder:
            command = Path(folder) / "syscalls"
            command.write_text(script)
            return syscalls.measure(Path(folder), Lines(), rows, 0.1, command)

    # A stand-in for the command: 1,000 requests a second.
    WRITES = ("import json, sys\nvalue = lambda flag: sys.argv[sys.argv.index(flag) + 1]\nseconds = float(value('--seconds'))\n"
              "json.dump({'peers': {'weft-proxy': {'requests': int(1000 * seconds), 'calls_per_request': %s}}}, open(value('--json'), 'w'))\n")

    def test_the_sum_with_waiting(self):
        self.assertEqual(self.measured(self.WRITES % "{'recvfrom': 2.0, 'epoll_wait': 0.25}"), {"h1": 2.25})

    def test_a_slow_machine_is_given_more_time(self):
        # 100 requests in 0.1 s: what is in flight would be 64% of them. 4.8 s make 4,800.
        self.assertAlmostEqual(self.measured(self.WRITES % "{'seconds': seconds}")["h1"], 0.1 * 1.5 * syscalls.ENOUGH / 100)

    def test_a_row_that_lacks_its_load_generator_does_not_hide_the_other(self):
        out = self.measured("import sys\nif 'h2' in sys.argv: sys.exit('error: there is no h2load; tools/setup --bench installs it')\n"
                            + self.WRITES % "{'recvfrom': 2.0}", syscalls.ROWS)
        self.assertEqual(out, {"h1": 2.0, "h2": NotMeasured("there is no h2load (tools/setup --bench installs it)")})

    def test_ptrace_is_forbidden(self):  # strace's own words, under a seccomp filter
        out = self.measured("import sys\nsys.exit('strace: test_ptrace_get_syscall_info: PTRACE_TRACEME: Operation not permitted\\n"
                            "strace: attach: ptrace(PTRACE_ATTACH, 16528): Operation not permitted')\n")
        self.assertIn("ptrace is forbidden here", out["h1"].why)
        self.assertIn("--cap-add=SYS_PTRACE", out["h1"].why)

    def test_no_strace(self):
        out = self.measured("import sys\nsys.exit('error: there is no strace; tools/setup --bench installs it')\n")
        self.assertEqual(out, {"h1": NotMeasured("there is no strace (tools/setup --bench installs it)")})

    def test_anything_else_is_an_error(self):
        with self.assertRaisesRegex(BenchError, "weft-proxy ended with status 1"):
            self.measured("import sys\nsys.exit('weft-proxy ended with status 1')\n")


class CommandTest(unittest.TestCase):
    def run_it(self, *args):
        return subprocess.run([sys.executable, HERE / "run", *args], capture_output=True, text=True, timeout=60)

    def test_help_has_an_example(self):
        self.assertIn('bench/gate/run --record --reason "', self.run_it("--help").stdout)

    def test_record_needs_a_reason(self):
        for args in (["--record"], ["--record", "--reason", " "]):
            done = self.run_it(*args)
            self.assertEqual(done.returncode, 2)
            self.assertIn("--record needs --reason", done.stderr)

    def test_cpu_is_judged_elsewhere(self):
        done = self.run_it("--only", "cpu")
        self.assertEqual(done.returncode, 2)
        self.assertIn("bench/macro/run --short", done.stderr)


class WorkTest(unittest.TestCase):
    def work(self, *args):
        return subprocess.run([built(instructions.LABEL), *args], capture_output=True, text=True, timeout=60)

    def test_every_figure_gives_right_answers(self):
        self.assertGreaterEqual(len(instructions.names()), 5)
        for figure in instructions.names():
            done = self.work(figure, "64")
            self.assertEqual((done.returncode, done.stderr), (0, ""), figure)

    def test_it_says_what_it_is_built_with(self):
        self.assertRegex(instructions.built_with(), r"^(gcc|clang) .*, glibc 2\.\d+, libnghttp2 [\d.]+, \w+")

    def test_wrong_usage(self):
        for args in ((), ("no-such-figure", "1"), ("h1-codec", "x"), ("h1-codec",)):
            self.assertEqual(self.work(*args).returncode, 2, args)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
