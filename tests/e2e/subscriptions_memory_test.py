#!/usr/bin/env python3
"""What subscriptions cost: bounds that see them, and a start that fits into the memory they were made in."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (SLOWDOWN, Broker, Wire, case, connect_packet, equal, frame, holds, main, publish_packet,  # noqa: E402
                 text)

MIB = 1 << 20
BOUND = (500 if SLOWDOWN == 1 else 1000) * MIB  # A sanitizer keeps books of all that is allocated.
FOREVER = b"\x11\xff\xff\xff\xff"  # Session Expiry Interval.


def session(broker, client_id, properties=FOREVER):
    wire = Wire(broker.port)
    wire.send(connect_packet(client_id, properties=properties))
    equal(wire.packet()[0], 0x20, f"CONNACK of {client_id}")
    return wire


def subscribed(wire, filters):
    """The codes of SUBACK."""
    wire.send(frame(0x82, b"\x00\x01\x00" + b"".join(text(each) + b"\x01" for each in filters)))
    while True:
        first, body = wire.packet()
        if first == 0x90:
            return list(body[3:])


def peak(broker):
    """The most memory that was resident so far, in bytes."""
    with open(f"/proc/{broker.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


@case("a start with 8 shards takes little more memory than making the subscriptions did, at N and at 4 N")
def start():
    for count in (10_000, 40_000):
        with Broker("--set", "broker.shards=8") as broker:
            wire = session(broker, "fleet")
            for first in range(0, count, 1000):
                codes = subscribed(wire, [f"fleet/plant-{first + i:07}/device/state" for i in range(1000)])
                holds(all(code == 1 for code in codes), "a subscription was refused")
            made = peak(broker)
            wire.close()
            equal(broker.terminate(), 0, "exit status")
            broker.start()
            started = peak(broker)
            print(f"# {count} filters: {made // MIB} MiB, at the start {started // MIB} MiB")
            holds(started <= made * 1.25 + 8 * MIB, f"{made} bytes before, {started} at the start")


@case("long and deep filters end at a bound with 0x97, others are served, and the next start works")
def long_filters():
    makers = {"long": lambda i: f"{i:07}/" + "x" * 60_000, "deep": lambda i: f"+/{i}/" + "a/" * 125 + "+"}
    for name, make in makers.items():
        with Broker("--set", "mqtt.subscriptions_bytes_max=16MiB", "--set", "broker.shards=2",
                    "--set", "broker.memory_high_bytes=1GiB") as broker:
            wire = session(broker, "many")
            made, refused = 0, 0
            while not refused:
                codes = subscribed(wire, [make(made + i) for i in range(10)])
                made += len(codes)
                refused += codes.count(0x97)
                holds(made < 100_000, "no bound is ever reached")
            print(f"# {name}: {made - refused} granted, {peak(broker) // MIB} MiB")
            holds(peak(broker) < 300 * MIB, f"{peak(broker)} bytes")
            holds(broker.metric('mqttd_subscriptions_refused_total{bound="subscriptions_bytes_max"}') == refused,
                  "refusals are counted")
            equal(subscribed(session(broker, "other"), ["t"]), [1], "another session's SUBACK")
            wire.close()
            equal(broker.terminate(), 0, "exit status")
            broker.start()
            holds(peak(broker) < 300 * MIB, f"{peak(broker)} bytes at the start")


def cpu_seconds(broker):
    with open(f"/proc/{broker.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@case("messages of a few bytes to very many $share groups of one session: neither memory nor cost grows beyond its share, "
      "at N and at 10 N")
def share_groups():
    messages, cost = 100, {}
    for groups in (1000, 10_000):
        with Broker("--set", "broker.shards=2", "--set", "broker.commits_pending_bytes_max=16MiB") as broker:
            member = session(broker, "member")
            for first in range(0, groups, 1000):
                equal(set(subscribed(member, [f"$share/g{first + i}/t" for i in range(1000)])), {1}, "SUBACK")
            if groups == 10_000:
                equal(subscribed(member, ["$share/more/t"]), [0x97], "beyond mqtt.shared_subscriptions_max")
            publisher = session(broker, "publisher", b"")
            before, begun = peak(broker), cpu_seconds(broker)
            for packet_id in range(1, messages + 1):
                publisher.send(publish_packet("t", b"x", qos=1, packet_id=packet_id))
            for _ in range(messages):
                equal(publisher.packet()[0], 0x40, "PUBACK")
            cost[groups] = (cpu_seconds(broker) - begun) / messages / groups * 1e6
            grown = peak(broker) - before
            print(f"# {messages} messages to {groups} groups: {cost[groups]:.2f} µs CPU for each message and group, "
                  f"{grown // MIB} MiB more")
            holds(peak(broker) < BOUND, f"{peak(broker)} bytes")
            equal(subscribed(publisher, ["other"]), [1], "SUBACK")
    holds(cost[10_000] < 3 * max(cost[1000], 0.5), "each group costs more where there are more of them")


if __name__ == "__main__":
    main()
