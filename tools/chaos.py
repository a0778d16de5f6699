#!/usr/bin/env python3
"""Three nodes of one cluster, under load, with faults from a seed; then the account of what was acknowledged.

Each node is a process in a network namespace of its own (root; otherwise on loopback, without partitions). The scenario
`faults` kills and stops nodes, cuts the network between them, slows their disks down and makes them fail; the others each look at one
promise. The last line says whether it held, and so does the exit status.
"""

import argparse
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e" / "chaos"), str(ROOT / "tests" / "e2e" / "lib")]


def arguments():
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=120, help="how long faults go on (default 120; 1200 is the long proof)")
    parser.add_argument("--scenario", default="faults", choices=("faults", "suback", "quorum", "split", "publisher", "disk", "bounce", "rolling"))
    parser.add_argument("--seed", type=int, help="the same faults in the same order; default: chance, printed")
    parser.add_argument("--faults", default="", help="only these, with commas between; `list` prints them")
    parser.add_argument("--first", type=int, default=0, help="begin with the fault of that number of the seed")
    parser.add_argument("--count", type=int, help="so many faults")
    parser.add_argument("--rate", type=int, default=200, help="messages a second over all (default 200)")
    parser.add_argument("--rounds", type=int, default=100, help="of suback (per kind), publisher, disk, bounce and rolling (default 100)")
    parser.add_argument("--no-namespaces", action="store_true", help="on 127.0.0.1, .2, …, as without root")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration of all nodes")
    parser.add_argument("--dir", help="where logs, data and what is recorded go (default: where temporary files do)")
    parser.add_argument("--keep", action="store_true", help="keep logs, data and what was recorded after success too")
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    asked = arguments()
    if asked.dir:
        os.makedirs(asked.dir, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="mqttd-chaos-", dir=asked.dir)
    os.environ |= {"MQTTD_BIN": str(asked.bin.resolve() / "mqttd"), "MQLOAD_BIN": str(asked.bin.resolve() / "mqload"),
                   "TEST_TMPDIR": directory}
    import faults  # pylint: disable=import-outside-toplevel
    if asked.faults == "list":
        for name, (function, _) in faults.ALL.items():
            print(f"{name:15} {function.__doc__}")
        os.rmdir(directory)
        return 0
    problems = run(asked, faults, directory)
    for problem in problems:
        print(f"not ok {problem}")
    if problems or asked.keep:
        print(f"logs, data and what was recorded: {directory}")
    if problems:
        return 1
    if not asked.keep:
        shutil.rmtree(directory)
    return 0


def run(asked, faults, directory):
    from mqtt_wire import Closed, Nothing  # pylint: disable=import-outside-toplevel
    from network import make_network  # pylint: disable=import-outside-toplevel
    from nodes import Cluster  # pylint: disable=import-outside-toplevel
    from run import new_seed, run_faults  # pylint: disable=import-outside-toplevel

    def say(text):
        print(text, flush=True)

    seed = new_seed() if asked.seed is None else asked.seed
    network = make_network(3, not asked.no_namespaces)
    say(f"# {asked.scenario}: seed {seed}, files in {directory}")
    if network.why:
        say(f"# {network.why}")
    settings = [word for pair in asked.set for word in ("--set", pair)]
    try:
        cluster = Cluster(network, directory, arguments=settings)
    except BaseException:
        network.close()
        raise
    try:
        if asked.scenario == "faults":
            names = asked.faults.split(",") if asked.faults else faults.available(network)
            problems = run_faults(cluster, directory, seed=seed, seconds=asked.seconds, rate=asked.rate, names=names, say=say,
                                  first=asked.first, count=asked.count)
            told = "nothing acknowledged was lost, doubled or out of order"
        else:
            import scenarios  # pylint: disable=import-outside-toplevel
            try:
                problems, told = scenarios.ALL[asked.scenario](cluster, directory, seed=seed, rounds=asked.rounds, rate=asked.rate, say=say)
            except (AssertionError, OSError, Closed, Nothing) as error:
                problems = [f"{type(error).__name__}: {error} ({traceback.extract_tb(error.__traceback__)[1]})"]
    finally:
        cluster.close()
    if problems:
        say(f"# again: ./dev chaos --scenario {asked.scenario} --seed {seed}")
    else:
        say(f"ok {asked.scenario}: {told}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
