#!/usr/bin/env python3
"""Runs the micro-benchmarks and shows how each cost grows over its N.

`./dev bench --micro [--only REGEX] [--json FILE]`. What follows `--` goes to the programs, as
`-- --benchmark_min_time=1`.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from stats import number

# Which of them mean N by their first argument; what is said of growth is said of these.
PROGRAMS = ("codec_bench", "mailbox_bench", "match_bench", "partition_bench", "storage_bench")
_NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def nanoseconds_per_item(entry):
    """CPU time for one item, or one iteration of what has no items."""
    time = entry["cpu_time"] * _NANOSECONDS[entry["time_unit"]]
    per_second = entry.get("items_per_second")
    return 1e9 / per_second if per_second and "real_time" not in entry["name"] else time


def run(program, only, extra):
    output = subprocess.run([program, "--benchmark_format=json", f"--benchmark_filter={only or '.'}", *extra],
                            stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(output.stdout)["benchmarks"] if output.stdout.strip().startswith("{") else []


def growth(entries):
    """{name: the fitted order, such as 'N' or '1'} of those that asked for it."""
    names = {"(1)": "constant", "lgN": "log N", "NlgN": "N log N", "N^2": "N²", "N^3": "N³"}
    return {entry["run_name"]: names.get(entry["big_o"], entry["big_o"]) for entry in entries
            if entry.get("aggregate_name") == "BigO"}


def lines_of(entries):
    orders = growth(entries)
    for entry in entries:
        if entry.get("run_type") == "aggregate":
            continue
        yield entry["name"], nanoseconds_per_item(entry)
    for name, order in orders.items():
        yield f"{name}, fitted over N", order


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
    document = []
    for name in PROGRAMS:
        print(name, flush=True)
        entries = run(options.bin / name, options.only, extra)
        for benchmark, figure in lines_of(entries):
            shown = f"{number(figure):>12} ns" if not isinstance(figure, str) else f"{figure:>12}"
            print(f"  {benchmark:64}{shown}", flush=True)
            document.append({"program": name, "name": re.sub(r"/(iterations|min_time|process_time|real_time)[^/]*", "", benchmark),
                             "figure": figure})
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if document else "bench: no micro-benchmark matches"


if __name__ == "__main__":
    sys.exit(main())
