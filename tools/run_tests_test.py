#!/usr/bin/env python3
"""run_tests.py counts what happened: a crash, a time-out or a silent script is no success."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import conformance
import run_tests


class Googletest(unittest.TestCase):
    def count(self, xml):
        tally = run_tests.Tally()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "a_test.xml"
            path.write_text(xml)
            run_tests.count_googletest("a_test", path, tally)
        return tally.passed, [name for name, _ in tally.failures]

    def test_passed_failed_and_skipped_cases(self):
        self.assertEqual(self.count("""<testsuites><testsuite>
            <testcase name="A" classname="S" status="run" result="completed"/>
            <testcase name="B" classname="S" status="run" result="completed"><failure message="no"/></testcase>
            <testcase name="C" classname="S" status="run" result="skipped"><skipped message="x"/></testcase>
            <testcase name="D" classname="S" status="notrun" result="suppressed"/>
            </testsuite></testsuites>"""), (1, ["a_test: S.B"]))

    def test_a_torn_report_is_a_failure(self):
        self.assertEqual(self.count("<testsuites><testsuite>"), (0, ["a_test"]))


class Scripts(unittest.TestCase):
    def run_one(self, body):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "x_test.sh"
            path.write_text("#!/bin/sh\n" + body)
            path.chmod(0o755)
            _, tally, _ = run_tests.run_script(path, Path("/nowhere"))
        for _, output in tally.failures:  # What a failed script leaves for its reader.
            for word in output.split():
                if word.startswith(tempfile.gettempdir()) and os.path.isdir(word):
                    os.rmdir(word)
        return tally.passed, [name for name, _ in tally.failures]

    def test_its_cases_are_counted(self):
        self.assertEqual(self.run_one('echo "ok 1 - a"; echo "ok b"; echo okay'), (2, []))
        self.assertEqual(self.run_one('echo "ok a"; echo "not ok 2 - b c"; exit 1'), (1, ["x_test: b c"]))

    def test_one_without_cases_counts_by_its_status(self):
        self.assertEqual(self.run_one("exit 0"), (1, []))
        self.assertEqual(self.run_one("exit 3"), (0, ["x_test"]))

    def test_dying_after_good_cases_is_a_failure(self):
        self.assertEqual(self.run_one('echo "ok a"; kill -9 $$'), (1, ["x_test"]))

    def test_it_gets_an_empty_directory_and_the_programs(self):
        self.assertEqual(self.run_one('[ -z "$(ls "$TEST_TMPDIR")" ] && [ "$MQTTD_BIN" = /nowhere/bin/mqttd ]'),
                         (1, []))


class Conformance(unittest.TestCase):
    STATEMENTS = [conformance.Statement("MQTT5-3.3.1-2", "both", "DUP | QoS"),
                  conformance.Statement("MQTT5-3.1.2-10", "server", "Later"),
                  conformance.Statement("MQTT311-1.1.1-1", "client", "Yours")]

    def test_the_page_says_what_is_tested_and_what_is_missing(self):
        page = conformance.render(self.STATEMENTS,
                                  {"MQTT5-3.3.1-2": {("tests/spec/a_test.cc", "Spec.MQTT5_3_3_1_2")}})
        self.assertIn("| MQTT 5.0 | 2 | 1 | 0 | 1 |", page)
        self.assertIn("| MQTT 3.1.1 | 1 | 0 | 1 | 0 |", page)
        self.assertIn("| MQTT5-3.3.1-2 | both | DUP \\| QoS | "
                      "[Spec.MQTT5_3_3_1_2](../tests/spec/a_test.cc) |", page)
        self.assertLess(page.index("MQTT5-3.1.2-10"), page.index("MQTT5-3.3.1-2"))

    def test_a_number_without_a_version_is_both(self):
        self.assertEqual(conformance.both_if_unversioned("MQTT", "3.3.1-2"),
                         ["MQTT5-3.3.1-2", "MQTT311-3.3.1-2"])


if __name__ == "__main__":
    unittest.main()
