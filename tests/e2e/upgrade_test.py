#!/usr/bin/env python3
"""Data directories of other releases: an earlier format is taken over with all that is in it, a later one refused.

golden/ has a directory of each earlier format, as the last release that wrote it left it when it was killed.
`MQTTD_BIN=… tests/e2e/upgrade_test.py --make golden/format1.tar.xz` makes one.
"""

import os
import pathlib
import shutil
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import case, equal, holds, main, scratch  # noqa: E402
from killable_broker import Broker, StartFailed  # noqa: E402
from mqtt_wire import Client, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
FORMAT = 3
NEVER = 0xFFFFFFFF
LARGE = "L" * 3000  # Several queues share one.
SMALL = ("--set", "storage.partitions=4", "--set", "broker.shards=1")


def make(target):
    """One of everything; half of it is in the state, the rest in the log only."""
    directory = scratch("made")
    with Broker(directory, *SMALL) as broker:
        broker.start()
        for name in ("alice", "bob"):
            client = Client(broker.port, name, expiry=NEVER)
            client.subscribe("a/#", 2)
            client.disconnect()
        for name in ("sam", "sue"):
            client = Client(broker.port, name, expiry=NEVER)
            client.subscribe("$share/g/s/#", 1)
            client.disconnect()
        publisher = Client(broker.port, "publisher", expiry=NEVER)
        publisher.published("a/1", "one", qos=1)
        publisher.published("a/2", "two", qos=2)
        publisher.published("a/large", LARGE, qos=1)
        publisher.published("s/1", "shared one", qos=1)
        publisher.published("r/kept", "retained one", qos=1, retain=True)
        publisher.published("r/replaced", "old", qos=1, retain=True)
        publisher.published("r/removed", "gone", qos=1, retain=True)
        publisher.disconnect()
        equal(broker.stop(), 0, "the end")

        broker.start()
        bob = Client(broker.port, "bob", expiry=NEVER)
        for _ in range(3):
            packet = bob.receive(PUBLISH)
            if packet.payload == b"one":
                bob.acknowledge(PUBACK, packet.id)
            if packet.payload == b"two":
                bob.acknowledge(PUBREC, packet.id)
                bob.wait_for(PUBREL, packet.id)
        publisher = Client(broker.port, "publisher", expiry=NEVER)
        publisher.published("r/replaced", "new", qos=1, retain=True)
        publisher.published("r/removed", "", qos=1, retain=True)
        publisher.published("a/3", "three", qos=1)
        publisher.published("s/2", "shared two", qos=1)
        publisher.publish("a/4", "four", qos=2, id=77)
        publisher.wait_for(PUBREC, 77)  # And no PUBREL.
        Client(broker.port, "dies", expiry=NEVER, will={"topic": "a/will", "payload": "will", "qos": 1})
        broker.kill()
        # What RocksDB wrote for people to read, and locks, are no part of it.
        for path in pathlib.Path(broker.data_dir).rglob("*"):
            if path.name.startswith("LOG") or path.name in ("LOCK", "lock"):
                path.unlink()
        with tarfile.open(target, "w:xz") as archive:
            archive.add(broker.data_dir, "data")


def unpacked(name):
    directory = scratch("broker")
    directory.mkdir()
    with tarfile.open(GOLDEN / name) as archive:
        archive.extractall(directory)
    return directory


def node_file(directory):
    return directory / "data" / "node"


def drained(broker, name):
    """All that the session has, acknowledged to the end of each handshake; "(PUBREL)" if only that was owed."""
    client = Client(broker.port, name, expiry=NEVER)
    holds(client.session_present, f"{name} has its session")
    equal(Client(broker.port, "marker", clean=True, expiry=0).published("a/end", "end", qos=1), 0, "the marker")
    if name in ("sam", "sue"):
        equal(client.subscribe("a/end", 1), 1, "SUBACK")
        Client(broker.port, "marker", clean=True, expiry=0).published("a/end", "end", qos=1)
    payloads, received = [], set()
    while "end" not in payloads or received:
        packet = client.receive()
        if packet.kind == PUBREL:
            client.acknowledge(PUBCOMP, packet.id)
            if packet.id not in received:
                payloads.append("(PUBREL)")
            received.discard(packet.id)
        if packet.kind != PUBLISH:
            continue
        payloads.append(packet.payload.decode())
        if packet.flags & 6 == 2:
            client.acknowledge(PUBACK, packet.id)
        if packet.flags & 6 == 4:
            client.acknowledge(PUBREC, packet.id)
            received.add(packet.id)
    client.disconnect()
    return [payload for payload in payloads if payload != "end"]


