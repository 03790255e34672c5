#!/usr/bin/env python3
"""Counts the test cases of bazel runs, for tools/test.

usage: test_summary.py [--label TEXT] EVENTS.json ...
EVENTS.json: what `bazel test --build_event_json_file` wrote. A case is a GoogleTest or unittest case when the target wrote
its own XML, else the target is one case. A target that was not built, crashed or timed out is (at least) one failed case.
Prints the cases by folder, what failed, the slowest targets; the last line is "N passed, N failed". Exit 1 when one failed.
"""
import json
import sys
import urllib.parse
import xml.etree.ElementTree as xml


class Target:
    def __init__(self, label):
        self.label, self.status, self.seconds, self.cached = label, "NO_STATUS", 0.0, False
        self.passed, self.skipped, self.failures = 0, 0, []

    def read_xml(self, path):
        """True when the file has cases that ran."""
        try:
            root = xml.parse(path).getroot()
        except (OSError, xml.ParseError):
            return False
        found = False
        for case in root.iter("testcase"):
            name = (case.get("classname", "") + "." + case.get("name", "")).strip(".")
            if case.get("status") == "notrun" or case.get("result") in ("suppressed", "skipped") or case.find("skipped") is not None:
                self.skipped += 1
                continue
            found = True
            if case.find("failure") is not None or case.find("error") is not None:
                self.failures.append(name)
            else:
                self.passed += 1
        return found

    def settle(self):
        good = self.status in ("PASSED", "FLAKY")
        if not good and not self.failures:
            # It was not built, was killed, or crashed after its cases passed.
            self.failures.append(self.status.lower().replace("_", " "))
        if good and self.passed == 0 and not self.failures and self.skipped == 0:
            self.passed = 1  # A script: the target is the case.


def read_events(path):
    targets, files, build_failures = {}, {}, []
    with open(path, encoding="utf-8", errors="replace") as events:
        for line in events:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # bazel was killed while it wrote.
            what = event.get("id", {})
            if "testSummary" in event:
                label = what["testSummary"]["label"]
                target = targets.setdefault(label, Target(label))
                target.status = event["testSummary"].get("overallStatus", "NO_STATUS")
                target.seconds = int(event["testSummary"].get("totalRunDurationMillis", 0)) / 1000
            elif "testResult" in event:
                label = what["testResult"]["label"]
                target = targets.setdefault(label, Target(label))
                if target.status == "NO_STATUS":
                    target.status = event["testResult"].get("status", "NO_STATUS")
                result = event["testResult"]
                target.cached = target.cached or result.get("cachedLocally", False) or result.get("executionInfo", {}).get("cachedRemotely", False)
                # One a shard; of several attempts the last counts.
                shard = (what["testResult"].get("shard", 1), what["testResult"].get("run", 1))
                for output in result.get("testActionOutput", []):
                    if output.get("name") == "test.xml" and output.get("uri", "").startswith("file://"):
                        files.setdefault(label, {})[shard] = urllib.parse.unquote(output["uri"][len("file://"):])
            elif "targetConfigured" in what and event.get("configured", {}).get("testSize"):
                label = what["targetConfigured"]["label"]
                targets.setdefault(label, Target(label))
            elif "completed" in event and not event["completed"].get("success", False) and "targetCompleted" in what:
                build_failures.append(what["targetCompleted"]["label"])
    for label in build_failures:
        targets.setdefault(label, Target(label)).status = "FAILED_TO_BUILD"
    for label, paths in files.items():
        # What bazel writes for a program that wrote none has the program as its only case; settle() comes to the same.
        for path in paths.values():
            targets[label].read_xml(path)
    for target in targets.values():
        target.settle()
    return list(targets.values())


def main(arguments):
    label = ""
    if arguments[:1] == ["--label"]:
        label, arguments = arguments[1], arguments[2:]
    targets = [target for path in arguments for target in read_events(path)]
    by_folder = {}
    for target in targets:
        folder = target.label.split(":")[0].lstrip("/")
        passed, failed, skipped, seconds = by_folder.get(folder, (0, 0, 0, 0.0))
        by_folder[folder] = (passed + target.passed, failed + len(target.failures), skipped + target.skipped, seconds + target.seconds)
    width = max([len(folder) for folder in by_folder] + [10])
    if label:
        print(label)
    for folder, (passed, failed, skipped, seconds) in sorted(by_folder.items()):
        print(f"  {folder:<{width}}  {passed:5d} passed" + (f", {failed} failed" if failed else "") + (f", {skipped} skipped" if skipped else "") + f"  ({seconds:.1f} s)")
    for target in sorted(targets, key=lambda t: t.label):
        for name in target.failures:
            print(f"  FAILED {target.label} {name}")
    slow = sorted((t for t in targets if not t.cached and t.seconds > 5), key=lambda t: -t.seconds)[:5]
    if slow:
        print("  slowest: " + ", ".join(f"{t.label} {t.seconds:.0f} s" for t in slow))
    passed = sum(t.passed for t in targets)
    failed = sum(len(t.failures) for t in targets)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
