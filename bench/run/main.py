#!/usr/bin/env python3
"""Measures mqttd beside a bare relay (`mqload floor`) and, if it is installed, mosquitto.

Absolute times drift on a shared machine. So all servers run in turn, several rounds, and what is judged are
medians of ratios of neighbouring runs. CPU is the server's processor time, user and system, of all its threads.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import report
import scenarios
from stats import number
from targets import Factory, halves, note

ROOT = Path(__file__).resolve().parent.parent.parent


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin", help="directory of mqttd and mqload")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="measured time of each run (default 2)")
    parser.add_argument("--shards", type=int, default=1,
                        help="of mqttd (default 1, as the relay has one thread); 0: its own choice")
    parser.add_argument("--nice", type=int, default=0, metavar="N",
                        help="priority of everything that is started; -10 on a busy machine, for latencies (root)")
    parser.add_argument("--only", default="", metavar="REGEX", help="scenarios by identifier, group or title")
    parser.add_argument("--skip", default="", metavar="REGEX", help="leave these out")
    parser.add_argument("--checklist", action="store_true", help="short for --only '^checklist$': looks inside the broker")
    parser.add_argument("--quick", action="store_true", help="one round of a second each; at most 10^5 subscriptions")
    parser.add_argument("--list", action="store_true", help="name the scenarios and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures; an existing file is completed")
    parser.add_argument("--against", metavar="REF", help="build that revision too, and compare mqttd with it")
    options = parser.parse_args(arguments)
    options.many, options.crowd, options.subscriptions_max = 10_000, 20_000, 1_000_000
    if options.quick:
        options.rounds, options.seconds, options.subscriptions_max = 1, 1, 100_000
    if options.checklist:
        options.only = "^checklist$"
    options.load_before = os.getloadavg()[0]
    options.bin = options.bin.resolve()
    return options


def chosen(options):
    for scenario in scenarios.all_scenarios():
        words = f"{scenario.id}\n{scenario.group}\n{scenario.title}"
        if re.search(options.only, words, re.MULTILINE) and not (options.skip and re.search(options.skip, words, re.MULTILINE)):
            yield scenario


def with_tools(wanted):
    """Those whose tools are installed; says which are not, and what is left out for it."""
    for tool in sorted({scenario.tool for scenario in wanted if scenario.tool}):
        if not shutil.which(tool):
            titles = [f"{row.name}: {scenario.title}" for scenario in wanted if scenario.tool == tool for row in scenario.rows[:1]]
            note(f"bench: {tool} is not installed; without it these are left out:\n  " + "\n  ".join(titles))
            wanted = [scenario for scenario in wanted if scenario.tool != tool]
    return wanted


class Progress:
    """How much is left, by what each scenario should take and by how much longer it has taken until now."""

    def __init__(self, seconds):
        self.seconds, self.at = seconds, 0
        self.begun = self.since = time.monotonic()

    def next(self):
        self.at += 1
        self.since = time.monotonic()

    def left(self, now=None):
        now = time.monotonic() if now is None else now
        done, to_do = sum(self.seconds[:self.at]), sum(self.seconds[self.at:])
        pace = (self.since - self.begun) / done if done else 1
        return max(to_do * pace - (now - self.since), 0)

    def __str__(self):
        return f"{self.at + 1}/{len(self.seconds)}, {self.left() / 60:.0f} min left"


def build_revision(revision):
    """mqttd of that revision, built in a work tree of its own below build/."""
    commit = subprocess.run(["git", "rev-parse", "--short=12", f"{revision}^{{commit}}"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.strip()
    tree = ROOT / "build/against" / commit
    if not tree.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=ROOT, check=True, stdout=sys.stderr)
    note(f"bench: building mqttd of {revision} ({commit})")
    subprocess.run(["cmake", "--preset", "release"], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", "build/release", "mqttd"], cwd=tree, check=True, stdout=sys.stderr)
    return tree / "build/release/bin/mqttd"


def figures_of(measure, factory, options):
    """({(row, column): figure}, faults, remarks) of one measure in one round."""
    def run(server):
        found = measure.do(server, options)
        named = {(key if isinstance(key, tuple) else (key, measure.label)): value for key, value in found.items()}
        if measure.target == "against":  # Columns that a measure names itself.
            named = {(row, column if column.endswith(", before") else f"{column}, before"): value
                     for (row, column), value in named.items()}
        faults, remarks = server.faults, server.remarks
        server.faults, server.remarks = [], []
        return named, [f"{measure.label}: {fault}" for fault in faults], remarks

    if measure.fresh:
        with factory.fresh_server(measure.target, measure.settings, measure.apart) as server:
            return run(server)
    return run(factory.kept_server(measure.target, measure.settings, measure.apart))


def run_scenario(scenario, factory, options, progress):
    """The results of a scenario, one for each of its rows."""
    measures = [measure for measure in scenario.measures if factory.available(measure.target)]
    rounds, faults, remarks = [], [], []
    for turn in range(scenario.rounds(options)):
        figures = {}
        first = turn % max(len(measures), 1)  # Whoever always came after the same one would inherit from it.
        for measure in (*measures[first:], *measures[:first]):
            found, new_faults, new_remarks = figures_of(measure, factory, options)
            figures.update(found)
            faults += new_faults
            remarks += new_remarks
        rounds.append(figures)
        first = scenario.rows[0].name
        said = "  ".join(f"{column} {number(value)}" for (row, column), value in figures.items() if row == first)
        note(f"[{progress}] {scenario.title}, round {turn + 1}: {said}")
    results = list(report.results_of(scenario, rounds))
    if results:
        results[0].faults, results[0].remarks = tuple(dict.fromkeys(faults)), tuple(dict.fromkeys(remarks))
    return results


def revision():
    found = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def about(options):
    """What a reader must know of how the figures came about."""
    return {"revision": revision(), "taken": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
            "processors": len(os.sched_getaffinity(0)), "system": f"{platform.system()} {platform.release().split('-')[0]}",
            "load_before": round(options.load_before, 1), "rounds": options.rounds, "seconds": options.seconds,
            "shards": options.shards or "auto"}


def write_json(path, options, results):
    """Scenarios already in the file stay, unless they were measured again or are no more."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    document = dict(kept, about=about(options))
    fresh = {result.scenario for result in results}
    order = {scenario.id: at for at, scenario in enumerate(scenarios.all_scenarios())}
    document["results"] = [old for old in kept.get("results", []) if old["scenario"] in order and old["scenario"] not in fresh]
    document["results"] += [result.as_json() for result in results]
    document["results"].sort(key=lambda result: order[result["scenario"]])
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def main():
    options = parse(sys.argv[1:])
    wanted = list(chosen(options))
    if options.list or not wanted:
        for scenario in wanted:
            print(f"{scenario.id:24}{scenario.group:15}{scenario.seconds(options):4.0f} s  {scenario.title}")
        if wanted:
            print(f"{len(wanted)} scenarios, about {sum(scenario.seconds(options) for scenario in wanted) / 60:.0f} minutes")
        return 0 if wanted else "bench: no scenario matches; ./dev bench --list names them"
    against = build_revision(options.against) if options.against else None
    if against:
        wanted = [scenario for scenario in map(scenarios.compared, wanted) if scenario.measures]
    wanted = with_tools(wanted)
    os.nice(options.nice)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that no server stays behind.
    started, results = time.monotonic(), []
    factory = Factory(options.bin / "mqttd", options.bin / "mqload", options.shards, against)
    if halves(os.sched_getaffinity(0)) is None:
        note("bench: one core only; server and clients share it where they should be apart")
    if not factory.mosquitto:
        note("bench: mosquitto is not installed; its column is left out")
    progress = Progress([scenario.seconds(options) for scenario in wanted])
    try:
        for scenario in wanted:
            results += run_scenario(scenario, factory, options, progress)
            progress.next()
            if options.json:
                write_json(options.json, options, results)
    except KeyboardInterrupt:
        note("bench: interrupted; this is what was measured until then")
    finally:
        factory.close()
    print("\n".join(report.compared_table(results) if against else report.table(results, scenarios.GROUPS)))
    met, missed, unknown = report.tally(results)
    if not against:
        print(f"\n{met} goals met, {missed} missed, {unknown} not measured; {time.monotonic() - started:.0f} s on "
              f"{len(os.sched_getaffinity(0))} processors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