@case("a directory of format 1 is taken over with sessions, queues, retained messages and identifiers")
def _():
    taken_over("format1.tar.xz")


@case("and so is one of format 2, whose log was not a group's")
def _():
    taken_over("format2.tar.xz")


def taken_over(name):
    directory = unpacked(name)
    with Broker(directory, *SMALL) as broker:
        broker.start()
        said = [line for line in broker.log_tail(1000).splitlines() if "format" in line]
        equal(len(said), 1, f"lines about the format: {said}")
        holds("earlier releases" in said[0], said[0])
        holds(f"format_version: {FORMAT}\n" in node_file(directory).read_text(), "the new format is written down")

        publisher = Client(broker.port, "publisher", expiry=NEVER)
        holds(publisher.session_present, "the publisher has its session")
        publisher.publish("a/4", "four", qos=2, id=77, dup=True)  # A repeat.
        publisher.wait_for(PUBREC, 77)
        publisher.acknowledge(PUBREL, 77)
        publisher.wait_for(PUBCOMP, 77)
        equal(drained(broker, "alice"), ["one", "two", LARGE, "three", "four", "will"], "alice")
        equal(drained(broker, "bob"), ["(PUBREL)", LARGE, "three", "four", "will"], "bob")
        shared = [*drained(broker, "sam"), *drained(broker, "sue")]
        equal(sorted(shared), ["shared one", "shared two"], "the group")
        reader = Client(broker.port, "reader", clean=True, expiry=0)
        reader.subscribe("r/#", 1)
        retained = sorted(reader.receive(PUBLISH).payload for _ in range(2))
        equal(retained, [b"new", b"retained one"], "retained")
        equal(broker.stop(), 0, "the end")
        broker.start()
        equal(drained(broker, "alice"), [], "alice, once more")
        holds("format" not in broker.log_tail(3), "it is said once")
        equal(broker.stop(), 0, "the end")


@case("an upgrade that is interrupted before it is written down is done again")
def _():
    directory = unpacked("format2.tar.xz")
    before = node_file(directory).read_text()
    in_the_way = directory / "data" / "node.new"
    in_the_way.mkdir()  # The last step fails.
    with Broker(directory, *SMALL) as broker:
        try:
            broker.start()
            holds(False, "it started")
        except StartFailed as failed:
            equal(failed.status, 1, "the exit status")
            broker.process = None
        equal(node_file(directory).read_text(), before, "the format that is written down")
        in_the_way.rmdir()
        in_the_way.write_text("format_ver")
        broker.start()
        equal(drained(broker, "alice")[:4], ["one", "two", LARGE, "three"], "alice")
        holds(f"format_version: {FORMAT}\n" in node_file(directory).read_text(), "the new format is written down")
        equal(broker.stop(), 0, "the end")


@case("a directory of a later format is refused in words, and left as it is")
def _():
    directory = scratch("broker")
    with Broker(directory, *SMALL) as broker:
        broker.start()
        Client(broker.port, "alice", expiry=NEVER).disconnect()
        equal(broker.stop(), 0, "the end")
        node = node_file(directory)
        ours = node.read_text()
        later = ours.replace(f"format_version: {FORMAT}", f"format_version: {FORMAT + 1}")
        node.write_text(later)
        before = {path: path.stat().st_mtime_ns for path in (directory / "data").rglob("*") if path.name != "lock"}
        try:
            broker.start()
            holds(False, "it started")
        except StartFailed as failed:
            equal(failed.status, 1, "the exit status")
            broker.process = None
            text = broker.log_tail(3)
            holds(f"format version {FORMAT + 1}" in text and "newer release" in text, text)
        after = {path: path.stat().st_mtime_ns for path in (directory / "data").rglob("*") if path.name != "lock"}
        equal(after, before, "the files")
        node.write_text(ours)
        broker.start()
        holds(Client(broker.port, "alice", expiry=NEVER).session_present, "nothing was lost")
        equal(broker.stop(), 0, "the end")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(pathlib.Path(sys.argv[2]))
    else:
        main()
