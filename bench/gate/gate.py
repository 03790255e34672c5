"""What `bench/macro/run --short` and `bench/gate/run` call: measures, prints, and says what is wrong.

Figures and limits: judge.py. A figure that cannot be had on a machine is printed as "not measured" with the reason.
"""

import os
import sys

import judge
from judge import CPU

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


def check(ratios, again):
    """The verdict of `bench/macro/run --short`: a list of what is wrong, empty when all is well.

    ratios: {"h1 / relay": 1.22, "h1 / envoy": 0.31, ...}: CPU per request of weft-proxy over a peer's, measured in turns of one
    run. again(names): measures those of them once more, {name: ratio}; called up to twice."""
    baseline = judge.read_baseline()
    ratios, wrong = judge.judge_cpu(ratios, again, baseline, say)
    show(CPU, ratios, baseline)
    return wrong
