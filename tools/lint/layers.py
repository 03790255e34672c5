#!/usr/bin/env python3
"""Checks what Bazel can't: layers by #include and by deps, headers that belong to one folder, banned words, top level.

Usage: layers.py [--root DIR]. Prints one line a violation (file:line: what, and why it matters); exit code 1 if any.
The rules are docs/architecture.md's; this file is their one list, also for dataplane/BUILD.bazel (see PackageGroups).
"""

import argparse
import ast
import os
import re
import sys

TOP_LEVEL = ["WORKSPACE", "BUILD.bazel", "README.md", "api", "bench", "controlplane", "dataplane", "docs", "test", "tools"]

# What each folder of dataplane/ may see of its neighbours. Everything may see api/.
BELOW_NET = ["base", "event", "buffer"]
LAYERS = {
    "base": [],
    "event": ["base"],
    "buffer": ["base", "event"],
    "net": BELOW_NET,
    "decide": ["base"],
    "observe": ["base", "event"],
    "tls": BELOW_NET + ["net", "observe"],
    "http": BELOW_NET + ["net", "observe"],
}
LAYERS["upstream"] = BELOW_NET + ["net", "tls", "http", "decide", "observe"]
LAYERS["proxy"] = LAYERS["upstream"] + ["upstream"]
LAYERS["filters"] = LAYERS["proxy"] + ["proxy"]
LAYERS["config"] = LAYERS["filters"] + ["filters"]
LAYERS["runtime"] = LAYERS["config"] + ["config"]
LAYERS["admin"] = LAYERS["upstream"] + ["upstream", "config"]
LAYERS["app"] = sorted(set(LAYERS) - {"app"})

# What trees outside dataplane/ may see of it.
TREES = {
    "api": ["base"],  # small helpers for text, no more
    "controlplane": BELOW_NET + ["net", "tls", "http", "observe", "decide"],
    "tools/weftctl": BELOW_NET + ["net", "tls", "http", "observe", "decide"],
    "tools/demo": [],
}

# Header -> folders that may include it, and why.
OWNED_HEADERS = [
    (re.compile(r"^uv\.h$|^uv/"), ("dataplane/event", "bench"), "only dataplane/event talks to libuv"),
    (re.compile(r"^openssl/"), ("dataplane/tls",), "only dataplane/tls talks to BoringSSL"),
    (re.compile(r"^absl/synchronization/"), (), "std::mutex instead: Debian's Abseil shows false races under TSAN"),
    (re.compile(r"^absl/log/"), (), "dataplane/base/log.h instead: Abseil 20220623 has no log library"),
]

