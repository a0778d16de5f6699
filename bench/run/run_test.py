#!/usr/bin/env python3
"""The benchmark's arithmetic, what counts as met, and that results survive a file."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import charts
import document
import main
import micro
import procedures
import report
import scenarios
import targets
from stats import Goal, adjacent_difference, adjacent_ratio, by_chance, median, number, rounds_above, spread


class Arithmetic(unittest.TestCase):
    def test_the_median_leaves_out_what_was_not_measured(self):
        self.assertEqual(median([3, None, 1, 2]), 2)
        self.assertEqual(median([1, 2]), 1.5)
        self.assertIsNone(median([None]))

    def test_a_ratio_is_taken_between_neighbours_and_not_between_medians(self):
        # The machine slows down threefold; the ratio stays 2 in each round.
        self.assertEqual(adjacent_ratio([2, 4, 6], [1, 2, 3]), 2)
        # A ratio of medians would say 4 / 3.
        self.assertEqual(adjacent_ratio([4, 4, 9], [4, 3, 3]), 4 / 3)
        self.assertEqual(adjacent_ratio([1, 4, 9], [1, 1, 3]), 3)

    def test_a_round_that_failed_on_one_side_does_not_count(self):
        self.assertEqual(adjacent_ratio([2, None, 5], [1, 1, 0]), 2)
        self.assertIsNone(adjacent_ratio([None], [1]))
        self.assertEqual(adjacent_difference([5, None, 9], [1, 1, 2]), 5.5)

    def test_spread_is_half_the_range_over_the_median(self):
        self.assertEqual(spread([90, 100, 110]), 0.1)
        self.assertEqual(spread([5]), 0)
        self.assertEqual(spread([None, None]), 0)

    def test_numbers_have_three_digits_that_count(self):
        self.assertEqual([number(value) for value in (0.4567, 12.34, 1234567.8, 0, None)],
                         ["0.46", "12.3", "1,234,568", "0", "–"])


class Goals(unittest.TestCase):
    COLUMNS = {"mqttd": [2, 2.4, 2.2], "floor": [2, 2, 2], "late": [None, 3, None]}

    def test_ratio(self):
        self.assertTrue(Goal("mqttd", 1.1, "floor").met(self.COLUMNS))
        self.assertFalse(Goal("mqttd", 1.09, "floor").met(self.COLUMNS))
        self.assertEqual(Goal("late", 9, "floor").value(self.COLUMNS), 1.5)

    def test_ratio_at_least(self):
        self.assertTrue(Goal("mqttd", 1.1, "floor", "ratio at least").met(self.COLUMNS))
        self.assertFalse(Goal("mqttd", 1.2, "floor", "ratio at least").met(self.COLUMNS))

    def test_bounds_and_differences(self):
        self.assertTrue(Goal("mqttd", 2.2, kind="at most").met(self.COLUMNS))
        self.assertFalse(Goal("mqttd", 2.1, kind="at most").met(self.COLUMNS))
        self.assertTrue(Goal("mqttd", 2.2, kind="at least").met(self.COLUMNS))
        self.assertFalse(Goal("mqttd", 0.1, "floor", kind="difference").met(self.COLUMNS))

    def test_not_above_is_missed_only_if_the_rounds_show_a_difference(self):
        goal = Goal("mqttd", to="mosquitto", kind="not above")
        above_in_9_of_12 = {"mqttd": [2.0] * 12, "mosquitto": [1.0] * 9 + [3.0] * 3}
        above_in_10_of_12 = {"mqttd": [2.0] * 12, "mosquitto": [1.0] * 10 + [3.0] * 2}
        self.assertTrue(goal.met(above_in_9_of_12))
        self.assertFalse(goal.met(above_in_10_of_12))
        self.assertEqual(report.judged(goal, goal.value(above_in_9_of_12), above_in_9_of_12),
                         "2.00 × mosquitto (above in 9 of 12 rounds)")
        self.assertIsNone(goal.met({"mqttd": [1.0]}))

    def test_too_few_rounds_are_no_measurement(self):
        goal = Goal("mqttd", to="mosquitto", kind="not above")
        self.assertIsNone(goal.met({"mqttd": [2.0] * 4, "mosquitto": [1.0] * 4}))
        self.assertFalse(goal.met({"mqttd": [2.0] * 5, "mosquitto": [1.0] * 5}))
        self.assertTrue(goal.met({"mqttd": [1.0] * 5, "mosquitto": [1.0] * 5}))  # All the same.

    def test_rounds_that_tie_or_failed_show_nothing(self):
        self.assertEqual(rounds_above([1, 2, 3, None, 5], [1, 1, 4, 1, None]), (1, 2))

    def test_chance_is_that_of_a_fair_coin(self):
        self.assertEqual(by_chance(0, 0), 1)
        self.assertEqual(by_chance(5, 5), 1 / 32)
        self.assertEqual(by_chance(1, 2), 3 / 4)

    def test_what_was_not_measured_is_neither_met_nor_missed(self):
        self.assertIsNone(Goal("mqttd", 1, "mosquitto").met(self.COLUMNS))
        self.assertIsNone(Goal("mosquitto", 1, kind="at most").met(self.COLUMNS))
        self.assertEqual(report.verdict(None), "not measured")

    def test_it_says_what_it_wants(self):
        self.assertEqual(Goal("mqttd", 1.3, "floor").text(), "≤ 1.3 × floor")
        self.assertEqual(Goal("ws", 200, "tcp", "difference").text(), "≤ tcp + 200")
        self.assertEqual(Goal("tls", 16384, kind="at most").text(), "≤ 16,384")
        self.assertEqual(Goal("x", 1, kind="at least").text(), "≥ 1")
        self.assertEqual(Goal("x", to="y", kind="not above").text(), "not above y")


class Results(unittest.TestCase):
    SCENARIO = scenarios.Scenario("x", "cost", "X", (scenarios.Row("cpu", "µs", (Goal("a", 1.3, "b"),)),
                                                     scenarios.Row("p99", "µs")), ())
    ROUNDS = [{("cpu", "a"): 1.0, ("cpu", "b"): 1.0, ("p99", "a"): None}, {("cpu", "a"): 2.0, ("cpu", "b"): 1.0}]

    def test_rows_without_a_figure_are_left_out(self):
        results = list(report.results_of(self.SCENARIO, self.ROUNDS))
        self.assertEqual([(result.row, result.columns) for result in results], [("cpu", {"a": [1.0, 2.0], "b": [1.0, 1.0]})])

    def test_they_survive_json(self):
        (result,) = report.results_of(self.SCENARIO, self.ROUNDS)
        self.assertEqual(report.Result.from_json(result.as_json()), result)
        self.assertFalse(result.as_json()["goals"][0]["met"])

    def test_the_table_names_what_was_missed(self):
        results = list(report.results_of(self.SCENARIO, self.ROUNDS))
        text = "\n".join(report.table(results, {"cost": "Cost"}))
        self.assertIn("MISSED", text)
        self.assertIn("a: 1.50 × b   (goal ≤ 1.3 × b)", text)
        self.assertEqual(report.tally(results), (0, 1, 0))


class Scenarios(unittest.TestCase):
    def test_identifiers_are_unique_and_groups_known(self):
        found = list(scenarios.all_scenarios())
        self.assertEqual(len({scenario.id for scenario in found}), len(found))
        self.assertEqual({scenario.group for scenario in found}, set(scenarios.GROUPS))

    def test_a_goal_names_columns_that_exist(self):
        named_by_themselves = {"10³", "10⁴", "10⁵", "10⁶", "quiet", "in the storm", "mosquitto in the storm",
                               "few", "among many", "while they return", "delivered", "gone", "held", "after it has gone"}
        for scenario in scenarios.all_scenarios():
            columns = {measure.label for measure in scenario.measures} | named_by_themselves
            for goal in (goal for row in scenario.rows for goal in row.goals):
                self.assertIn(goal.of, columns, scenario.id)
                self.assertIn(goal.to or goal.of, columns, scenario.id)

    def test_a_comparison_of_two_builds_has_no_other_programs(self):
        for scenario in map(scenarios.compared, scenarios.all_scenarios()):
            self.assertLessEqual({measure.target for measure in scenario.measures}, {"mqttd", "against"})


class LeftToDo(unittest.TestCase):
    def test_it_is_what_was_estimated_at_the_pace_so_far(self):
        progress = main.Progress([10, 10, 20])
        self.assertEqual(progress.left(progress.begun), 40)
        progress.at, progress.since = 1, progress.begun + 20  # Twice as long as estimated.
        self.assertEqual(progress.left(progress.since), 60)
        self.assertEqual(progress.left(progress.since + 5), 55)

    def test_a_whole_run_takes_about_forty_minutes(self):
        options = main.parse([])
        self.assertLess(sum(scenario.seconds(options) for scenario in scenarios.all_scenarios()), 45 * 60)

    def test_without_a_tool_its_scenarios_are_left_out(self):
        here = scenarios.Scenario("a", "cost", "A", (scenarios.Row("x", "x"),), (), tool="sh")
        missing = scenarios.Scenario("b", "cost", "B", (scenarios.Row("x", "x"),), (), tool="no-such-tool-at-all")
        self.assertEqual(main.with_tools([here, missing]), [here])


class Apart(unittest.TestCase):
    def test_server_and_generators_share_no_processor(self):
        def alone(processor):
            return {processor}
        self.assertEqual(targets.halves({0, 1}, alone), ({0}, {1}))
        self.assertEqual(targets.halves({4, 1, 7, 2, 3}, alone), ({1, 2}, {3, 4, 7}))
        self.assertIsNone(targets.halves({3}, alone))

    def test_the_two_threads_of_a_core_stay_together(self):
        cores = {0: {0, 2}, 2: {0, 2}, 1: {1, 3}, 3: {1, 3}}
        self.assertEqual(targets.halves({0, 1, 2, 3}, cores.__getitem__), ({0, 2}, {1, 3}))
        self.assertIsNone(targets.halves({0, 2}, cores.__getitem__))

    def test_a_child_runs_where_it_is_kept(self):
        one = {min(os.sched_getaffinity(0))}
        said = subprocess.run([sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], capture_output=True,
                              text=True, check=True, preexec_fn=targets.kept_to(one))
        self.assertEqual(said.stdout.strip(), str(one))


class Laps(unittest.TestCase):
    class Traffic:
        def __init__(self, laps):
            self.laps = laps

        def end(self):
            return {"laps": self.laps} if self.laps else {}

    def test_what_follows_the_named_laps_does_not_count(self):
        laps = [{"latency_us": {"p99": 10, "p50": 1}}, {"latency_us": {"p99": 30, "p50": 3}}, {"latency_us": {"p99": 99}}]
        found = procedures.laps_of(self.Traffic(laps), ("quiet", "storm"))
        self.assertEqual(procedures.latencies(found, {"quiet": "quiet", "storm": "x storm"}),
                         {("p99", "quiet"): 10, ("p50", "quiet"): 1, ("p99", "x storm"): 30, ("p50", "x storm"): 3})

    def test_a_run_that_failed_has_no_figures(self):
        found = procedures.laps_of(self.Traffic(None), ("quiet", "storm"))
        self.assertEqual(procedures.latencies(found, {"storm": "storm"}), {("p99", "storm"): None, ("p50", "storm"): None})


class Page(unittest.TestCase):
    DOCUMENT = {"about": {"revision": "abc", "taken": "2000-01-01T00:00+00:00", "processors": 2, "system": "Linux 6",
                          "rounds": 2, "seconds": 1, "shards": 1, "load_before": 0.5},
                "results": [result.as_json() for result in report.results_of(Results.SCENARIO, Results.ROUNDS)]}

    def test_tables_replace_what_stood_between_the_marks_and_nothing_else(self):
        page = "before\n<!-- bench: cost -->\nold\n<!-- end -->\nafter <!-- bench: summary --><!-- end -->\n"
        made = document.render(page, self.DOCUMENT)
        self.assertTrue(made.startswith("before\n") and made.endswith("\n"))
        self.assertNotIn("old", made)
        self.assertIn("| X | 1.50 | 1.00 | 1.50 × b | a ≤ 1.3 × b | MISSED |", made)
        self.assertIn("0 of 1 goals met. Missed:", made)
        self.assertEqual(document.render(made, self.DOCUMENT), made)

    def test_a_page_with_micro_benchmarks_is_not_made_without_theirs(self):
        with self.assertRaisesRegex(SystemExit, "no micro-benchmarks"):
            document.render("<!-- bench: micro -->\nold\n<!-- end -->\n", self.DOCUMENT)

    def test_a_curve_and_bars_are_svg_with_all_their_figures(self):
        for drawing in (charts.curve("t", {"a": [(1, 10), (1000, 20000)]}, "x", "y"),
                        charts.bars("t <&>", [("row", [1.25, None, 20])], ("a", "b", "c"), 1.3)):
            self.assertTrue(drawing.startswith("<svg") and drawing.endswith("</svg>\n"))
            self.assertNotIn("<&>", drawing)
        self.assertIn("1.25", drawing)

    def test_docs_show_the_figures_kept_beside_them(self):
        if document.FIGURES.exists():
            figures = json.loads(document.FIGURES.read_text())
            self.assertEqual(document.PAGE.read_text(), document.render(document.PAGE.read_text(), figures))


class Micro(unittest.TestCase):
    def test_time_is_per_item_where_there_are_items(self):
        entry = {"name": "a", "run_name": "a", "cpu_time": 2, "time_unit": "us"}
        self.assertEqual(micro.nanoseconds_per_item(entry), 2000)
        self.assertEqual(micro.nanoseconds_per_item(dict(entry, items_per_second=1e6)), 1000)
        self.assertEqual(micro.nanoseconds_per_item(dict(entry, name="a/real_time", iterations=10, messages=40)), 500)

    def test_growth_is_what_was_fitted(self):
        entries = [{"name": "a_BigO", "run_name": "a", "aggregate_name": "BigO", "big_o": "(1)"}]
        self.assertEqual(micro.growth(entries), {"a": "constant"})

    def test_runs_of_one_benchmark_belong_together(self):
        entries = [{"name": f"a/{n}/real_time", "run_name": f"a/{n}", "cpu_time": n, "time_unit": "ns"} for n in (1, 8)]
        entries.append({"name": "a/real_time_BigO", "run_name": "a/real_time", "run_type": "aggregate",
                        "aggregate_name": "BigO", "big_o": "N"})
        self.assertEqual(micro.families(entries), [("a", {"1": 1, "8": 8}, "N")])


if __name__ == "__main__":
    unittest.main()
