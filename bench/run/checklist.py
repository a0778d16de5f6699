#!/usr/bin/env python3
"""Looks inside the broker under load: what it asks of the kernel, where its own time goes, and two corner cases.

  system calls   strace -c -f over a whole run, per delivered message, beside the relay's
  user time      perf record: time outside the kernel per message, and how much of it allocates memory
  abrupt end     publishers that send QoS 0 and vanish: what they sent is delivered, they are gone at once
  slow reader    large messages for one that does not read: memory stays within its bound and comes back

`./dev bench --checklist [--json FILE]`; strace and perf must be installed and allowed to attach.
"""

import argparse
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import main as bench
import report
from stats import Goal
from targets import Factory, note

ALLOCATION = re.compile(r"malloc|calloc|realloc|^cfree|_int_free|operator new|operator delete|_M_release|shared_ptr|tcache")
LOADS = {"pairs, QoS 0, window 16": "--topology pairs --pubs 50 --size 256 --window 16 --qos 0",
         "pairs, QoS 1, window 16": "--topology pairs --pubs 50 --size 256 --window 16 --qos 1",
         "fan-out 1 → 100, QoS 0": "--topology fanout --pubs 1 --subs 100 --size 256 --window 16 --qos 0"}


def calls_per_message(server, load, seconds):
    """{system call: calls per delivered message}, set-up of the connections included."""
    log = Path(server.directory) / "strace"
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", log, "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
    tracer.stderr.readline()  # It says so when it is attached.
    result = server.load_one(f"pubsub {load} --warmup 0", seconds=seconds)
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=60)
    delivered = result.get("delivered", 0)
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", log.read_text(), re.MULTILINE)
    return {name: int(count) / delivered for count, name in rows if name != "total"} if delivered else {}


def system_calls(servers, seconds):
    for title, load in LOADS.items():
        columns, remarks = {}, []
        for server in servers:
            calls = calls_per_message(server, load, seconds)
            columns[server.name] = [sum(calls.values())]
            often = sorted(((count, name) for name, count in calls.items() if count > 0.0005), reverse=True)
            remarks.append(f"{title}, {server.name}: " + ", ".join(f"{name} {count:.3f}" for count, name in often))
        yield report.Result(f"calls {title}", "checklist", title, "calls", "system calls per message", columns,
                            (Goal("mqttd", 1.1, "floor"),), remarks=tuple(remarks))