# Written in pieces, since this file is checked as well.
BANNED_WORDS = [
    (re.compile(r"\babsl::" + r"(Mutex|CondVar|Notification)\b"), "std::mutex and friends instead (TSAN)"),
    (re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b"), "finish it, or file an issue"),
]
REGISTRIES = [".".join(parts) for parts in [
    ("pypi", "org"), ("pythonhosted", "org"), ("crates", "io"), ("npmjs", "org"), ("proxy", "golang", "org"),
    ("sum", "golang", "org"), ("rubygems", "org"), ("maven", "apache", "org"), ("repo1", "maven", "org"),
    ("registry-1", "docker", "io"), ("hub", "docker", "com"), ("ghcr", "io"), ("quay", "io"), ("deb", "debian", "org"),
]]
REGISTRY = re.compile("|".join(r"(?<![\w-])" + re.escape(host) for host in REGISTRIES))

SOURCE = (".h", ".cc", ".c", ".inc")
TEXT = SOURCE + (".proto", ".py", ".sh", ".bzl", ".bazel", ".md", ".yaml", ".yml", ".json", ".html")
SKIPPED = ("test/fuzz/corpus", "tools/bazel/third_party")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
LABELS = ("deps", "srcs", "hdrs", "data", "textual_hdrs", "implementation_deps")


class Linter:
    def __init__(self, root):
        self.root = root
        self.problems = []

    def report(self, path, line, message):
        self.problems.append("%s:%d: %s" % (path, line, message))

    def run(self):
        self.check_top_level()
        for path in self.files():
            self.check_file(path)
        self.check_package_groups()
        return self.problems

    def files(self):
        for folder, folders, names in os.walk(self.root):
            relative = os.path.relpath(folder, self.root)
            relative = "" if relative == "." else relative + "/"
            folders[:] = sorted(
                d for d in folders
                if not d.startswith(".") and not (relative == "" and d.startswith("bazel-")) and d != "__pycache__" and
                not any((relative + d) == s for s in SKIPPED))
            for name in sorted(names):
                yield relative + name

    def check_top_level(self):
        found = [n for n in os.listdir(self.root) if not n.startswith(".") and not n.startswith("bazel-")]
        for name in sorted(set(found) - set(TOP_LEVEL)):
            self.report(name, 1, "does not belong at the top level (%s and dotfiles do)" % " ".join(TOP_LEVEL))
        for name in sorted(set(TOP_LEVEL) - set(found)):
            self.report(name, 1, "is missing at the top level")

    def check_file(self, path):
        name = os.path.basename(path)
        script = "." not in name  # tools/up and the like
        if not path.endswith(TEXT) and not script and name != "WORKSPACE":
            return
        try:
            with open(os.path.join(self.root, path), encoding="utf-8") as f:
                text = f.read()
        except UnicodeDecodeError:
            return  # not text
        source = path.endswith(SOURCE)
        for number, line in enumerate(text.splitlines(), 1):
            if source:
                self.check_include(path, number, line)
            for word, why in BANNED_WORDS:
                found = word.search(line)
                if found:
                    self.report(path, number, "%s: %s" % (found.group(0), why))
            found = REGISTRY.search(line)
            if found:
                self.report(path, number, "names a package registry's host (%s)" % found.group(0))
        if name in ("BUILD.bazel", "BUILD"):
            self.check_build(path, text)

    def check_include(self, path, number, line):
        found = INCLUDE.match(line)
        if not found:
            return
        header = found.group(1) or found.group(2)
        for pattern, owners, why in OWNED_HEADERS:
            if pattern.match(header) and not path.startswith(tuple(o + "/" for o in owners)):
                self.report(path, number, "includes <%s>: %s" % (header, why))
        if found.group(1):
            self.check_reference(path, number, header, "includes")

    def check_build(self, path, text):
        package = os.path.dirname(path)
        try:
            tree = ast.parse(text)  # BUILD files are a subset of Python's syntax
        except SyntaxError as error:
            self.report(path, error.lineno or 1, "can't be read: %s" % error.msg)
            return
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            for keyword in call.keywords:
                if keyword.arg not in LABELS + ("visibility", "default_visibility"):
                    continue
                for node in ast.walk(keyword.value):
                    if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and
                            node.value.startswith("//")):
                        continue
                    if keyword.arg not in LABELS:
                        self.check_visibility(package, node)
                    else:
                        self.check_reference(package + "/BUILD.bazel", node.lineno,
                                             node.value[2:].split(":")[0] + "/", "depends on")

    def check_visibility(self, package, node):
        parts = package.split("/")
        if parts[0] == "dataplane" and len(parts) > 1 and node.value == "//visibility:public":
            self.report(package + "/BUILD.bazel", node.lineno,
                        'visible to all; "//dataplane:%s_users" is who may see this layer' % parts[1])

    def check_reference(self, path, number, target, verb):
        """`target` is a header's path or a package's, with a slash behind the folder."""
        parts = path.split("/")
        wanted = target.split("/")
        tree = None
        if parts[0] == "dataplane" and len(parts) > 2:
            if wanted[0] in ("controlplane", "tools", "bench", "test"):
                self.report(path, number, "%s %s: dataplane/ sees api/ and itself only" % (verb, target))
                return
            tree, allowed = parts[1], LAYERS.get(parts[1])
            if allowed is None:
                self.report(path, number, "dataplane/%s is not in the list of layers (tools/lint/layers.py)" % parts[1])
                return
            if wanted[0] == "dataplane" and wanted[1] == parts[1]:
                return
        else:
            for prefix, allowed_there in TREES.items():
                if path.startswith(prefix + "/"):
                    tree, allowed = prefix, allowed_there
            if tree is None:
                return
            if tree == "api" and wanted[0] in ("controlplane", "tools", "bench", "test"):
                self.report(path, number, "%s %s: api/ is below everything" % (verb, target))
                return
            if tree == "controlplane" and wanted[0] in ("tools", "bench", "test"):
                self.report(path, number, "%s %s: controlplane/ is below tools and tests" % (verb, target))
                return
        if wanted[0] == "dataplane" and len(wanted) > 1 and wanted[1] not in allowed:
            self.report(path, number, "%s %s: %s may see %s of dataplane/" %
                        (verb, target.rstrip("/"), tree, ", ".join(sorted(allowed)) or "nothing"))

    def check_package_groups(self):
        """dataplane/BUILD.bazel says the same to Bazel: package_group <folder>_users is who may see <folder>."""
        path = "dataplane/BUILD.bazel"
        full = os.path.join(self.root, path)
        if not os.path.exists(full):
            self.report(path, 1, "is missing: it holds the package groups of the layers")
            return
        with open(full, encoding="utf-8") as f:
            text = f.read()
        if text != package_groups():
            self.report(path, 1, "differs from the layers; write it with tools/lint/layers.py --package-groups")


def users(folder):
    """Packages that may see dataplane/<folder>; tests and benches may see everything."""
    packages = ["//bench/...", "//test/...", "//dataplane/%s/..." % folder]
    packages += ["//dataplane/%s/..." % other for other, seen in LAYERS.items() if folder in seen]
    packages += ["//%s/..." % tree for tree, seen in TREES.items() if folder in seen]
    return sorted(packages)


def package_groups():
    out = ["# Who may see which layer. Written by tools/lint/layers.py --package-groups; do not edit.\n"]
    for folder in LAYERS:
        out.append('\npackage_group(\n    name = "%s_users",\n    packages = [\n' % folder)
        out += ['        "%s",\n' % package for package in users(folder)]
        out.append("    ],\n)\n")
    return "".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    # Under Bazel this file is a link to the real one, beside the real sources.
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    parser.add_argument("--package-groups", action="store_true", help="print dataplane/BUILD.bazel and end")
    args = parser.parse_args()
    if args.package_groups:
        sys.stdout.write(package_groups())
        return 0
    problems = Linter(args.root).run()
    for problem in problems:
        print(problem)
    print("%d problem%s" % (len(problems), "" if len(problems) == 1 else "s"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
