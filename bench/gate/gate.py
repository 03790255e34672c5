"""What `bench/macro/run --short` and `bench/gate/run` call: measures, prints, and says what is wrong.

Figures and limits: judge.py. A figure that cannot be had on a machine is printed as "not measured" with the reason.
"""

import os
import sys
import tempfile
from pathlib import Path

import harness
import instructions
import judge
import syscalls
from judge import CPU, INSTRUCTIONS, SYSCALLS, NotMeasured

COLOURS = {"red": "31", "green": "32", "yellow": "33"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def painter(stream):
    """Colours on a terminal that wants them, nothing elsewhere."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return lambda text, colour: text
    return lambda text, colour: "\033[%sm%s\033[0m" % (COLOURS[colour], text)


def show(kind, figures, baseline):
    print()
    for line in judge.table(kind, figures, baseline, painter(sys.stdout)):
        print(line)
    sys.stdout.flush()


def judge_instructions(figures, functions, built_with, baseline, say):
    """What is wrong with the instruction counts. Those of another compiler are not comparable, and judge nothing."""
    recorded_with = baseline.get(INSTRUCTIONS.key, {}).get("built_with")
    measured = any(not isinstance(v, NotMeasured) for v in figures.values())
    if measured and recorded_with is not None and recorded_with != built_with:
        say("instructions are printed and not judged: this program is built with %s, the recorded one with %s" % (built_with, recorded_with))
        return []
    wrong = []
    for name in judge.too_high(INSTRUCTIONS, figures, baseline):
        before = baseline[INSTRUCTIONS.key].get("functions", {}).get(name, {})
        say("%s: what grew, in instructions per request:" % name)
        for line in instructions.grown(functions.get(name, {}), before):
            say(line)
        wrong.append(judge.failure(INSTRUCTIONS, name, figures[name], baseline))
    return wrong


def judge_counts(instruction_figures, functions, syscall_figures, built_with, baseline, say):
    """The verdict on both kinds of counts; at least one of them must exist, or nothing guards anything."""
    wrong = judge_instructions(instruction_figures, functions, built_with, baseline, say)
    wrong += [judge.failure(SYSCALLS, n, syscall_figures[n], baseline) for n in judge.too_high(SYSCALLS, syscall_figures, baseline)]
    missing = [v for f in (instruction_figures, syscall_figures) for v in f.values()]
    if all(isinstance(v, NotMeasured) for v in missing):
        wrong.append("no count could be measured, so nothing was judged: %s"
                     % "; ".join(sorted({v.why for v in missing})))
    return wrong


def measure_counts(folder, only=None, build=True):
    """(instructions, functions, system calls), the last two of them {} when `only` names the other kind."""
    figures, functions, calls = {}, {}, {}
    if only in (None, INSTRUCTIONS.short):
        problem = build and harness.build(instructions.LABEL)
        if problem:
            raise harness.BenchError(problem)
        figures, functions = instructions.measure(folder, say)
    if only in (None, SYSCALLS.short):
        calls = syscalls.measure(folder, say)
    return figures, functions, calls


def check_counts(only=None, build=True, folder=None):
    """Measures, prints and judges instructions and system calls; a list of what is wrong."""
    baseline = judge.read_baseline()
    with tempfile.TemporaryDirectory(prefix="weft-gate-") as temporary:
        folder = Path(folder or temporary)
        figures, functions, calls = measure_counts(folder, only, build)
        calls = judge.least(SYSCALLS, calls, lambda rows: syscalls.measure(folder, say, rows), baseline, say)
    if figures:
        show(INSTRUCTIONS, figures, baseline)
    if calls:
        show(SYSCALLS, calls, baseline)
    return judge_counts(figures, functions, calls, instructions.built_with() if figures else None, baseline, say)


def check(ratios, again, build=True):
    """The verdict of `bench/macro/run --short`: a list of what is wrong, empty when all is well.

    ratios: {"h1 / relay": 1.22, "h1 / envoy": 0.31, ...}: CPU per request of weft-proxy over a peer's, measured in turns of one
    run. again(names): measures those of them once more, {name: ratio}; called up to twice. build: or use what bazel-bin has."""
    baseline = judge.read_baseline()
    ratios, wrong = judge.judge_cpu(ratios, again, baseline, say)
    show(CPU, ratios, baseline)
    return wrong + check_counts(build=build)
