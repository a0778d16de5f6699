#!/usr/bin/env python3
"""run_tests.py counts what happened: a crash, a time-out or a silent script is no success."""

import collections
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

    def test_a_failure_shows_what_was_said_of_its_case(self):
        text = "ok 1 - a\nnot ok 2 - b\n# why\nok 3 - c\nnot ok 4 - d\n# how\n"
        self.assertEqual(run_tests.case_text(text, "not ok 2 - b"), "not ok 2 - b\n# why\n")
        self.assertEqual(run_tests.case_text(text, "not ok 4 - d"), "not ok 4 - d\n# how\n")

    def test_one_without_cases_counts_by_its_status(self):
        self.assertEqual(self.run_one("exit 0"), (1, []))
        self.assertEqual(self.run_one("exit 3"), (0, ["x_test"]))

    def test_dying_after_good_cases_is_a_failure(self):
        self.assertEqual(self.run_one('echo "ok a"; kill -9 $$'), (1, ["x_test"]))

    def test_it_gets_an_empty_directory_and_the_programs(self):
        self.assertEqual(self.run_one('[ -z "$(ls "$TEST_TMPDIR")" ] && [ "$MQTTD_BIN" = /nowhere/bin/mqttd ]'),
                         (1, []))


class Conformance(unittest.TestCase):
    STATEMENTS = [conformance.Statement("MQTT5-3.3.1-2", "5", "both", "DUP | QoS"),
                  conformance.Statement("MQTT5-3.1.2-10", "5", "server", "Later"),
                  conformance.Statement("MQTT311-1.1.1-1", "311", "client", "Yours")]

    def named(self):
        tests = collections.defaultdict(list)
        tests["MQTT5-3.3.1-2"] = [conformance.Test("Spec.MQTT5_3_3_1_2", "tests/spec/a_test.cc", 7)]
        return tests  # Of the broker alone: the client library's are missing.

    def test_the_page_says_what_is_tested_and_what_is_missing(self):
        page = conformance.page(self.STATEMENTS, self.named())
        self.assertIn("| MQTT 5.0 | 2 | 2 | 1 | 1 | 0 | 0 |", page)
        self.assertIn("| MQTT 3.1.1 | 1 | 0 | 0 | 1 | 0 | 0 |", page)
        self.assertIn("| MQTT5-3.3.1-2 | both | DUP \\| QoS | "
                      "[Spec.MQTT5_3_3_1_2](../tests/spec/a_test.cc) |  |", page)

    def test_a_statement_without_a_test_and_a_test_without_a_statement_are_problems(self):
        tests = self.named()
        tests["MQTT5-9.9.9-9"] = [conformance.Test("Spec.MQTT5_9_9_9_9", "tests/spec/b_test.cc", 3)]
        found = "\n".join(conformance.problems(self.STATEMENTS, tests))
        self.assertIn("MQTT5-3.1.2-10: no test of the broker", found)
        self.assertIn("MQTT5-3.3.1-2: no test of the client", found)
        self.assertIn("tests/spec/b_test.cc:3: MQTT5-9.9.9-9 is no statement", found)
        self.assertNotIn("MQTT5-3.3.1-2: no test of the broker", found)


if __name__ == "__main__":
    unittest.main()
