#!/usr/bin/env python3
"""What an operator's large commands cost the traffic: sessions listed, clients kicked, a backup taken, and nothing is lost.

One run of one broker, or of a cluster of --nodes. Laps without a command stand between those with one, so that both are measured under the same weather; the median of
either is compared. The backup is restored on an empty node and held against the books of `mqload ledger`; that of a cluster's node, which is a
part of what there is, is verified.

An operator's machine is another one. Here his programs run on the broker's processors, and a program that computes for a second keeps the clients waiting whether or
not it ever asks the broker for something (--control shows how much): so they run when nobody else wants to, for a millisecond in five.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
os.environ.setdefault("MQTTD_BIN", str(REPOSITORY / "build/release/bin/mqttd"))
sys.path.insert(0, str(REPOSITORY / "tests/e2e/lib"))
from admin_api import MQTTCTL, Admin, durable
from e2e import MQTTD_BIN, Broker, die_with_parent, run, scratch, subscribe_packet
from local_cluster import LocalCluster

MQLOAD = os.environ.get("MQLOAD_BIN") or str(Path(MQTTD_BIN).with_name("mqload"))


COMMANDS = ("list", "kick", "backup")
AT_ONCE = 10_000  # Connections of one mqload: as many as the descriptors of most machines are enough for.


def load(broker, *arguments, **more):
    return subprocess.Popen([MQLOAD, *map(str, arguments), "--host", "127.0.0.1", "--port", str(broker.port), "--json"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent, **more)


SETTINGS = ("--set", "storage.queue_messages_max=10000000", "--set", "storage.queue_bytes_max=2GiB")


def start(nodes):
    """The first of the nodes, which has all of the traffic."""
    if nodes == 1:
        return Broker(*SETTINGS)
    cluster = LocalCluster(nodes, SETTINGS, admin="127.0.0.1:0")
    first = cluster[0]
    first.pid = first.process.pid
    return first


def check_restored(options, books, directory, at_least):
    """What is wrong with the backup."""
    backup, data = Path(directory) / "backup", Path(directory) / "restored"
    run(MQTTD_BIN, "--restore", backup, "--data-dir", data)
    if options.nodes > 1:
        print("the backup is whole")
        return []
    with Broker(*SETTINGS, data_dir=data) as restored:
        count, wrong = books.check(Admin(restored), at_least)
        print(f"restored: {count} messages of the ledger, of {at_least} or more")
        return wrong


def run_aside(*command, out=subprocess.DEVNULL):
    """A program of the operator's, see above: its priority alone would not do, for a processor that it keeps busy takes no waiting thread over from another."""
    def step_aside():
        die_with_parent()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    process = subprocess.Popen([str(part) for part in command], stdout=out, preexec_fn=step_aside)
    while process.poll() is None:
        time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.004)
        process.send_signal(signal.SIGCONT)
    assert process.returncode == 0, f"{command}: exit status {process.returncode}"


def say(words):
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


class Traffic:
    """QoS 1 at a steady rate, from publishers to subscribers; a lap for each line that it is told."""

    def __init__(self, broker, options):
        self._process = load(broker, "pubsub", "--topology", "pairs", "--pubs", options.pairs, "--size", 256, "--qos", 1, "--rate", options.rate,
                             *([] if options.transient else ["--persistent"]), "--by-line", "--warmup", 2, "--pid", broker.pid)
        json.loads(self._process.stdout.readline())  # {"ready": true}
        self.names = []

    def lap(self, name):
        self.names.append(name)
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self):
        self._process.stdin.close()
        result = json.loads(self._process.stdout.read().strip().splitlines()[-1])
        self._process.wait()
        return result


def commands(admin, options, directory):
    """The commands by name: each is done when it returns."""
    def listing():
        listed = Path(directory) / "listed"
        with open(listed, "wb") as out:
            run_aside(MQTTCTL, "--endpoint", admin.broker.admin, "session", "list", "--client", "stored*", out=out)
        with open(listed, "rb") as table:
            count = sum(1 for _ in table) - 1  # The head.
        assert count == options.sessions, f"{count} sessions listed"

    def kicking():
        kicked = admin.json("client", "kick", "--client", "kicked*")["kicked"]
        assert kicked >= options.kicked, f"{kicked} clients kicked"

    def backing_up():
        backup = Path(directory) / "backup"
        shutil.rmtree(backup, ignore_errors=True)
        admin.text("backup", "create", backup)
    def computing():
        run_aside(sys.executable, "-c", "import time\nwhile time.process_time() < 1.1: pass")
    control = {"control": computing} if options.control else {}
    return {"list": listing, "kick": kicking, "backup": backing_up, **control}


def measure(traffic, options, what, before_kick):
    """Laps in turns: none, list, none, kick, none, backup, …"""
    took = {}
    for _ in range(options.rounds):
        for name, command in what.items():
            traffic.lap("none")
            time.sleep(options.lap_seconds)
            if name == "kick":
                traffic.lap("connecting")
                before_kick()
            traffic.lap(name)
            began = time.monotonic()
            command()
            took.setdefault(name, []).append(time.monotonic() - began)
            time.sleep(max(0, options.lap_seconds - took[name][-1]))
    return took


