#!/usr/bin/env python3
"""Processor time per message of the client library beside the Paho C client and libmosquitto.

50 pairs, QoS 1, a window of 16 messages, MQTT 3.1.1, against the same mqttd, in turn, several rounds. What is
judged is the median over the rounds of the ratio to the cheaper of the other two in the same round. It counts
the processor time of the client process alone, system and user, for a message that was published, acknowledged,
received and acknowledged again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from stats import median
from targets import free_ports, note

ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARIES = ("mqttd", "mosquitto", "paho")


def start_broker(program, directory):
    port = free_ports(1)[0]
    broker = subprocess.Popen([program, "--listen", f"mqtt://127.0.0.1:{port}", "--allow-anonymous", "--data-dir",
                               f"{directory}/data", "--http", "off", "--set", "broker.shards=1"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in broker.stdout:
        if line.startswith("mqttd ready"):
            return broker, port
    raise SystemExit("bench: mqttd does not start")


def measure(program, port, options):
    result = subprocess.run([program, str(port), str(options.seconds), str(options.pairs), str(options.window)],
                            capture_output=True, text=True, timeout=60 + options.seconds)
    if result.returncode != 0:
        raise SystemExit(f"bench: {program.name}: {result.stderr.strip()}")
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench --client", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release", help="the build's directory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    programs = {name: options.bin / "bench" / f"pairs_{name}" for name in LIBRARIES}
    for name in [name for name, path in programs.items() if not path.exists()]:
        note(f"bench: {name} is left out: its library is not installed (./dev setup)")
        del programs[name]
    rounds = []
    with tempfile.TemporaryDirectory(prefix="mqttd-bench-") as directory:
        broker, port = start_broker(options.bin / "bin/mqttd", directory)
        try:
            for number in range(options.rounds):
                order = list(programs)[number % len(programs):] + list(programs)[:number % len(programs)]
                rounds.append({name: measure(programs[name], port, options) for name in order})
        finally:
            broker.kill()
            broker.wait()
    cost = {name: [one[name]["cpu_us_per_message"] for one in rounds] for name in programs}
    rate = {name: median([one[name]["messages_per_s"] for one in rounds]) for name in programs}
    others = [name for name in programs if name != "mqttd"]
    ratio = median([one["mqttd"]["cpu_us_per_message"] / min(one[name]["cpu_us_per_message"] for name in others)
                    for one in rounds]) if others else None
    if options.json:
        print(json.dumps({"cpu_us_per_message": cost, "messages_per_s": rate, "ratio_to_cheapest": ratio}, indent=2))
    else:
        print(f"{options.pairs} pairs, QoS 1, window {options.window}; median of {options.rounds} rounds")
        for name in programs:
            print(f"  {name:10} {median(cost[name]):8.2f} us per message of the client process  {rate[name]:10,.0f} messages/s")
        if ratio is not None:
            print(f"  ratio to the cheaper of the others: {ratio:.2f} (goal: at most 1)")
    return 0 if ratio is None or ratio <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
