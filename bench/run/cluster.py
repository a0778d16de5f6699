#!/usr/bin/env python3
"""Processor time of a cluster of three nodes on this machine, of all three together.

    idle       of each node, when nothing is sent
    durable    for a message at QoS 1 to a durable session at another node: on the disks of most before it is
               acknowledged; as fast as it goes, and at 1,000 msg/s with the latency
    forwarding what a publish at QoS 0 costs above its local cost when its subscriber is at another node

Every figure is the median of several rounds. Rounds of what is compared alternate.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from stats import median

ROOT = Path(__file__).resolve().parents[2]


class Bench:
    def __init__(self, options):
        self._options = options
        sys.path.insert(0, str(ROOT / "tests/e2e/lib"))
        from local_cluster import LocalCluster  # pylint: disable=import-outside-toplevel  # It looks for the programs.
        self._nodes = LocalCluster(3).nodes
        self._pids = [node.process.pid for node in self._nodes]

    def close(self):
        for node in self._nodes:
            node.terminate()

    def pairs(self, *, publishers_at=0, subscribers_at, qos, rate=0, durable=False):
        """The result of one run of mqload."""
        command = [os.environ["MQLOAD_BIN"], "pubsub", "--topology", "pairs", "--pubs", 50, "--size", 256, "--qos", qos,
                   "--host", "127.0.0.1", "--port", self._nodes[subscribers_at].port, "--pub-port", self._nodes[publishers_at].port,
                   "--seconds", self._options.seconds, "--json", *(["--rate", rate] if rate else []), *(["--persistent"] if durable else []),
                   *(part for pid in self._pids for part in ("--pid", pid))]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120 + self._options.seconds)
        if done.returncode != 0:
            raise SystemExit(f"bench: mqload: {done.stderr.strip()}")
        result = json.loads(done.stdout.strip().splitlines()[-1])
        for what in ("duplicated", "out_of_order", *(["lost"] if qos else [])):
            if result.get(what):
                raise SystemExit(f"bench: {what}: {result[what]} of {result}")
        return result

    def idle(self, seconds):
        """Percent of a processor, of each node."""
        def used(pid):
            return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        before, began = [used(pid) for pid in self._pids], time.monotonic()
        time.sleep(seconds)
        took = (time.monotonic() - began) * 1e9
        return [100 * (used(pid) - was) / took for pid, was in zip(self._pids, before)]


def cost(result):
    return result["broker_cpu_us_per_msg"]


def rounds(options, name, measure):
    results = []
    for number in range(options.rounds):
        results.append(measure())
        print(f"{name}, round {number + 1}: " + "  ".join(f"{cost(each):.2f}" for each in results[-1]) + " us", file=sys.stderr, flush=True)
    return results


def line(words, figure, unit, goal, more=""):
    """A row of the table; whether its goal is reached."""
    print(f"{'ok' if figure <= goal else 'not ok':6} {words:62} {figure:8.2f} {unit:14} at most {goal:g}{more}")
    return figure <= goal


def main():
    parser = argparse.ArgumentParser(prog="./dev bench --cluster", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin", help="directory of mqttd and mqload")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="measured time of each run")
    parser.add_argument("--idle-seconds", type=float, default=20)
    options = parser.parse_args()
    os.environ["MQTTD_BIN"] = str(options.bin.resolve() / "mqttd")
    os.environ["MQLOAD_BIN"] = str(options.bin.resolve() / "mqload")
    bench = Bench(options)
    try:
        idle = bench.idle(options.idle_seconds)
        closed = rounds(options, "durable, as fast as it goes", lambda: [bench.pairs(subscribers_at=1, qos=1, durable=True)])
        paced = rounds(options, "durable, 1,000 msg/s", lambda: [bench.pairs(subscribers_at=1, qos=1, durable=True, rate=1000)])
        forwarding = rounds(options, "QoS 0, local and forwarded",
                            lambda: [bench.pairs(subscribers_at=0, qos=0), bench.pairs(subscribers_at=1, qos=0)])
    finally:
        bench.close()

    def latency(which):
        return median([each["latency_us"][which] for each, in paced]) / 1000
    local = median([cost(here) for here, _ in forwarding])
    kept = [line("idle: the busiest node", max(idle), "% of one core", 2),
            line("durable, QoS 1, three copies on disks, as fast as it goes", median([cost(each) for each, in closed]), "us per message", 40,
                 f"   {median([each['delivered_per_s'] for each, in closed]):,.0f} msg/s"),
            line("durable, QoS 1, three copies on disks, 1,000 msg/s", median([cost(each) for each, in paced]), "us per message", 300,
                 f"   p50 {latency('p50'):.1f} ms, p99 {latency('p99'):.1f} ms"),
            line("QoS 0 to a subscriber of another node, above its local cost", median([cost(there) - cost(here) for here, there in forwarding]),
                 "us per message", 1.5, f"   local {local:.2f}")]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