class Books:
    """`mqload ledger` beside the traffic; and a durable session that is away and keeps all of its messages."""

    def __init__(self, broker, directory):
        self._keeper = "keeper"
        client = durable(broker, self._keeper)
        client.send(subscribe_packet(1, "books/#", 2))
        client.packet()
        client.send(b"\xe0\x00")
        client.closed()
        self._process = load(broker, "ledger", "--pubs", 4, "--qos", 2, "--rate", 200, "--seconds", 3600, "--prefix", "books", "--out", "none",
                             cwd=directory)

    def kept(self, admin):
        return admin.json("session", "show", self._keeper)["queued_messages"]

    def end(self):
        self._process.terminate()
        return json.loads(self._process.stdout.read().strip().splitlines()[-1])

    def check(self, admin, at_least):
        """Of a restored broker: each publisher's messages from the first on, each once, in order, and all that was there before."""
        numbers = {}
        queue = admin.json("session", "queue", self._keeper, "--payload-bytes", "24")
        for each in queue:
            payload = each["message"]["payload"]
            data = base64.b64decode(payload["base64"]) if isinstance(payload, dict) else payload.encode()
            _, publisher, number, _ = struct.unpack("<IIQQ", data[:24])
            numbers.setdefault(publisher, []).append(number)
        problems = [f"publisher {publisher}: not one after the other" for publisher, of in numbers.items() if of != list(range(len(of)))]
        if len(queue) < at_least:
            problems.append(f"{len(queue)} messages restored, {at_least} were there before the backup began")
        return len(queue), problems


def arrange(broker, options, directory):
    say(f"{options.sessions} sessions are stored")
    for first in range(0, options.sessions, AT_ONCE):
        stored = load(broker, "sessions", "--clients", min(AT_ONCE, options.sessions - first), "--messages", 1, "--pubs", 1, "--keep",
                      "--no-drain", "--prefix", f"stored{first}", cwd=directory)
        stored.communicate()
        assert stored.returncode == 0, "the sessions are not stored"
    say(f"{options.kicked} clients that will be kicked connect")
    holding = load(broker, "connect", "--mode", "hold", "--clients", options.kicked, "--prefix", "kicked", "--by-line", "--keepalive", 600)

    def connect():
        holding.stdin.write("\n")
        holding.stdin.flush()
        return holding.stdout.readline()
    holding.stdout.readline()  # {"ready": true}
    return holding, connect


def compare(laps, names, options):
    """(words, whether each is within the bound) for each command."""
    of = {}
    for name, lap in zip(names, laps):
        of.setdefault(name, []).append(lap["latency_us"]["p99"])
    without = statistics.median(of["none"])
    lines, right = [], True
    for name in [each for each in (*COMMANDS, "control") if each in of]:
        ratio = statistics.median(of[name]) / without
        right = right and (ratio <= options.bound or name == "control")
        lines.append(f"{name:7} p99 {statistics.median(of[name]):9.0f} us, without {without:9.0f} us: x {ratio:.2f}   laps {of[name]}")
    return lines + [f"without {sorted(of['none'])}"], right


def main():
    parser = argparse.ArgumentParser(prog="operator-load", description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--kicked", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=20_000, help="messages per second")
    parser.add_argument("--transient", action="store_true", help="subscribers without stored sessions: nothing of the traffic waits for the disk")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=1, help="of a cluster on this machine")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=COMMANDS, help="these commands alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lap-seconds", type=float, default=5)
    parser.add_argument("--control", action="store_true", help="also a program that computes as much as that of a list, and leaves the broker alone")
    parser.add_argument("--bound", type=float, default=1.5, help="p99 with a command to p99 without")
    options = parser.parse_args()
    directory = scratch("operator")
    directory.mkdir()
    broker = start(options.nodes)
    admin = Admin(broker)
    holding, connect = arrange(broker, options, directory)
    books = Books(broker, directory)
    traffic = Traffic(broker, options)
    say("the traffic runs")
    what = commands(admin, options, directory)
    kept = [0]
    back_up = what["backup"]

    def noted():
        kept[0] = books.kept(admin)
        back_up()
    what["backup"] = noted
    what = {name: command for name, command in what.items() if name in (*options.only, "control")}
    took = measure(traffic, options, what, connect)
    result = traffic.end()
    account = books.end()
    holding.kill()
    lines, right = compare(result["laps"], traffic.names, options)
    for line in lines:
        print(line)
    for name, seconds in took.items():
        print(f"{name:7} took {statistics.median(seconds):.2f} s")
    problems = [] if right else [f"more than x {options.bound}"]
    problems += [f"{what}: {result[what]}" for what in ("lost", "duplicated", "out_of_order") if result.get(what)]
    problems += [] if account["ok"] else [f"the ledger: {account}"]
    if "backup" in what:
        problems += check_restored(options, books, directory, kept[0])
    broker.terminate()
    for problem in problems:
        print(f"not ok {problem}")
    if not problems:
        print(f"ok {', '.join(what)} under load: within x {options.bound}; nothing is lost")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
