#!/usr/bin/env python3
"""Three nodes under load, a few faults: nothing acknowledged is lost, doubled or out of order. `./dev chaos` is the long form."""

import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "lib"), str(HERE / "chaos")]
import faults  # noqa: E402
import scenarios  # noqa: E402
from e2e import SCRATCH, SLOWDOWN, case, equal, main  # noqa: E402
from network import make_network  # noqa: E402
from nodes import Cluster  # noqa: E402
from run import run_faults  # noqa: E402


def say(text):
    print(text, flush=True)


def on_cluster(name, run):
    directory = SCRATCH / name
    directory.mkdir()
    seed = random.randrange(1 << 32)
    network = make_network(3)
    say(f"# seed {seed}")
    if network.why:
        say(f"# {network.why}")
    try:
        cluster = Cluster(network, str(directory), disk_faults=SLOWDOWN == 1)  # What is preloaded does not go with a sanitizer.
    except BaseException:
        network.close()
        raise
    try:
        equal(run(cluster, str(directory), seed), [], f"problems with seed {seed}")
    finally:
        cluster.close()


@case("nodes that are killed, stopped, and cut off and given up: nothing acknowledged is lost, doubled or out of order")
def _():
    def run(cluster, directory, seed):
        wanted = ["kill", "isolate", "freeze", "slow-disk"] if SLOWDOWN == 1 else ["kill", "isolate", "freeze"]
        names = [name for name in wanted if name in faults.available(cluster.network)]
        # How long it may take is for a machine that does nothing else: `./dev chaos` looks at that.
        return run_faults(cluster, directory, seed=seed, seconds=1e9, rate=100, names=names, say=say, in_turn=True, bounds=False)
    on_cluster("faults", run)


@case("what is published elsewhere at SUBACK comes, while nodes are started again")
def _():
    def run(cluster, directory, seed):
        return scenarios.suback(cluster, directory, seed=seed, rounds=40, rate=0, say=say)[0]
    on_cluster("suback", run)


@case("what was acknowledged reaches clients of other nodes, whose sessions are not kept, when its node dies")
def _():
    def run(cluster, directory, seed):
        return scenarios.publisher(cluster, directory, seed=seed, rounds=4, rate=0, say=say)[0]
    on_cluster("publisher", run)


if SLOWDOWN == 1:  # What is preloaded does not go with a sanitizer.
    @case("what a node led whose disk takes no writes any more goes on at other nodes")
    def _():
        def run(cluster, directory, seed):
            return scenarios.disk(cluster, directory, seed=seed, rounds=2, rate=0, say=say)[0]
        on_cluster("disk", run)


if __name__ == "__main__":
    main()
