#!/usr/bin/env python3
"""Clients that make the broker hold memory: what each may cost, who goes, and that the others are served."""

import os
import re
import select
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (Broker, Wire, case, connect_packet, equal, frame, holds, main, publish_packet, subscribe_packet,  # noqa: E402
                 text)

MIB = 1 << 20
MARK = 192 * MIB
LIMIT = 256 * MIB  # A broker that takes more would be killed where there is no more.


def peak_bytes(broker):
    """The most memory that the process has had."""
    with open(f"/proc/{broker.pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) * 1024


def client(broker, client_id, **rest):
    wire = Wire(broker.port)
    wire.send(connect_packet(client_id, **rest))
    first, body = wire.packet()
    equal((first, body[1]), (0x20, 0), f"CONNACK of {client_id}")
    return wire


def ping(wire):
    wire.send(b"\xc0\0")
    equal(wire.packet(), (0xD0, b""), "PINGRESP")


def stored(wire, topic, payload, version=5):
    wire.send(publish_packet(topic, payload, qos=1, packet_id=1, version=version, retain=True))
    first, body = wire.packet()
    equal((first, body[:2], body[2:3] < b"\x80"), (0x40, b"\0\1", True), f"PUBACK of {len(payload)} bytes")


def large_connect(payload_bytes, version=5):
    """A CONNECT whose will's user properties make it as large as that."""
    pair = b"\x26" + text("k") + text(b"v" * 60_000)
    properties = pair * (payload_bytes // len(pair))
    size, length = len(properties), b""
    while True:
        size, digit = size >> 7, size & 0x7F
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            break
    body = text("MQTT") + bytes([version, 0x06]) + b"\0\0\0" + text("x") + length + properties
    return frame(0x10, body + text("w") + text(b"x" * 60_000))


@case("half a CONNECT of nearly 1 MB from 400 connections: refused as soon as its size is known, at no cost")
def half_connect():
    with Broker("--set", f"broker.memory_high_bytes={MARK}") as broker:
        witness = client(broker, "witness")
        packet = large_connect(900_000)
        before = peak_bytes(broker)
        for _ in range(400):
            with Wire(broker.port) as wire:
                try:
                    wire.send(packet[:-1])
                except OSError:
                    continue  # Closed while it was sending.
                first = wire.packet()
                holds(first is None or first[1][1] == 0x95, f"{first} instead of a refusal")
        ping(witness)
        holds(peak_bytes(broker) < before + 16 * MIB, f"{peak_bytes(broker)} bytes after {before}")
        equal(broker.metric('mqttd_connections_refused_total{cause="connect_packet_size_max"}'), 400)
        broker.log.wait_for(r"connection refused.*CONNECT is larger than it may be.*bound=connect_packet_size_max.*address=127\.0\.0\.1")
        # One that is told what is wrong: it has sent no more than its beginning.
        with Wire(broker.port) as wire:
            wire.send(packet[:1000])
            first, body = wire.packet()
            equal((first, body[1]), (0x20, 0x95), "CONNACK")
        client(broker, "x" * 1000).close()


def stored_in_the_end(broker, topic, payload):
    """While hundreds upload at once nobody knows who is honest: it may be refused or closed, but not each time."""
    for _ in range(20):
        try:
            with client(broker, f"honest-{topic}") as wire:
                return stored(wire, topic, payload)
        except (AssertionError, OSError):
            pass
    raise AssertionError(f"{topic} was never stored")


@case("300 clients hold back the last byte of 1 MiB each: those that hold most for longest go, the others are served")
def half_publish():
    with Broker("--set", f"broker.memory_high_bytes={MARK}", "--set", "broker.shards=2") as broker:
        witness = client(broker, "witness")
        attackers = [client(broker, f"attacker-{number}") for number in range(300)]
        packet = publish_packet("t", b"x" * MIB)
        closed = 0
        for number, wire in enumerate(attackers):
            try:
                wire.send(packet[:-1])
            except OSError:
                closed += 1
            if number % 10 == 0:
                ping(witness)
            if number % 100 == 99:  # An honest one among them, whose client tries again if it has to.
                stored_in_the_end(broker, "camera", b"y" * 3_000_000)
        going = 'mqttd_connections_closed_total{cause="memory"}'
        while broker.metric(going) < 100:
            ping(witness)
        broker.log.wait_for(r"half-sent packets take too much memory.*closed=\d+ bytes=\d+ one_of_them=")
        holds(broker.metric('mqttd_memory_account_bytes{use="input"}') <= MARK / 4 + 4 * MIB, "more than its bound")
        holds(peak_bytes(broker) < LIMIT, f"{peak_bytes(broker)} bytes")
        stored(witness, "camera", b"y" * 3_000_000)
        for wire in attackers:
            wire.close()
        while broker.metric('mqttd_memory_account_bytes{use="input"}') > 0:
            pass
        client(broker, "late").close()


@case("a packet may take longer than the Keep Alive while bytes of it arrive; silence may not")
def slow_upload():
    with Broker() as broker:
        reader = client(broker, "reader")
        reader.send(subscribe_packet(1, "t", 0))
        equal(reader.packet()[1][-1], 0, "SUBACK")
        slow = client(broker, "slow", keep_alive=1)
        packet = publish_packet("t", b"x" * 200_000)
        at = 0
        for number in range(3):  # 4.5 seconds and more, at a Keep Alive of one.
            silent = client(broker, f"silent-{number}", keep_alive=1)
            while not select.select([silent.socket], [], [], 0.2)[0]:
                slow.send(packet[at:at + 1000])
                at += 1000
            first, body = silent.packet()
            equal((first, body[0]), (0xE0, 0x8D), "what the silent one is told")
            silent.close()
        slow.send(packet[at:])
        first, body = reader.packet()
        equal((first, len(body)), (0x30, 200_000 + 4), "the PUBLISH that took so long")
        ping(slow)
        equal(broker.metric('mqttd_connections_closed_total{cause="keep_alive_timeout"}'), 3)


@case("but not longer than packet_timeout, with a Keep Alive or without")
def packet_timeout():
    with Broker("--set", "mqtt.packet_timeout=1s") as broker:
        for keep_alive in (0, 60):
            wire = client(broker, "slow", keep_alive=keep_alive)
            packet = publish_packet("t", b"x" * 100_000)
            at = 0
            while not select.select([wire.socket], [], [], 0.1)[0]:
                wire.send(packet[at:at + 10])
                at += 10
            first, body = wire.packet()
            equal((first, body[0]), (0xE0, 0x8D), "DISCONNECT")
            wire.close()
        equal(broker.metric('mqttd_connections_closed_total{cause="packet_timeout"}'), 2)


@case("as it comes, the broker takes what real clients send: 3 MB retained at a start, a camera's picture, a bridge's burst")
def default_sizes():
    with Broker("--set", "broker.memory_high_bytes=1GiB") as broker:
        for version in (4, 5):
            wire = client(broker, "zigbee2mqtt", version=version)
            for size in (900_000, 1_100_000, 3_000_000, 20_000_000):
                stored(wire, "zigbee2mqtt/bridge/devices", b"{" * size, version)
            wire.close()
        # What is to be stored for somebody is acknowledged when it is, so a burst waits.
        away = client(broker, "away", clean=False, properties=b"\x11\0\0\x0e\x10")
        away.send(subscribe_packet(1, "t", 1))
        equal(away.packet()[1][-1], 1, "SUBACK")
        away.close()
        with Wire(broker.port) as wire:
            wire.send(connect_packet("bridge"))
            first, body = wire.packet()
            equal((first, body[1]), (0x20, 0), "CONNACK")
            holds(b"\x21" not in body[3:4], "Receive Maximum is named")
            # Far more unacknowledged than 1,024, in one piece.
            wire.send(b"".join(publish_packet("t", b"x", qos=1, packet_id=number) for number in range(1, 5001)))
            for number in range(1, 5001):
                first, body = wire.packet()
                equal((first, body[:2]), (0x40, number.to_bytes(2, "big")), "PUBACK")


@case("the names behind a client's topic aliases have a bound together")
def aliases():
    with Broker() as broker:
        wire = client(broker, "aliases")
        for number in range(1, 65):
            try:
                wire.send(publish_packet("t" * 60_000 + str(number), b"", properties=b"\x23\0" + bytes([number])))
            except OSError:
                break
        first, body = wire.packet()
        equal((first, body[0]), (0xE0, 0x97), "DISCONNECT")
        wire.close()
        # Those of real clients fit, and are in the account until they go.
        wire = client(broker, "aliases")
        for number in range(1, 65):
            wire.send(publish_packet("building/4/room/" + str(number), b"", properties=b"\x23\0" + bytes([number])))
        ping(wire)
        held = 'mqttd_memory_account_bytes{use="aliases"}'
        holds(1000 < broker.metric(held) < 10_000, f"{broker.metric(held)} bytes")
        wire.close()
        while broker.metric(held) > 0:
            pass


@case("clients that fight for one identifier: every CONNECT is answered, the loser is told, it is said and slowed down")
def fight():
    with Broker("--set", "storage.takeover_pause_max=100ms", "--set", "broker.shards=2") as broker:
        expiry = b"\x11\0\0\x0e\x10"
        wires = [client(broker, "fight", clean=False, properties=expiry)]
        for _ in range(20):
            waiting = [Wire(broker.port) for _ in range(2)]
            for wire in waiting:
                wire.send(connect_packet("fight", clean=False, properties=expiry))
            for wire in waiting:
                first, body = wire.packet()
                equal((first, body[:2]), (0x20, b"\1\0"), "CONNACK, of a session that is there")
            for wire in wires:
                first, body = wire.packet()
                equal((first, body[0]), (0xE0, 0x8E), "what the loser is told")
                wire.close()
            # Which of the two came last is the broker's to say: the other one is told.
            loser = next(wire for wire in waiting
                         if wire.socket in select.select([wire.socket for wire in waiting], [], [])[0])
            equal(loser.packet()[1][0], 0x8E, "what the first of the two is told")
            loser.close()
            wires = [wire for wire in waiting if wire is not loser]
        ping(wires[0])
        broker.log.wait_for(r"several clients connect with the same Client Identifier.*client=fight.*takeovers=\d+")
        holds(broker.metric("mqttd_takeovers_held_total") >= 20, "nobody waited")
        equal(broker.metric("mqttd_takeovers_total"), 40)


if __name__ == "__main__":
    main()
