"""Results as values (what --json writes) and as a table for people."""

import dataclasses

from stats import Goal, median, number, spread


@dataclasses.dataclass
class Result:
    """One row of a scenario: figures by column, a figure per round."""
    scenario: str
    group: str
    title: str
    row: str
    unit: str
    columns: dict
    goals: tuple = ()
    faults: tuple = ()
    remarks: tuple = ()

    def verdicts(self):
        """(goal, the figure that it judges, whether it is met or None) of each goal."""
        return [(goal, goal.value(self.columns), goal.met(self.columns)) for goal in self.goals]

    def as_json(self):
        return {"scenario": self.scenario, "group": self.group, "title": self.title, "row": self.row, "unit": self.unit,
                "columns": self.columns, "medians": {name: median(values) for name, values in self.columns.items()},
                "goals": [dict(dataclasses.asdict(goal), value=value, met=met) for goal, value, met in self.verdicts()],
                "faults": list(self.faults), "remarks": list(self.remarks)}

    @staticmethod
    def from_json(data):
        goals = tuple(Goal(**{name: goal[name] for name in ("of", "limit", "to", "kind")}) for goal in data["goals"])
        return Result(data["scenario"], data["group"], data["title"], data["row"], data["unit"], data["columns"], goals,
                      tuple(data["faults"]), tuple(data["remarks"]))


def results_of(scenario, rounds):
    """rounds: a list of {(row, column): figure}, one for each round; columns in the order of their first figure."""
    columns = list(dict.fromkeys(column for figures in rounds for _, column in figures))
    for row in scenario.rows:
        values = {column: [figures.get((row.name, column)) for figures in rounds] for column in columns}
        values = {column: figures for column, figures in values.items() if median(figures) is not None}
        if values:
            yield Result(scenario.id, scenario.group, scenario.title, row.name, row.unit, values, row.goals)


def verdict(met):
    return {True: "met", False: "MISSED", None: "not measured"}[met]


def judged(goal, value, columns):
    """The figure that a goal judges, as text: '1.12 × floor'."""
    return " ".join(part for part in (number(value), goal.unit, goal.remark(columns)) if part)


def table(results, titles):
    """Lines for a terminal, by group: figures of each column, and each goal with what it was held against."""
    lines = []
    group = None
    for result in results:
        if result.group != group:
            group = result.group
            lines += ["", titles.get(group, group)]
        columns = "   ".join(f"{name} {number(median(values))}" for name, values in result.columns.items())
        lines.append(f"  {result.title}: {result.unit}")
        lines.append(f"      {columns}")
        for goal, value, met in result.verdicts():
            lines.append(f"      {verdict(met):12} {goal.of}: {judged(goal, value, result.columns)}   (goal {goal.text()})")
        widest = max((spread(values) for values in result.columns.values()), default=0)
        if widest > 0.25:
            lines.append(f"      rounds differ by up to ±{widest:.0%}")
        lines += [f"      note: {text}" for text in dict.fromkeys((*result.faults, *result.remarks))]
    return lines


def compared_table(results):
    """Lines for `--against`: each column beside the same of the other build."""
    lines = []
    for result in results:
        for name, values in result.columns.items():
            before = result.columns.get(f"{name}, before")
            if before is None:
                continue
            ratio = Goal(name, 1, f"{name}, before").value(result.columns)
            lines.append(f"  {result.title}, {name}: {result.unit}: {number(median(before))} → {number(median(values))}"
                         f"   {number(ratio)} × before")
    return lines


def tally(results):
    """(met, missed, not measured) over all goals."""
    found = [met for result in results for _, _, met in result.verdicts()]
    return found.count(True), found.count(False), found.count(None)
