#!/usr/bin/env python3
"""What happens, as it happens: clients that come and go, drops by cause, the node's state; and traces of a client and of a topic."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, Admin, durable, golden, mqtt_client
from relay import Relay
from e2e import PATIENCE_S, Broker, Process, case, connect_packet, equal, holds, main, publish_packet, run, subscribe_packet, write

rules = write("rules", "topic readwrite house/#\ntopic read locked/#\n")
broker = Broker("--set", "auth.allow_anonymous=true", "--set", f"auth.acl_file={rules}", "--set", "drain.delay=2s")
admin = Admin(broker)


class Stream:
    """A verb of mqttctl that goes on: its answers as JSON."""

    def __init__(self, *arguments):
        self.process = Process([MQTTCTL, "--endpoint", broker.admin, *arguments, "-o", "json"])
        self._read = 0
        self.next()  # It has started.

    def next(self):
        line = self.process.out.wait(lambda lines: lines[self._read] if len(lines) > self._read else None, "an answer")
        self._read += 1
        return json.loads(line)

    def until(self, wanted):
        """The first answer for which `wanted` holds, from here on."""
        while True:
            answer = self.next()
            if wanted(answer):
                return answer

    def end(self):
        self.process.signal(signal.SIGTERM)


def subscribe(client, filter_, options=0):
    client.send(subscribe_packet(1, filter_, options))
    equal(client.packet()[0], 0x90, "SUBACK")
    return client


@case("clients that come and go, with the cause; of those that are meant")
def _():
    stream = Stream("events", "--clients", "--client", "seen-*")
    mqtt_client(broker, "unseen").close()
    seen = mqtt_client(broker, "seen-1")
    came = stream.next()["client"]
    equal((came["connected"], came["client_id"], came["address"], came["session_present"]), (True, "seen-1", "127.0.0.1", False), "it came")
    admin.text("client", "kick", "seen-1")
    gone = stream.next()["client"]
    equal((gone["connected"], gone["client_id"], gone["cause"]), (False, "seen-1", "administrative"), "it went")
    seen.close()
    mqtt_client(broker, "seen-2").send(b"\xe0\x00")
    stream.next()
    equal(stream.next()["client"]["cause"], "disconnect", "it said so")
    stream.end()


@case("drops by cause")
def _():
    stream = Stream("events", "--drops")
    client = mqtt_client(broker, "publisher")
    for _ in range(3):
        client.send(publish_packet("locked/x", b"x", qos=1, packet_id=1))
        equal(client.packet()[1][2], 0x87, "PUBACK")
    dropped = 0
    while dropped < 3:
        dropped += sum(each["messages"] for each in stream.next()["drops"]["drops"] if each["cause"] == "not_authorized")
    equal(dropped, 3, "messages")
    client.close()
    stream.end()


@case("a client is traced: its packets, and what is decided about them")
def _():
    stream = Stream("trace", "--client", "traced")
    other = subscribe(mqtt_client(broker, "other"), "house/#")
    traced = mqtt_client(broker, "traced")
    traced.send(publish_packet("house/door", b"open", qos=1, packet_id=1))
    traced.packet()
    traced.send(publish_packet("locked/door", b"open", qos=1, packet_id=2))
    traced.packet()
    traced.send(b"\xe0\x00")
    traced.closed()
    entries = []
    while not entries or entries[-1]["kind"] != "closed":
        entries.append(stream.next())
    for each in entries:
        if each["kind"] == "routed":  # To which shard the reader came is chance.
            holds(re.fullmatch(r"subscriptions here: \d; other shards: \d; partitions: 0; shared groups: 0", each["words"]), each["words"])
            each["words"] = ""
    golden("trace", [{key: each[key] for key in ("kind", "client_id", "packet", "topic", "qos", "words")} for each in entries])
    other.close()
    stream.end()


@case("a topic is traced: who publishes it, to whom it goes, and to whom not")
def _():
    stream = Stream("trace", "--topic", "house/+/x")
    reader = subscribe(mqtt_client(broker, "reader"), "house/#")
    small = mqtt_client(broker, "small", properties=b"\x27\x00\x00\x00\x20")  # Maximum Packet Size 32.
    subscribe(small, "house/1/#")
    publisher = mqtt_client(broker, "publisher")
    publisher.send(publish_packet("house/door", b"not this"))
    publisher.send(publish_packet("house/1/x", b"y" * 40))
    routed = stream.next()
    equal((routed["kind"], routed["client_id"], routed["topic"]), ("routed", "publisher", "house/1/x"), "routed")
    found = {}
    for _ in range(2):
        entry = stream.next()
        found[entry["client_id"]] = (entry["kind"], entry["words"])
    equal(found, {"reader": ("delivered", ""), "small": ("dropped", "packet_too_large")}, "to whom")
    for client in (reader, small, publisher):
        client.close()
    stream.end()


@case("a reader who is too slow loses entries, and is told how many")
def _():
    stream = admin.stream("Watch/Trace", {"clientId": "busy"})
    equal(next(stream)[1]["kind"], "KIND_STARTED", "started")
    busy = subscribe(mqtt_client(broker, "busy"), "house/#")
    sent = 20_000
    burst = publish_packet("house/x", b"x" * 100) * 200
    for _ in range(sent // 200):
        busy.send(burst)
        for _ in range(200):
            busy.packet()
    busy.send(b"\xe0\x00")
    busy.closed()
    seen = lost = 0
    for _, entry in stream:
        seen += entry["kind"] in ("KIND_ROUTED", "KIND_DELIVERED")
        lost += int(entry["entries"]) if entry["kind"] == "KIND_LOST" else 0
        if entry["kind"] == "KIND_CLOSED" or lost:
            break
    holds(lost > 0 or seen == 2 * sent, f"{seen} seen, {lost} lost")


@case("a stream ends on both sides when the other's machine goes without a word, however quiet it was")
def _():
    relay = Relay(int(broker.admin.rpartition(":")[2]))
    process = Process([MQTTCTL, "--endpoint", f"127.0.0.1:{relay.port}", "events", "--clients", "--client", "nobody", "-o", "json"])
    process.out.wait_for(r"started")
    relay.lose_answers = relay.lose_requests = True
    equal(process.wait(), 3, "exit status")
    while broker.metric('mqttd_admin_calls{kind="stream"}') != 0.0:
        broker.get("/readyz")


EVIL = "evil\nfaked \x1b[2J\x9b2J"


@case("what a client calls itself steers no terminal and makes no line of its own")
def _():
    process = Process([MQTTCTL, "--endpoint", broker.admin, "events", "--clients", "--client", "evil*", "--count", "1"])
    while process.running():
        mqtt_client(broker, EVIL).close()
    lines = process.out.text().splitlines()
    equal(len(lines), 1, lines)
    holds(r"evil\nfaked \033[2J\u009b2J from 127.0.0.1" in lines[0], lines)
    evil = mqtt_client(broker, EVIL)
    process = Process([MQTTCTL, "--endpoint", broker.admin, "trace", "--client", "evil*", "--count", "1"])
    while process.running():
        evil.send(b"\xc0\x00")
        evil.packet()
    equal(len(process.out.text().splitlines()), 1, process.out.text())
    holds(r"evil\nfaked \033[2J" in process.out.text(), process.out.text())
    evil.close()


@case("payloads are escaped on a terminal, and given to programs as they are")
def _():
    admin.ctl("topic", "publish", "house/evil", "-m", "a\x1b[2Jb", "--retain")
    command = [MQTTCTL, "--endpoint", broker.admin, "topic", "watch", "house/evil", "--retained", "--count", "1"]
    equal(run(*command).out.text().rstrip("\n"), "house/evil a\x1b[2Jb", "to a program")
    ours, terminal = pty.openpty()
    subprocess.run(command, stdout=terminal, check=True, timeout=PATIENCE_S)
    os.close(terminal)
    equal(os.read(ours, 1000).decode().strip(), r"house/evil a\033[2Jb", "on a terminal")
    os.close(ours)
    admin.ctl("retained", "delete", "house/evil", "--yes")


@case("what is wrong with a trace is said; it leaves a line in the log, and the end of all is seen")
def _():
    holds("what?" in admin.text("trace", status=1), "nothing to trace")
    broker.log.wait_for(r"admin who=local .*what=Watch/Trace .*traced.*outcome=done")
    stream = Stream("events", "--state")
    broker.process.signal(signal.SIGTERM)
    equal(stream.next()["state"]["state"], "stopping", "the node stops")
    stream.end()


main()
