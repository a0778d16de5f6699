#!/usr/bin/env python3
"""Runs the micro-benchmarks and shows how each cost grows over its N.

`./dev bench --micro [--only REGEX] [--json FILE]`; FILE may be one of `./dev bench --json`. What follows `--` goes to the programs, as
`-- --benchmark_min_time=1`.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from stats import number

PROGRAMS = ("codec_bench", "mailbox_bench", "match_bench", "partition_bench", "raft_bench", "storage_bench")
_NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def nanoseconds_per_item(entry):
    """CPU time for one item, or one iteration of what has no items.

    Items per second are of real time where a benchmark waits for others; such a one counts its messages.
    """
    time = entry["cpu_time"] * _NANOSECONDS[entry["time_unit"]]
    if "messages" in entry:
        return time * entry["iterations"] / entry["messages"]
    per_second = entry.get("items_per_second")
    return 1e9 / per_second if per_second and "real_time" not in entry["name"] else time


def run(program, only, extra):
    output = subprocess.run([program, "--benchmark_format=json", f"--benchmark_filter={only or '.'}", *extra],
                            capture_output=True, text=True, check=False)
    if output.returncode != 0:
        print(output.stderr, file=sys.stderr)
    return json.loads(output.stdout)["benchmarks"] if output.stdout.strip().startswith("{") else []


def growth(entries):
    """{name: the fitted order, such as 'N' or '1'} of those that asked for it."""
    names = {"(1)": "constant", "lgN": "log N", "NlgN": "N log N", "N^2": "N²", "N^3": "N³"}
    return {entry["run_name"]: names.get(entry["big_o"], entry["big_o"]) for entry in entries
            if entry.get("aggregate_name") == "BigO"}


def families(entries):
    """[(name without arguments, {arguments: ns}, order or "")], in the order of the program."""
    orders = growth(entries)
    found = {}
    for entry in entries:
        if entry.get("run_type") == "aggregate":
            continue
        name, *arguments = entry["name"].split("/")
        kept = [part for part in arguments if not re.match(r"(iterations|min_time|process_time|real_time|threads)\b", part)]
        kept += [part.replace(":", " ") for part in arguments if part.startswith("threads")]
        found.setdefault(name, {})[", ".join(kept)] = nanoseconds_per_item(entry)
    return [(name, figures, next((order for run, order in orders.items() if run.split("/")[0] == name), ""))
            for name, figures in found.items()]


def main():
    own, extra = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, extra = own[:at], own[at + 1:]
    parser = argparse.ArgumentParser(prog="./dev bench --micro", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="directory of the programs")
    parser.add_argument("--only", default="", metavar="REGEX", help="benchmarks by name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(own)
    found = []
    for name in PROGRAMS:
        print(name, flush=True)
        for family, figures, order in families(run(options.bin / name, options.only, extra)):
            print(f"  {family}" + (f": {order}" if order else ""), flush=True)
            for arguments, figure in figures.items():
                print(f"    {arguments:40}{number(figure):>14} ns", flush=True)
            found.append({"program": name, "name": family, "figures": figures, "order": order})
    if options.json:
        document = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(dict(document, micro=found), indent=1, ensure_ascii=False) + "\n")
    return 0 if found else "bench: no micro-benchmark matches"


if __name__ == "__main__":
    sys.exit(main())
