"""Instructions per request of fixed work (work.cc), counted by valgrind's callgrind.

Two runs, of FEW and of MANY requests; the difference over MANY - FEW requests has no set-up in it. The kernel is not in it either:
system calls are a figure of their own. What the peers of the pump do is left out (--toggle-collect).

The C library chooses memcpy and its like by the CPU, at start. PIN makes it take the plain x86-64 ones on every CPU, and
`unpinned` looks into the result whether that worked: a name such as __memcpy_avx_unaligned_erms means that it did not. The C
library's own names come from Debian's libc6-dbg.
"""

import os
import re
import shutil
import subprocess

import judge
from harness import BenchError, built
from judge import NotMeasured

LABEL = "//bench/gate:work"
FEW, MANY = 960, 2880
PIN = "glibc.cpu.hwcaps=" + ",".join("-" + f for f in (
    "AVX512F AVX512VL AVX512BW AVX2 AVX AVX_Fast_Unaligned_Load ERMS FSRM SSSE3 SSE4_1 SSE4_2 BMI1 BMI2 RTM LZCNT MOVBE POPCNT").split())
CHOSEN_BY_CPU = re.compile(r"^__\w+_(avx|avx2|evex|evex512|avx512|ssse3|sse4_?[12]|sse42|erms)(_\w+)?$|^__\w+_erms$")
PLAIN = re.compile(r"^__\w+_sse2(_unaligned)?$")
TOGGLE = ["--toggle-collect=weft::bench::Pump::*::OnReadable()", "--collect-atstart=yes"]
NAMED = 12  # functions of a figure that the baseline names
LINE = re.compile(r"fn=\((\d+)\)(?: (.*))?$")
COST = re.compile(r"[+\-*\d]\S* (\d+)$")


def built_with():
    return subprocess.run([built(LABEL), "--built-with"], capture_output=True, text=True, check=True).stdout.strip()


def names():
    return subprocess.run([built(LABEL), "--list"], capture_output=True, text=True, check=True).stdout.split()


def why_not():
    """Why nothing can be counted here; None: it can."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        return "there is no valgrind (tools/setup --bench installs it)"
    try:
        tried = subprocess.run([valgrind, "--tool=none", "-q", "/bin/true"], capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        return "valgrind does not run here: %s" % e
    if tried.returncode != 0:
        return "valgrind does not run here: %s" % ((tried.stderr.strip().splitlines() or ["exit status %d" % tried.returncode])[-1])
    return None


def self_costs(text):
    """{function: instructions in itself} of a callgrind file. Names are numbered at their first appearance, wherever that is."""
    costs, known, function, skip = {}, {}, None, False
    for line in text.splitlines():
        if line.startswith("fn="):
            number, name = LINE.match(line).groups()
            if name:
                known[number] = name
            function = number
        elif line.startswith("cfn="):
            number, name = LINE.match(line[1:]).groups()
            if name:
                known[number] = name
        elif line.startswith("calls="):
            skip = True  # the next line is what the callee cost
        elif skip:
            skip = False
        elif function is not None and (cost := COST.match(line)):
            costs[function] = costs.get(function, 0) + int(cost.group(1))
    out = {}
    for number, cost in costs.items():
        name = known.get(number, "?")
        out[name] = out.get(name, 0) + cost
    return out


def short(name):
    """A C++ function's name for a table: without arguments, template arguments and what the compiler adds."""
    name = re.sub(r" \[clone[^\]]*\]|\(anonymous namespace\)::|'\d+$", "", name)
    depth, out = 0, []
    for i, c in enumerate(name):
        if c in "<(" and not name[:i].endswith("operator"):
            depth += 1
        elif c in ">)" and depth:
            depth -= 1
        elif not depth:
            out.append(c)
    words = "".join(out).replace(" const", "").split()
    return words[-1] if words else name


def unpinned(functions):
    """Functions that the C library chose by the CPU although PIN asked it not to."""
    return sorted(f for f in functions if CHOSEN_BY_CPU.match(f))


def run(figure, requests, out):
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=%s" % out, *TOGGLE, built(LABEL), figure, str(requests)]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=300, env={**os.environ, "GLIBC_TUNABLES": PIN})
    if done.returncode != 0:
        raise BenchError("%s, under valgrind, ended with status %d:\n%s"
                         % (figure, done.returncode, "\n".join("    | " + line for line in done.stderr.splitlines()[-8:])))
    return self_costs(out.read_text(errors="replace"))


def measure(folder, say, only=None):
    """({figure: instructions per request, or NotMeasured}, {figure: {function: instructions per request}})."""
    why = why_not()
    figures, functions, seen = {}, {}, set()
    for figure in names():
        if only and figure not in only:
            continue
        if why:
            figures[figure] = NotMeasured(why)
            continue
        few = run(figure, FEW, folder / ("callgrind.%s.few" % figure))
        many = run(figure, MANY, folder / ("callgrind.%s" % figure))
        seen.update(many)
        wrong = unpinned(many)
        if wrong:
            figures[figure] = NotMeasured("the C library chose functions by this CPU's type in spite of GLIBC_TUNABLES: %s"
                                          % ", ".join(wrong))
            continue
        each = {}
        for name in many:
            cost = (many[name] - few.get(name, 0)) / (MANY - FEW)
            if cost >= 0.5:
                each[short(name)] = each.get(short(name), 0) + round(cost)
        figures[figure] = round((sum(many.values()) - sum(few.values())) / (MANY - FEW))
        functions[figure] = dict(sorted(each.items(), key=lambda i: -i[1]))
        say("instructions per request, %s: %s" % (figure, judge.INSTRUCTIONS.text(figures[figure])))
    if functions and not any(PLAIN.match(f) for f in seen):
        say("whether the C library took its plain functions can't be seen: install libc6-dbg (tools/setup --bench)")
    return figures, functions


def grown(now, before, most=8):
    """Lines that name the functions whose cost grew most; without recorded ones the most expensive."""
    floor = min(before.values(), default=0)  # what is not among the recorded ones cost at most so much
    change = {name: cost - before.get(name, min(floor, cost)) for name, cost in now.items()}
    lines = []
    for name, more in sorted(change.items(), key=lambda i: -i[1])[:most]:
        if more <= 0:
            break
        was = "recorded %s" % format(before[name], ",") if name in before else "not among the %d recorded" % len(before) if before else ""
        lines.append("    %8s  %s%s" % (format(now[name], ","), name, "  (%s)" % was if was else ""))
    return lines
