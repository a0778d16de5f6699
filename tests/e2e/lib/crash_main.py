"""The long proof, `./dev crash`; tests/e2e/crash_test.py is the short one."""

import argparse
import random
import shutil
import sys
import tempfile

from crash_run import crash_run, report


def main():
    parser = argparse.ArgumentParser(prog="crash.sh", description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=100)
    parser.add_argument("--qos", choices=("1", "2", "both"), default="both")
    parser.add_argument("--rate", type=int, default=2000, help="messages per second, over all")
    parser.add_argument("--seed", type=int, help="default: chance; printed")
    parser.add_argument("--durability", choices=("sync", "interval", "none"), default="sync")
    parser.add_argument("--shards", type=int, default=2)
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    qos = (1, 2) if options.qos == "both" else (int(options.qos),)
    directory = tempfile.mkdtemp(prefix="mqttd-crash-")
    print(f"# seed {seed}, files in {directory}", flush=True)
    problems, figures = crash_run(
        directory, kills=options.kills, seed=seed, qos=qos, rate=options.rate,
        arguments=("--set", f"durability={options.durability}", "--set",
                   f"broker.shards={options.shards}"),
        say=lambda text: print(text, flush=True))
    report(figures)
    for problem in problems:
        print(f"not ok {problem}")
    if problems:
        print(f"next: --seed {seed} kills at the same moments; what was recorded is in {directory}")
        return 1
    shutil.rmtree(directory)
    print(f"ok nothing acknowledged was lost, doubled or out of order in {options.kills} kills")
    return 0


if __name__ == "__main__":
    sys.exit(main())
