"""The gate's arithmetic and words: figures against bench/baseline.json.

Nothing here measures: figures come in as numbers, or as the reason why there is none, and go out as lines for the person who
reads CI's output. Python 3 standard library only.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from harness import BenchError  # noqa: E402

BASELINE = Path(__file__).resolve().parents[1] / "baseline.json"
BETTER = 0.90  # below so much of the recorded figure, somebody should record the new one


class Kind:
    """One kind of figure: where bench/baseline.json keeps it, how much worse is too much, how to say it, what to do then."""

    def __init__(self, key, title, factor, form, find):
        self.key, self.title, self.factor, self.form, self.find = key, title, factor, form, find
        self.short = key.partition("_")[0]  # the name for --only

    def text(self, value):
        return self.form % value if isinstance(value, float) else "{:,}".format(value)


INSTRUCTIONS = Kind("instructions_per_request", "instructions per request", 1.10, "%.0f",
                    "the functions that grew are above; all of them: bench/gate/run --only instructions --keep")
SYSCALLS = Kind("syscalls_per_request", "system calls per request", 1.10, "%.3f",
                "bench/macro/syscalls --row h1 (or h2) lists them by name")
CPU = Kind("cpu_ratios", "CPU per request", 1.25, "%.2f",
           "profile: perf record -g -p PID of weft-proxy under load, or bench/gate/run --only instructions --keep")
KINDS = [INSTRUCTIONS, SYSCALLS, CPU]
TIMES = 3  # a figure that other programs can disturb has to be too high so many times in a row


class NotMeasured:
    """In place of a figure: why there is none on this machine."""

    def __init__(self, why):
        self.why = why

    def __eq__(self, other):
        return isinstance(other, NotMeasured) and other.why == self.why


def read_baseline(path=None):
    try:
        return json.loads((path or BASELINE).read_text())
    except FileNotFoundError:
        return {}
    except ValueError as e:
        raise BenchError("bench/baseline.json is not JSON: %s" % e)


def recorded(baseline, kind):
    return baseline.get(kind.key, {}).get("figures", {})


def record(kind, figures, facts, reason, path=None, partial=True):
    """Writes one kind of figures with the reason. What could not be measured now stays as it was; so does what `figures` does not
    name, unless they are all there are (`partial` False)."""
    if not reason.strip():
        raise BenchError("--record needs a reason: why is this what a request has to cost?")
    path = path or BASELINE
    baseline = read_baseline(path)
    kept = {n: v for n, v in recorded(baseline, kind).items() if partial or n in figures}
    kept |= {n: round(v, 3) if isinstance(v, float) else v for n, v in figures.items() if not isinstance(v, NotMeasured)}
    baseline[kind.key] = {"figures": kept, **facts, "reason": reason.strip()}
    path.write_text(json.dumps(baseline, indent=2) + "\n")


def too_high(kind, figures, baseline):
    """The names whose figures are over the limit."""
    base = recorded(baseline, kind)
    return [n for n, v in figures.items() if n in base and not isinstance(v, NotMeasured) and v > base[n] * kind.factor]


def percent(value, base):
    return "%+.1f%%" % (100.0 * (value / base - 1)) if base else "-"


def row(kind, name, value, base, paint):
    """One row of the table: figure, now, recorded, change, limit, verdict."""
    if isinstance(value, NotMeasured):
        return [name, "-", kind.text(base) if base is not None else "-", "-", "-", paint("not measured", "yellow")]
    if base is None:
        return [name, kind.text(value), "-", "-", "-", "not recorded"]
    limit = base * kind.factor
    verdict = paint("TOO HIGH", "red") if value > limit else "better" if value < base * BETTER else paint("ok", "green")
    return [name, kind.text(value), kind.text(base), percent(value, base), kind.text(type(base)(limit)), verdict]


def table(kind, figures, baseline, paint=lambda text, colour: text):
    """The lines that show one kind of figures: also those that are recorded and are not there now."""
    base = recorded(baseline, kind)
    figures = {**figures, **{n: NotMeasured("not part of this run") for n in base if n not in figures}}
    head = [kind.title, "now", "recorded", "change", "at most", "verdict"]
    rows = [row(kind, n, v, base.get(n), paint) for n, v in figures.items()]
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head) - 1)]
    lines = []
    for r in [head, *rows]:
        cells = [r[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(r[1:-1], widths[1:])]
        lines.append("  ".join(cells + [r[-1]]))
    for why in sorted({v.why for v in figures.values() if isinstance(v, NotMeasured)}):
        names = ", ".join(n for n, v in figures.items() if v == NotMeasured(why))
        lines.append("not measured: %s: %s" % (names, why))
    for n, v in figures.items():
        if n in base and not isinstance(v, NotMeasured) and v < base[n] * BETTER:
            lines.append("%s, %s: %s better than recorded; bench/gate/run --record --only %s --reason '...' keeps it so"
                         % (kind.title, n, percent(v, base[n]).lstrip("-"), kind.short))
    return lines


def failure(kind, name, value, baseline, seen=None):
    """What CI says of one figure that is over its limit. `seen`: all measurements, when there were several."""
    base, where = recorded(baseline, kind)[name], baseline[kind.key]
    times = "" if not seen else " (%s: too high in %d measurements in a row)" % (", ".join(kind.text(s) for s in seen), len(seen))
    return ("%s, %s: %s%s is %s against the recorded %s (commit %s); at most %s (%+.0f%%). Next: %s; or, if a request has to cost "
            "that, bench/gate/run --record --only %s --reason 'why'"
            % (kind.title, name, kind.text(value), times, percent(value, base), kind.text(base), where.get("commit", "unknown"),
               kind.text(type(base)(base * kind.factor)), 100 * (kind.factor - 1), kind.find, kind.short))


def least(kind, figures, again, baseline, say):
    """Figures that other programs, or how connections happened to spread, can raise but never lower: those that are too high are
    measured again, by again(names), and the least of up to TIMES counts."""
    figures = dict(figures)
    for _ in range(TIMES - 1):
        high = too_high(kind, figures, baseline)
        if not high:
            break
        say("%s too high: %s; measuring again" % (kind.title, ", ".join("%s %s" % (n, kind.text(figures[n])) for n in high)))
        for n, v in again(high).items():
            if not isinstance(v, NotMeasured):
                figures[n] = min(figures[n], v)
    return figures


def judge_cpu(ratios, again, baseline, say):
    """The verdict on CPU ratios, {name: ratio or NotMeasured}. `again(names)` measures those once more and gives a dict like
    `ratios`, or raises. Only what was too high TIMES times in a row is wrong."""
    seen = {n: [v] for n, v in ratios.items() if not isinstance(v, NotMeasured)}
    high = too_high(CPU, ratios, baseline)
    ratios = dict(ratios)
    while high and len(seen[high[0]]) < TIMES:
        say("CPU per request too high: %s; measuring again"
            % ", ".join("%s %.2f (at most %.2f)" % (n, seen[n][-1], recorded(baseline, CPU)[n] * CPU.factor) for n in high))
        more = again(high)
        for n in high:
            ratios[n] = more.get(n, NotMeasured("not measured again"))
            seen[n].append(ratios[n])
        high = too_high(CPU, {n: ratios[n] for n in high}, baseline)
    return ratios, [failure(CPU, n, ratios[n], baseline, seen[n]) for n in high]
