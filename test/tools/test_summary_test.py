#!/usr/bin/env python3
"""What tools/lib/test_summary.py makes of bazel's events."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

SUMMARY = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../tools/lib/test_summary.py")
if not os.path.exists(SUMMARY):
    SUMMARY = "tools/lib/test_summary.py"

GTEST = """<testsuites tests="3"><testsuite name="A">
<testcase name="one" classname="A" status="run" result="completed"/>
<testcase name="two" classname="A" status="run" result="completed"><failure message="x"/></testcase>
<testcase name="off" classname="A" status="notrun" result="suppressed"/></testsuite></testsuites>"""


class Summary(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.events = []

    def tearDown(self):
        self.folder.cleanup()

    def configured(self, label):
        self.events.append({"id": {"targetConfigured": {"label": label}}, "configured": {"targetKind": "cc_test rule", "testSize": "SMALL"}})

    def ran(self, label, status, xml=None):
        self.configured(label)
        outputs = []
        if xml is not None:
            path = os.path.join(self.folder.name, "%d.xml" % len(self.events))
            with open(path, "w") as out:
                out.write(xml)
            outputs.append({"name": "test.xml", "uri": "file://" + path})
        self.events.append({"id": {"testResult": {"label": label, "run": 1, "shard": 1}}, "testResult": {"status": status, "testActionOutput": outputs}})
        self.events.append({"id": {"testSummary": {"label": label}}, "testSummary": {"overallStatus": status, "totalRunDurationMillis": "1500"}})

    def run_it(self):
        path = os.path.join(self.folder.name, "events.json")
        with open(path, "w") as out:
            out.writelines(json.dumps(event) + "\n" for event in self.events)
            out.write('{"id": {"cut')  # bazel was killed while it wrote.
        done = subprocess.run([sys.executable, SUMMARY, path], capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.splitlines()

    def test_cases_are_counted_one_by_one(self):
        self.ran("//a:t", "FAILED", GTEST)
        self.ran("//a:u", "PASSED", GTEST.replace('<failure message="x"/>', ""))
        code, lines = self.run_it()
        self.assertEqual(lines[-1], "3 passed, 1 failed")
        self.assertIn("  FAILED //a:t A.two", lines)
        self.assertEqual(code, 1)

    def test_a_script_is_one_case(self):
        self.ran("//a:script", "PASSED", "")
        code, lines = self.run_it()
        self.assertEqual((code, lines[-1]), (0, "1 passed, 0 failed"))

    def test_a_crash_after_good_cases_is_a_failure(self):
        self.ran("//a:t", "FAILED", GTEST.replace('<failure message="x"/>', ""))
        code, lines = self.run_it()
        self.assertEqual((code, lines[-1]), (1, "2 passed, 1 failed"))

    def test_what_was_not_built_or_not_run_is_a_failure(self):
        self.configured("//a:t")
        self.events.append({"id": {"targetCompleted": {"label": "//a:t"}}, "completed": {"success": False}})
        self.ran("//a:slow", "TIMEOUT")
        code, lines = self.run_it()
        self.assertEqual((code, lines[-1]), (1, "0 passed, 2 failed"))
        self.assertIn("  FAILED //a:t failed to build", lines)
        self.assertIn("  FAILED //a:slow timeout", lines)

    def test_nothing_at_all_is_no_success(self):
        code, lines = self.run_it()
        self.assertEqual((code, lines[-1]), (1, "0 passed, 0 failed"))


if __name__ == "__main__":
    unittest.main()
