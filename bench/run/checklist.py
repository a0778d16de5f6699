"""Looks inside the broker under load: what it asks of the kernel, where its own time goes, and two corner cases.

Functions that make do(server, options) for a Measure, or are one, as in procedures.

  system calls   strace -c -f over a whole run, per delivered message, beside the relay's
  user time      perf record: time outside the kernel per message, and how much of it allocates memory
  abrupt end     publishers that send QoS 0 and vanish: what they sent is delivered, they are gone at once
  slow reader    large messages for one that does not read: memory stays within its bound and comes back
"""

import re
import signal
import socket
import statistics
import subprocess
import time
from pathlib import Path

ALLOCATION = re.compile(r"malloc|calloc|realloc|^cfree|_int_free|operator new|operator delete|_M_release|shared_ptr|tcache")


def system_calls(load):
    """System calls per delivered message, set-up of the connections included."""
    def do(server, options):
        log = Path(server.directory) / "strace"
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", log, "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
        said = tracer.stderr.readline()  # That it is attached.
        delivered = server.load_one(f"pubsub {load} --warmup 0", seconds=options.seconds).get("delivered", 0)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=60)
        if tracer.returncode not in (0, -signal.SIGINT) or not delivered or not log.exists():
            server.fault(f"strace: {said.strip()}")
            return {}
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", log.read_text(), re.MULTILINE)
        calls = {name: int(count) / delivered for count, name in rows if name != "total"}
        often = sorted(((count, name) for name, count in calls.items() if count > 0.0005), reverse=True)
        server.remark(f"system calls, {server.name}: " + ", ".join(f"{name} {count:.3f}" for count, name in often))
        return {"calls": sum(calls.values())}
    return do


def profile(server, load, seconds):
    """(ns of user time per message, share of it that allocates, [(share, symbol)])."""
    seconds = max(seconds, 2)
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


def user_time(load):
    """Time outside the kernel per message, and how much of it allocates."""
    def do(server, options):
        found = profile(server, load, options.seconds)
        if found is None:
            server.fault("perf gave no samples")
            return {}
        per_message, allocating, often = found
        server.remark(f"user time, {server.name}: " + ", ".join(f"{symbol} {share:.0%}" for share, symbol in often))
        return {"user": per_message, "allocation": allocating * 100}
    return do


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


def await_clients(server, count):
    """Until no more than so many are connected."""
    limit = time.monotonic() + 20
    while server.metrics()["mqttd_clients_connected"] > count:
        if time.monotonic() > limit:
            raise RuntimeError("a client that went is still connected after 20 s")


def abrupt_end(server, _):
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
        await_clients(server, 1)
        gone.append((time.monotonic() - start) * 1000)
    subscriber.close()
    server.remark(f"{500 - lost // len(packet)} of 500 messages were delivered")
    if lost:
        server.fault(f"{lost} bytes were not delivered")
    return {("ms", "delivered"): statistics.median(delivered), ("ms", "gone"): statistics.median(gone)}


def slow_reader(server, _):
    """Bytes held for one who does not read 4 to 64 KiB messages, and after it has gone."""
    held, after = [], []
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
        server.remark(f"{size // 1024} KiB messages: {dropped:.0f} of {64 * 2**20 // size} dropped and counted")
        reader.close()
        writer.close()
        await_clients(server, 0)
        after.append(server.metrics()["mqttd_output_bytes"] / 2**20)
    return {("MiB", "held"): max(held), ("MiB", "after it has gone"): max(after)}
