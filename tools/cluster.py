#!/usr/bin/env python3
"""Nodes of one cluster on this machine, until Ctrl-C: what `./dev cluster` runs.

What they store stays in ./mqttd-cluster, and the next start goes on with it.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(prog="./dev cluster", description=__doc__)
    parser.add_argument("nodes", nargs="?", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--bin", type=Path, default=Path("build/release/bin"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=1883, help="of the first node; the others have the next (default 1883)")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier cluster stored")
    asked = parser.parse_args()
    if not 1 <= asked.nodes <= 9:
        parser.error("from 1 to 9 nodes")
    return asked


class Node:
    """One mqttd, whose first line of output says that it is ready."""

    def __init__(self, number, asked, seeds):
        self.number, self.port = number, asked.port + number
        self.http, self.admin = f"127.0.0.1:{19880 + number}", f"127.0.0.1:{19890 + number}"
        self.directory = Path("mqttd-cluster") / str(number + 1)
        self.log = self.directory.with_suffix(".log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [asked.bin / "mqttd", "--listen", f"mqtt://127.0.0.1:{self.port}", "--data-dir", self.directory,
                 "--cluster", seeds[number], "--join", ",".join(seeds), "--expected-size", str(asked.nodes),
                 "--http", self.http, "--admin", self.admin],
                stdout=subprocess.PIPE, stderr=log, text=True)

    def ready(self):
        """Waits until it is; or says why it is not going to be."""
        line = self.process.stdout.readline()
        if not line.startswith("mqttd ready"):
            sys.exit(f"node {self.number + 1} ended: see {self.log}")


def main():
    asked = arguments()
    base = Path("mqttd-cluster")
    if asked.fresh:
        shutil.rmtree(base, ignore_errors=True)
    base.mkdir(exist_ok=True)
    seeds = [f"127.0.0.1:{19870 + number}" for number in range(asked.nodes)]
    nodes = [Node(number, asked, seeds) for number in range(asked.nodes)]
    try:
        for node in nodes:
            node.ready()
        for node in nodes:
            print(f"node {node.number + 1}: mqtt://127.0.0.1:{node.port}   http://{node.http}/readyz   admin {node.admin}   "
                  f"pid {node.process.pid}   log {node.log}")
        tool = asked.bin / "mqttctl"
        print(f"\nTry: subscribe at the first node, publish at the last; then kill -9 {nodes[0].process.pid}, and look again.")
        print(f"  {tool} sub -p {nodes[0].port} -t 'demo/#' -v -q 1")
        print(f"  {tool} pub -p {nodes[-1].port} -t demo/hello -m world -q 1")
        print("\nCtrl-C stops all of them.", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        for node in nodes:
            node.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for node in nodes:
            node.process.poll() is None and node.process.terminate()
        for node in nodes:
            try:
                node.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                node.process.kill()


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
