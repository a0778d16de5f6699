#!/usr/bin/env python3
"""The broker's CPU time per delivered message against a bare relay and, if installed, mosquitto.

Absolute times drift on a shared machine, so all targets run in turn, several rounds, and the
medians are compared. `./dev bench [--rounds N] [--seconds S] [--shards N]` builds first.
"""

import argparse
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIOS = {
    "50 pairs, QoS 0, window 16": "pubsub --topology pairs --pubs 50 --size 256 --qos 0 --window 16",
    "50 pairs, QoS 1, window 16": "pubsub --topology pairs --pubs 50 --size 256 --qos 1 --window 16",
    "50 pairs, QoS 0, window 1": "pubsub --topology pairs --pubs 50 --size 256 --qos 0 --window 1",
    "fan-in 200 to 1, QoS 1": "pubsub --topology fanin --pubs 200 --subs 1 --size 256 --qos 1 "
                              "--window 16 --topics 1",
    "fan-out 1 to 1000, QoS 0": "pubsub --topology fanout --pubs 1 --subs 1000 --size 256 --qos 0 "
                                "--window 16",
}
START_LIMIT_S = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def mosquitto_config(directory, port):
    path = Path(directory) / "mosquitto.conf"
    path.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
                    "max_queued_bytes 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n")
    return path


class Target:
    def __init__(self, name, make_command):
        self.name, self.make_command, self.process = name, make_command, None

    def start(self, directory):
        self.port = free_port()
        self.process = subprocess.Popen(self.make_command(directory, self.port),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + START_LIMIT_S
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        sys.exit(f"bench: {self.name} did not start on port {self.port}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def targets(options):
    mqttd, mqload = options.bin / "mqttd", options.bin / "mqload"

    def start_mqttd(directory, port):
        command = [mqttd, "--listen", f"mqtt://127.0.0.1:{port}", "--data-dir", f"{directory}/data",
                   "--allow-anonymous"]
        if options.shards:
            command += ["--set", f"broker.shards={options.shards}"]
        return command

    found = [Target("floor", lambda _, port: [mqload, "floor", "--host", "127.0.0.1", "--port",
                                              str(port)]),
             Target("mqttd", start_mqttd)]
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if mosquitto:
        found.append(Target("mosquitto", lambda directory, port: [
            mosquitto, "-c", str(mosquitto_config(directory, port))]))
    return found


def measure(mqload, arguments, target, seconds):
    output = subprocess.run(
        [mqload, *arguments.split(), "--host", "127.0.0.1", "--port", str(target.port), "--pid",
         str(target.process.pid), "--seconds", str(seconds), "--json"],
        capture_output=True, text=True)
    try:
        return json.loads(output.stdout.splitlines()[-1])["broker_cpu_us_per_msg"]
    except (IndexError, KeyError, ValueError):
        print(f"  {target.name}: {output.stderr.strip() or output.stdout.strip()}", file=sys.stderr)
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="directory of mqttd and mqload")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--shards", type=int, default=0, help="0: the broker's own choice")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    running = targets(options)
    with tempfile.TemporaryDirectory(prefix="mqttd-bench-") as directory:
        try:
            for target in running:
                target.start(directory)
            print(f"broker CPU, us per delivered message, median of {options.rounds} rounds")
            print(f"{'':28}" + "".join(f"{target.name:>12}" for target in running)
                  + f"{'mqttd/floor':>14}")
            for name, arguments in SCENARIOS.items():
                if options.only not in name:
                    continue
                figures = {target.name: [] for target in running}
                for _ in range(options.rounds):
                    for target in running:
                        figure = measure(options.bin / "mqload", arguments, target, options.seconds)
                        if figure is not None:
                            figures[target.name].append(figure)
                medians = {name: statistics.median(values) if values else float("nan")
                           for name, values in figures.items()}
                print(f"{name:28}" + "".join(f"{medians[target.name]:12.2f}" for target in running)
                      + f"{medians['mqttd'] / medians['floor']:14.2f}", flush=True)
        finally:
            for target in running:
                target.stop()
    print("next: bench/mqload/run_scenarios.sh for the whole set (bench/mqload/README.md)")


if __name__ == "__main__":
    main()