def profile(server, load, seconds):
    """(ns of user time per message, share of it that allocates, [(share, symbol)])."""
    data = Path(server.directory) / "perf.data"
    running = server.begin(f"pubsub {load} --warmup 0.5", seconds=seconds + 0.5)
    time.sleep(0.7)
    subprocess.run(["perf", "record", "-q", "-F", "1999", "-e", "cpu-clock", "-p", str(server.pid), "-o", data, "--",
                    "sleep", str(seconds)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (result,) = server.end(running) or [{}]
    listed = subprocess.run(["perf", "report", "-i", data, "--stdio", "--no-children", "-g", "none", "--percent-limit", "0",
                             "--sort", "dso,symbol"], capture_output=True, text=True, check=False).stdout
    samples = [(float(share), dso, re.split(r"\s{2,}|\(", symbol)[0]) for share, dso, _, symbol in
               re.findall(r"^\s*([\d.]+)%\s+(\S+)\s+\[([.k])\] (.+)$", listed, re.MULTILINE)]
    kernel = sum(share for share, dso, _ in samples if dso.startswith("[k") or dso == "[unknown]")
    user = [(share, symbol) for share, dso, symbol in samples if not dso.startswith("[") or dso == "[vdso]"]
    total = sum(share for share, _ in user)
    if not total or "broker_cpu_us_per_msg" not in result:
        return None
    per_message = result["broker_cpu_us_per_msg"] * 1000 * total / (total + kernel)
    allocating = sum(share for share, symbol in user if ALLOCATION.search(symbol)) / total
    return per_message, allocating, [(share / total, symbol) for share, symbol in sorted(user, reverse=True)[:6]]


def user_time(servers, seconds):
    for title, load in LOADS.items():
        times, shares, remarks = {}, {}, []
        for server in servers:
            found = profile(server, load, seconds)
            if found is None:
                note(f"    {server.name}: perf gave no samples")
                continue
            times[server.name], shares[server.name] = [found[0]], [found[1] * 100]
            remarks.append(f"{title}, {server.name}: "
                           + ", ".join(f"{symbol} {share:.0%}" for share, symbol in found[2]))
        if times:
            yield report.Result(f"user {title}", "checklist", title, "user", "ns of user time per message", times,
                                (Goal("mqttd", 150, kind="at most"),), remarks=tuple(remarks))
            yield report.Result(f"user {title}", "checklist", title, "allocation", "% of it in malloc, free, shared_ptr",
                                shares, (Goal("mqttd", 2, kind="at most"),))


def text(value):
    return len(value).to_bytes(2, "big") + value.encode()


def connect(port, client_id, small_buffer=False):
    client = socket.socket()
    if small_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    body = text("MQTT") + b"\x04\x02\x00\x00" + text(client_id)
    client.sendall(bytes([0x10, len(body)]) + body)
    assert client.recv(4) == b"\x20\x02\x00\x00", "CONNACK"
    return client


def subscribe(client, topic):
    body = b"\x00\x01" + text(topic) + b"\x00"
    client.sendall(bytes([0x82, len(body)]) + body)
    assert client.recv(5) == b"\x90\x03\x00\x01\x00", "SUBACK"


def publish(topic, payload):
    size, length = 2 + len(topic) + len(payload), b""
    while True:
        size, digit = size >> 7, size & 127
        length += bytes([digit | (128 if size else 0)])
        if not size:
            return b"\x30" + length + text(topic) + payload


def read_exactly(client, count):
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def abrupt_end(server):
    """Ms until what a vanished publisher sent was delivered, and until it was gone from the broker."""
    subscriber = connect(server.ports["tcp"], "watcher")
    subscribe(subscriber, "abrupt")
    packet = publish("abrupt", b"x" * 100)
    delivered, gone, lost = [], [], 0
    for number in range(50):
        publisher = connect(server.ports["tcp"], f"brief-{number}")
        publisher.sendall(packet * 10)
        publisher.close()  # No DISCONNECT; the end comes with the data.
        start = time.monotonic()
        lost += len(packet) * 10 - len(read_exactly(subscriber, len(packet) * 10))
        delivered.append((time.monotonic() - start) * 1000)
        while server.metrics()["mqttd_clients_connected"] > 1:
            pass
        gone.append((time.monotonic() - start) * 1000)
    subscriber.close()
    remark = f"QoS 0 and close without DISCONNECT: {500 - lost // len(packet)} of 500 messages delivered"
    return report.Result("abrupt", "checklist", "publisher that sends QoS 0 and closes without DISCONNECT", "ms",
                         "ms, median of 50", {"delivered": [statistics.median(delivered)], "gone": [statistics.median(gone)]},
                         (Goal("delivered", 100, kind="at most"), Goal("gone", 100, kind="at most")), remarks=(remark,),
                         faults=(f"{lost} bytes were not delivered",) if lost else ())


def slow_reader(server):
    """Bytes held for one who does not read 4 to 64 KiB messages, and after it has gone."""
    held, after, remarks = [], [], []
    for size in (4096, 16384, 65536):
        before = server.metrics()
        reader, writer = connect(server.ports["tcp"], "slow", small_buffer=True), connect(server.ports["tcp"], "quick")
        subscribe(reader, "bulk")
        packet = publish("bulk", b"x" * size)
        for _ in range(64 * 2**20 // size):
            writer.sendall(packet)
        writer.sendall(b"\xc0\x00")  # PINGREQ: its answer says that all before it was taken.
        assert read_exactly(writer, 2) == b"\xd0\x00", "PINGRESP"
        now = server.metrics()
        held.append(now["mqttd_output_bytes"] / 2**20)
        dropped = sum(value - before.get(name, 0) for name, value in now.items() if name.startswith("mqttd_messages_dropped"))
        remarks.append(f"{size // 1024} KiB messages: {dropped:.0f} of {64 * 2**20 // size} dropped and counted")
        reader.close()
        writer.close()
        while server.metrics()["mqttd_clients_connected"] > 0:
            pass
        after.append(server.metrics()["mqttd_output_bytes"] / 2**20)
    return report.Result("slow reader", "checklist", "64 MiB in messages of 4, 16 and 64 KiB for one that does not read", "MiB",
                         "MiB held, the most", {"held": [max(held)], "after it has gone": [max(after)]},
                         (Goal("held", 1.25, kind="at most"), Goal("after it has gone", 0, kind="at most")),
                         remarks=tuple(remarks))


def main():
    parser = argparse.ArgumentParser(prog="./dev bench --checklist", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="add to a file of `./dev bench --json`")
    options = parser.parse_args()
    options.rounds, options.shards = 1, 1
    factory = Factory(options.bin.resolve() / "mqttd", options.bin.resolve() / "mqload", options.shards)
    results = []
    try:
        servers = [factory.kept_server("mqttd"), factory.kept_server("floor")]
        for tool, check in (("strace", system_calls), ("perf", user_time)):
            if shutil.which(tool):
                results += check(servers, options.seconds)
            else:
                note(f"bench: {tool} is not installed; what it shows is left out")
        results += [abrupt_end(servers[0]), slow_reader(servers[0])]
    finally:
        factory.close()
    print("\n".join(report.table(results, {"checklist": "Inside the broker"})))
    if options.json:
        bench.write_json(options.json, options, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
