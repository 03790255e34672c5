"""System calls per request of weft-proxy under steady load: bench/macro/syscalls, and why there may be none."""

import json
import subprocess
import sys
from pathlib import Path

from harness import BenchError
from judge import NotMeasured

COMMAND = Path(__file__).resolve().parents[1] / "macro" / "syscalls"


def why_not(output):
    """What the machine forbids, by the command's own words; None: something else is wrong."""
    if "there is no strace" in output:
        return "there is no strace (tools/setup --bench installs it)"
    if "Operation not permitted" in output and "ptrace" in output.lower():
        return ("strace may not attach: ptrace is forbidden here (in a container: start it with --cap-add=SYS_PTRACE; "
                "not as root: sysctl kernel.yama.ptrace_scope=0)")
    return None


def measure(folder, say, seconds=3.0, command=COMMAND):
    """{"h1": calls per request, or NotMeasured}. Waiting is in it: one wait serves all connections that are ready."""
    out = folder / "syscalls.json"
    done = subprocess.run([sys.executable, command, "--no-build", "--only", "weft-proxy", "--seconds", str(seconds), "--json", out],
                          capture_output=True, text=True, errors="replace", timeout=120)
    if done.returncode != 0:
        why = why_not(done.stdout + done.stderr)
        if why is None:
            raise BenchError("bench/macro/syscalls: %s" % (done.stderr.strip() or "exit status %d" % done.returncode))
        return {"h1": NotMeasured(why)}
    calls = json.loads(out.read_text())["peers"]["weft-proxy"]["calls_per_request"]
    total = sum(calls.values())
    say("system calls per request, h1: %.2f (%s)"
        % (total, ", ".join("%s %.2f" % (n, c) for n, c in sorted(calls.items(), key=lambda i: -i[1]) if c >= 0.005)))
    return {"h1": total}
