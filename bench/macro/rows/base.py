"""What a row of the goals' table is: peers, a turn, a cost, goals, and the line that it adds to the summary."""

import dataclasses

import harness
import peers as peers_module
import pki as pki_module
import turns as turns_module
from shape import Shape
from turns import Bench, Result, cpu_us, load_turn, median

COLUMNS = ["weft-proxy", "relay", "haproxy", "nginx", "envoy"]  # of the summary


@dataclasses.dataclass(frozen=True)
class Goal:
    """weft-proxy costs at most `most` times what peer `of` costs; without `of`, at most `most` units."""

    most: float
    of: str = ""


@dataclasses.dataclass
class Line:
    """One line of the summary. figures: {peer: cost}. ratios: {peer: ratio}, for the goals. wrong: why the figures do not count."""

    name: str
    unit: str
    form: str
    goals: list
    figures: dict
    ratios: dict
    wrong: str = ""

    def verdicts(self):
        """[(what was seen, the goal, True, False or None when a figure is missing)], one for each goal."""
        out = []
        for goal in self.goals:
            seen = self.ratios.get(goal.of) if goal.of else self.figures.get("weft-proxy")
            shown = "-" if seen is None else "%.2f x %s" % (seen, goal.of) if goal.of else self.form % seen
            wanted = "%g x" % goal.most if goal.of else "%g" % goal.most
            out.append((shown, wanted, None if seen is None or self.wrong else seen <= goal.most))
        return out

    def cells(self):
        verdicts = self.verdicts()
        met = [v[2] for v in verdicts]
        word = "" if not met else self.wrong or ("no" if False in met else "not measured" if None in met else "yes")
        shown = lambda n: self.form % self.figures[n] if self.figures.get(n) is not None else "-"  # noqa: E731
        return [self.name, self.unit, *(shown(n) for n in COLUMNS), ", ".join(v[0] for v in verdicts if "x" in v[0]) or "-",
                ", ".join(v[1] for v in verdicts) or "-", word or "-"]


def summary(lines):
    """The table that RESULTS.md keeps."""
    return harness.table(["row", "unit", *COLUMNS, "ratio", "goal, at most", "met"], [line.cells() for line in lines])


class Row:
    """A row. Subclasses say what differs from: HTTP/1 answers of 1 KB by //bench/macro:load, CPU per request."""

    name = title = ""
    unit, form = "us/request", "%.2f"
    among = peers_module.NAMES  # who takes part, where they can
    goals = []
    shape = Shape()
    secure = False          # needs certificates
    size = None             # of an answer, where it is not the command's
    connections_note = 0    # upstream connections that a peer needs at most; 0: not looked at

    def peers(self, bench):
        shape = dataclasses.replace(self.shape, pki=bench.pki)
        return peers_module.chosen(bench.args.only, shape, self.among) + peers_module.others(bench.args.also, shape)

    def turn(self, bench, peer):
        return load_turn(bench, peer, size=self.size or bench.args.size)

    def cost(self, turn):
        return cpu_us(turn)

    def started(self, bench, results):
        """When all peers are up: checks that the work is what it should be."""

    def measured(self, results):
        """When all turns were taken: what is computed across peers."""

    def lines(self, results):
        by_name = {r.name: r for r in results}
        weft = by_name.get("weft-proxy")
        ratios = {g.of: weft.ratio_to(by_name.get(g.of)) for g in self.goals if g.of} if weft else {}
        failed = [r.name for r in results if r.errors()]
        return [Line(self.name, self.unit, self.form, self.goals, {r.name: median(r.costs()) for r in results if r.counted()},
                     {n: ratio[0] for n, ratio in ratios.items() if ratio}, "errors of " + ", ".join(failed) if failed else "")]

    def run(self, bench):
        """(results, lines). Prints the row's own table."""
        results = self.results(bench)
        bench.start_origin(self.size or bench.args.size)
        turns_module.start_all(bench, results)
        self.started(bench, results)
        turns_module.measure(bench, results, bench.args.turns, self.turn, self.name)
        self.measured(results)
        turns_module.print_table(results, bench.args.turns, self.unit, self.connections_note)
        return results, self.lines(results)

    def results(self, bench):
        if self.secure:
            bench.pki = pki_module.Pki(bench.supervisor.folder)
        results = [Result(p, self.cost) for p in self.peers(bench)]
        for r in results:
            r.peer.connections = max(1024, bench.args.connections + 64)
            if r.name == "weft-proxy" and bench.unbuilt:
                r.failure, r.broken = bench.unbuilt, True
        return results


__all__ = ["Bench", "Goal", "Line", "Result", "Row", "Shape", "summary"]
