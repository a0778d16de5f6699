#!/usr/bin/env python3
"""Puts the figures of a `./dev bench --json FILE` into docs/performance.md, and draws its charts.

Between `<!-- bench: GROUP -->` and `<!-- end -->` stand tables made here; everything else in the page is
written by hand. docs/performance.json keeps the figures that the page shows; with --check nothing is written,
and it is an error if the page says something else than they do.
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import charts
import report
from stats import adjacent_ratio, median, number

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/performance.md"
FIGURES = ROOT / "docs/performance.json"
CHARTS = ROOT / "docs/performance"
SUPERSCRIPTS = {"10³": 1e3, "10⁴": 1e4, "10⁵": 1e5, "10⁶": 1e6}


def row(cells):
    return "| " + " | ".join(cells) + " |"


def tables(results):
    """A table for each set of columns; a line for each row of a scenario."""
    by_columns = {}
    for result in results:
        by_columns.setdefault((result.unit, tuple(result.columns)), []).append(result)
    lines = []
    for (unit, columns), found in by_columns.items():
        judged = any(result.goals for result in found)
        lines += ["", row([unit, *columns, *(["judged", "goal", ""] if judged else [])]),
                  row(["---"] + ["---:"] * len(columns) + (["---:", "---", "---"] if judged else []))]
        for result in found:
            cells = [result.title, *(number(median(values)) for values in result.columns.values())]
            verdicts = [(f"{report.judged(goal, value, result.columns)}", f"{goal.of} {goal.text()}", report.verdict(met))
                        for goal, value, met in result.verdicts() if met is not None]
            if judged:
                cells += ["<br>".join(parts) for parts in zip(*verdicts)] or ["", "", ""]
            lines.append(row(cells))
        remarks = dict.fromkeys(text for result in found for text in (*result.faults, *result.remarks))
        if remarks:
            lines += ["", *(f"- {text}" for text in remarks)]
    return lines + [""]


def micro(entries):
    lines = ["", row(["", "ns per item (over what is named: arguments of the benchmark)", "fitted"]), row(["---", "---", "---"])]
    for entry in entries:
        figures = " · ".join(f"{arguments}: {number(figure)}" if arguments else number(figure)
                             for arguments, figure in entry["figures"].items())
        lines.append(row([f"`{entry['program'].removesuffix('_bench')}` {entry['name'].removeprefix('BM_')}", figures,
                          entry["order"]]))
    return lines + [""]


def summary(results):
    met, missed, _ = report.tally(results)
    lines = ["", f"{met} of {met + missed} goals met. Missed:" if missed else f"All {met} goals met.", ""]
    for result in results:
        for goal, value, verdict in result.verdicts():
            if verdict is False:
                lines.append(f"- {result.title} ({result.unit}), {goal.of}: {report.judged(goal, value, result.columns)}; goal {goal.text()}")
    return lines + ([""] if missed else [])


def origin(about):
    return ["", f"Revision `{about['revision']}`, {about['taken'][:10]}; {about['processors']} processors, {about['system']}; "
            f"{about['rounds']} rounds of {about['seconds']:g} s; mqttd with {about['shards']} shard(s); "
            f"load of the machine before: {about['load_before']}.", ""]


def render(page, document):
    """The page with its generated parts made anew."""
    results = [report.Result.from_json(data) for data in document["results"]]
    groups = {}
    for result in results:
        groups.setdefault(result.group, []).append(result)

    def part(match):
        name = match.group(1)
        if name == "micro" and not document.get("micro"):
            raise SystemExit("no micro-benchmarks among the figures: ./dev bench --micro --json FILE adds them")
        lines = (origin(document["about"]) if name == "origin" else summary(results) if name == "summary"
                 else micro(document["micro"]) if name == "micro" else tables(groups.get(name, [])))
        return "\n".join([f"<!-- bench: {name} -->", *lines, "<!-- end -->"])

    return re.sub(r"<!-- bench: (\w+) -->.*?<!-- end -->", part, page, flags=re.DOTALL)


def drawings(document):
    """{file name: SVG} of the figures that are easier seen than read."""
    results = {(data["scenario"], data["row"]): report.Result.from_json(data) for data in document["results"]}
    found = {}
    bars = []
    for (_, name), result in results.items():
        if result.group == "cost" and name == "cpu" and "floor" in result.columns:
            bars.append((result.title, [adjacent_ratio(result.columns[of], result.columns["floor"]) if of in result.columns
                                        else None for of in ("mqttd", "mosquitto")]))
    if bars:
        found["cost.svg"] = charts.bars("CPU per delivered message, × bare relay (dashed: 1.3)", bars, ("mqttd", "mosquitto"),
                                        1.3)
    series = {}
    for ident, name in (("subscriptions-hot", "hot topics"), ("subscriptions-random", "random topics"),
                        ("subscriptions-mosquitto", "mosquitto, hot topics")):
        result = results.get((ident, "cpu"))
        if result:
            series[name] = [(SUPERSCRIPTS[column], median(values)) for column, values in result.columns.items()]
    if series:
        found["subscriptions.svg"] = charts.curve("Publishing among subscriptions", series, "subscriptions",
                                                  "CPU µs per publish")
    curve = results.get(("fsync", "rate"))
    if curve:
        points = [(float(column.replace(",", "")), median(values)) for column, values in curve.columns.items()
                  if column.replace(",", "").isdigit()]
        found["fsync.svg"] = charts.curve("durability: sync", {"messages per second": points}, "publishers",
                                          "messages per second")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("figures", nargs="?", type=Path, help="what --json wrote (default: docs/performance.json again)")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.figures and options.figures.resolve() != FIGURES:
        shutil.copyfile(options.figures, FIGURES)
    document = json.loads(FIGURES.read_text())
    wanted = {PAGE: render(PAGE.read_text(), document),
              **{CHARTS / name: text for name, text in drawings(document).items()}}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} does not show docs/performance.json: bench/run/document.py")
        return bool(stale)
    CHARTS.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
