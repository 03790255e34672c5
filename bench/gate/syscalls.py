"""System calls per request of weft-proxy under steady load: bench/macro/syscalls, and why there may be none."""

import json
import re
import subprocess
import sys
from pathlib import Path

from harness import BenchError
from judge import NotMeasured

COMMAND = Path(__file__).resolve().parents[1] / "macro" / "syscalls"
ROWS = ("h1", "h2")  # 64 connections of HTTP/1.1; 4 of HTTP/2 with 16 streams each
IN_FLIGHT = 64       # in both, when counting begins and when it ends: the counts are off by up to so many requests' calls
ENOUGH = 50 * IN_FLIGHT  # hence by 2%
LONGEST = 30.0       # seconds, on a machine so slow that it takes them


def why_not(output):
    """What the machine lacks or forbids, by the command's own words; None: something else is wrong."""
    missing = re.search(r"there is no (strace|h2load)", output)
    if missing:
        return "there is no %s (tools/setup --bench installs it)" % missing.group(1)
    if "Operation not permitted" in output and "ptrace" in output.lower():
        return ("strace may not attach: ptrace is forbidden here (in a container: start it with --cap-add=SYS_PTRACE; "
                "not as root: sysctl kernel.yama.ptrace_scope=0)")
    return None


def measure(folder, say, rows=ROWS, seconds=2.0, command=COMMAND):
    """{row: calls per request, or NotMeasured}. Waiting is in it: one wait serves all connections that are ready."""
    return {row: measure_row(folder, say, row, seconds, command) for row in rows}


def measure_row(folder, say, row, seconds, command):
    """Counts for as long as it takes that what was in flight at both ends does not matter."""
    figure = count(folder, row, seconds, command)
    if not isinstance(figure, NotMeasured) and figure["requests"] < ENOUGH:
        figure = count(folder, row, min(LONGEST, 1.5 * seconds * ENOUGH / figure["requests"]), command)
    if isinstance(figure, NotMeasured):
        return figure
    calls = figure["calls_per_request"]
    total = sum(calls.values())
    say("system calls per request, %s: %.3f (%s)"
        % (row, total, ", ".join("%s %.3f" % (n, c) for n, c in sorted(calls.items(), key=lambda i: -i[1]) if c >= 0.005)))
    return total


def count(folder, row, seconds, command):
    """What bench/macro/syscalls found of weft-proxy, or NotMeasured."""
    out = folder / ("syscalls.%s.json" % row)
    done = subprocess.run([sys.executable, command, "--no-build", "--only", "weft-proxy", "--row", row, "--seconds", str(seconds),
                           "--json", out], capture_output=True, text=True, errors="replace", timeout=120)
    if done.returncode != 0:
        why = why_not(done.stdout + done.stderr)
        if why is None:
            raise BenchError("bench/macro/syscalls --row %s: %s" % (row, done.stderr.strip() or "exit status %d" % done.returncode))
        return NotMeasured(why)
    return json.loads(out.read_text())["peers"]["weft-proxy"]
