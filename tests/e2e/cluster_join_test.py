#!/usr/bin/env python3
"""A fourth node joins three that are a cluster already: real processes, real clients, kill -9."""

import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from crash_run import LEDGER_ZERO, Ledger  # noqa: E402
from e2e import PATIENCE_S, SLOWDOWN, case, equal, holds, main, scratch  # noqa: E402
from local_cluster import LocalCluster  # noqa: E402
from mqtt_wire import Client as Wire, Nothing  # noqa: E402

cluster = LocalCluster()
founders = list(cluster.nodes)
# As in a StatefulSet: its configuration is that of the founders.
fourth = cluster.another(size=3)
LEASE_S = 3.0  # So long the others wait for a node that died.
KINDS = (("transient", 0), ("kept", 3600))


def eventually(holds_now, what):
    """For what a node hears of a moment later; nothing else to wait for tells of it. Each look is a round trip."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds_now():
        holds(time.monotonic() < deadline, f"{what}: never")


def leave(client):
    """What was acknowledged is stored when the fence's SUBACK comes."""
    client.subscribe("fence")
    client.disconnect()


def transient(node, name, **rest):
    return Wire(node.port, name, clean=True, expiry=0, timeout=PATIENCE_S, **rest)


def durable(node, name, **rest):
    return Wire(node.port, name, timeout=PATIENCE_S, **rest)


def joined_case(name):
    """A case that has it among the nodes, also if the one before in which it joins was not run."""
    def add(function):
        def run():
            if fourth.process is None:
                fourth.start()
            function()
        return case(name)(run)
    return add


class Load:
    """Publishers and durable subscribers at all nodes, also while one is not there; the account of what was acknowledged."""

    def __init__(self, name):
        directory = scratch(name)
        directory.mkdir()
        endpoints = [f"127.0.0.1:{node.port}" for node in cluster.nodes]
        self._ledgers = [Ledger(endpoints, qos, 100, str(directory), pubs=8) for qos in (1, 2)]

    def _sizes(self):
        paths = [Path(ledger.out + ".acked") for ledger in self._ledgers]
        return [path.stat().st_size if path.exists() else 0 for path in paths]

    def goes_on(self):
        """Until so much more is acknowledged that each publisher has been at it."""
        wanted = [size + 3000 for size in self._sizes()]
        eventually(lambda: all(size >= least for size, least in zip(self._sizes(), wanted)), "load")

    def account(self):
        try:
            counted = [ledger.finish() for ledger in self._ledgers]
        finally:
            self.close()
        for each in counted:
            equal({key: each.get(key, 0) for key in LEDGER_ZERO}, {key: 0 for key in LEDGER_ZERO}, "the account")
            holds(each["acked"] > 100, each)

    def close(self):
        for ledger in self._ledgers:
            ledger.close()


@case("it joins under load, of which nothing is lost, and says what it is")
def _():
    load = Load("join-load")
    try:
        load.goes_on()
        fourth.start()
        load.goes_on()
        load.account()
    finally:
        load.close()
    equal(fourth.readyz(), (200, "ready: this node holds no replicas"))
    holds(re.search(r"cluster joined cluster=\S+ node=4 incarnation=1 ", fourth.log.text()), fourth.log.text())
    fourth.log.wait_for("holds no replicas")
    equal(len(set(cluster.cluster_id())), 1, cluster.cluster_id())
    for node in cluster.nodes:
        eventually(lambda node=node: node.metrics()['mqttd_cluster_members{state="live"}'] == 4, "four live members")
    page = fourth.metrics()
    equal((page["mqttd_cluster_holds_replicas"], page["mqttd_cluster_lease"], page["mqttd_cluster_partitions_led"]), (0, 1, 0))
    equal(page["mqttd_cluster_partitions_without_leader"], 0, "it knows who leads")
    equal(founders[0].metrics()["mqttd_cluster_holds_replicas"], 1)


@joined_case("sessions made at founders go on at it, and those made at it go on at them, at every QoS")
def _():
    for qos in (0, 1, 2):
        for number, (first, second) in enumerate(((founders[0], fourth), (fourth, founders[1]), (fourth, founders[2]))):
            name, topic = f"moves{qos}-{number}", f"moves/{qos}/{number}"
            client = durable(first, name)
            client.subscribe(topic, qos)
            leave(client)
            publisher = durable(second, f"{name}-publisher")
            if qos:
                for payload in ("1", "2", "3"):
                    equal(publisher.published(topic, payload, qos=qos), 0)
            client = durable(second, name)
            holds(client.session_present, "the session is there")
            if not qos:
                for payload in ("1", "2", "3"):
                    publisher.publish(topic, payload)
            equal([client.message().payload for _ in range(3)], [b"1", b"2", b"3"], topic)
            client.nothing_comes()
            leave(client)
            publisher.drop()


@joined_case("what is in flight at it goes on at a founder, with DUP and the same identifier")
def _():
    client = durable(fourth, "in-flight")
    client.subscribe("in-flight", 2)
    publisher = durable(founders[0], "in-flight-publisher")
    equal(publisher.published("in-flight", b"x", qos=2), 0)
    sent = client.receive()
    client.drop()
    again = durable(founders[1], "in-flight")
    repeated = again.receive()
    equal((repeated.id, repeated.payload, bool(repeated.flags & 8)), (sent.id, b"x", True))
    again._waiting.appendleft(repeated)  # pylint: disable=protected-access
    equal(again.message().payload, b"x")
    again.nothing_comes()
    leave(again)
    publisher.drop()


@joined_case("a subscription is acknowledged when it and the founders send for it, at whichever node it is made")
def _():
    for kind, expiry in KINDS:
        nodes = [(founders[0], fourth), (fourth, founders[1]), (founders[2], fourth)]
        pairs = [(Wire(to.port, f"prompt-{kind}-{n}", clean=True, expiry=expiry, timeout=PATIENCE_S), transient(at, f"prompt-{kind}-pub{n}"))
                 for n, (to, at) in enumerate(nodes)]
        for number in range(150):
            subscriber, publisher = pairs[number % 3]
            topic = f"prompt/{kind}/{number}"
            subscriber.subscribe(topic if number % 2 else topic + "/+", 1)
            equal(publisher.published(topic if number % 2 else topic + "/x", b"x", qos=1), 0, f"round {number}: somebody subscribes")
            holds(subscriber.message().topic.startswith(topic), "delivered")
        for subscriber, publisher in pairs:
            leave(subscriber)
            publisher.drop()


@joined_case("nobody is sent for any more when UNSUBACK has come")
def _():
    subscriber = durable(founders[1], "unsubscriber")
    publisher = transient(fourth, "unsubscriber-publisher")
    subscriber.subscribe("unsubscribed", 1)
    equal(publisher.published("unsubscribed", b"x", qos=1), 0)
    equal(subscriber.message().payload, b"x")
    equal(subscriber.unsubscribe("unsubscribed"), 0)
    eventually(lambda: publisher.published("unsubscribed", b"y", qos=1) == 0x10, "it has forgotten the route")
    subscriber.nothing_comes()
    leave(subscriber)
    publisher.drop()


@joined_case("what is retained at a founder is found at it, page after page, and what is retained at it at founders")
def _():
    writer, there = durable(founders[0], "retains"), durable(fourth, "retains-at-fourth")
    for i in range(300):
        equal(writer.published(f"kept/{i % 20}/{i}", f"{i}", qos=1, retain=True), 0)
    for client in (transient(fourth, "finds"), durable(fourth, "finds-kept"), transient(founders[1], "finds-too")):
        client.subscribe("kept/#", 1)
        equal(sorted(int(client.message().payload) for _ in range(300)), list(range(300)))
        client.subscribe("kept/7/+", 1)
        equal(sorted(int(client.message().payload) for _ in range(15)), [i for i in range(300) if i % 20 == 7])
        client.nothing_comes()
        leave(client)
    finders = [durable(founders[2], "finds-at-once"), transient(founders[0], "finds-at-once-too"), transient(fourth, "finds-own")]
    for i in range(30):
        equal(there.published(f"own/{i}", f"{i}", qos=1, retain=True), 0)
        for finder in finders:
            finder.subscribe(f"own/{i}", 1)
            equal(finder.message().payload, f"{i}".encode())
    for client in [writer, there] + finders:
        leave(client)


@joined_case("members of a $share group at it and at founders get each message once, whoever publishes")
def _():
    for qos in (1, 2):
        members = []
        for node in (fourth, founders[0]):
            for kind, expiry in KINDS:
                member = Wire(node.port, f"team{qos}-{kind}-{node.number}", clean=True, expiry=expiry, timeout=PATIENCE_S)
                member.subscribe(f"$share/team{qos}/team{qos}/#", qos)
                members.append(member)
        publishers = [transient(node, f"team{qos}-pub{node.number}") for node in cluster.nodes]
        sent = [f"{number:03}" for number in range(60)]
        for number, payload in enumerate(sent):
            equal(publishers[number % 4].published(f"team{qos}/{number}", payload, qos=qos), 0)
        came = []
        deadline = time.monotonic() + PATIENCE_S
        while len(came) < len(sent):
            holds(time.monotonic() < deadline, f"{len(came)} of {len(sent)} have come")
            for member in members:
                try:
                    came.append(member.message(timeout=0.02).payload.decode())
                except Nothing:
                    pass
        equal(sorted(came), sent)
        for client in members:
            client.nothing_comes()
            client.disconnect()
        for client in publishers:
            client.drop()


@joined_case("who connects elsewhere takes the session over, to it and away from it, and the old connection hears 0x8E")
def _():
    for expiry in (0, 3600):
        name = f"taken-{expiry}"
        last = Wire(founders[0].port, name, clean=True, expiry=expiry, timeout=PATIENCE_S)
        for node in (fourth, founders[1], fourth, founders[2]):
            client = Wire(node.port, name, expiry=expiry, clean=not expiry, timeout=PATIENCE_S)
            equal(client.session_present, expiry != 0)
            goodbye = last.closed()
            holds(goodbye is not None and goodbye.reasons[0] == 0x8E, f"{goodbye}")
            last = client
        last.disconnect()


@joined_case("it is killed: wills of its clients fire once, kept sessions go on elsewhere, and it comes back in another life")
def _():
    mourner = durable(founders[0], "mourner")
    mourner.subscribe("wills/#", 1)
    gone = [transient(fourth, "gone-transient", will={"topic": "wills/transient", "payload": "gone", "qos": 1}),
            durable(fourth, "gone-kept", will={"topic": "wills/kept", "payload": "gone", "qos": 1})]
    gone[1].subscribe("goes-on", 1)
    fourth.kill()
    equal(sorted(mourner.message(timeout=PATIENCE_S).topic for _ in range(2)), ["wills/kept", "wills/transient"])
    publisher = durable(founders[1], "goes-on-publisher")
    equal(publisher.published("goes-on", b"1", qos=1), 0)
    back = durable(founders[2], "gone-kept")
    holds(back.session_present, "the session is there")
    equal(back.message().payload, b"1")
    back.subscribe("goes-on/meanwhile", 1)  # Acknowledged without the node that is gone.
    eventually(lambda: founders[0].metrics()['mqttd_cluster_members{state="gone"}'] == 1, "it is given up")
    mourner.nothing_comes()
    fourth.start()
    holds(re.search(r"cluster joined cluster=\S+ node=4 incarnation=2 ", fourth.log.text()), fourth.log.text())
    here = transient(fourth, "knows")
    equal(here.published("goes-on/meanwhile", b"2", qos=1), 0, "what was subscribed to while it was away")
    equal(back.message().payload, b"2")
    here.drop()
    again = durable(fourth, "gone-kept")
    holds(again.session_present, "the session is there")
    for client in gone + [back]:
        client.drop()
    for client in (again, mourner, publisher):
        leave(client)


@joined_case("leaders die, and what it tells and hears goes on")
def _():
    subscriber, publisher = durable(fourth, "loyal", ), durable(fourth, "loyal-publisher")
    subscriber.subscribe("loyal/#", 1)
    for victim in founders:
        victim.kill()
        for number in range(20):
            equal(publisher.published(f"loyal/{number}", f"{number}", qos=1), 0)
            equal(int(subscriber.message(timeout=PATIENCE_S).payload), number)
        alive = [node for node in founders if node is not victim]
        other = durable(alive[0], "loyal-other")
        other.subscribe(f"loyal-{victim.number}/+", 1)
        equal(publisher.published(f"loyal-{victim.number}/x", b"x", qos=1), 0, "acknowledged by those that live")
        equal(other.message().payload, b"x")
        leave(other)
        victim.start()
    leave(subscriber)
    leave(publisher)


@joined_case("without most founders it serves clients without a session on, closes the others, and all comes back")
def _():
    pair = [transient(fourth, "lonely-sub"), transient(fourth, "lonely-pub")]
    pair[0].subscribe("lonely", 0)
    kept = durable(fourth, "lonely-kept")
    kept.subscribe("lonely-kept", 1)
    founders[0].kill()
    founders[1].kill()
    holds(kept.closed() is not None, "the session's connection is closed with a reason")
    pair[1].publish("lonely", b"still here")
    equal(pair[0].message().payload, b"still here")
    eventually(lambda: "degraded" in fourth.readyz()[1], "readiness says so")
    founders[0].start()
    eventually(lambda: fourth.readyz() == (200, "ready: this node holds no replicas"), "whole again")
    founders[1].start()
    back = durable(fourth, "lonely-kept")
    holds(back.session_present, "the session is there")
    publisher = durable(founders[2], "lonely-publisher")
    equal(publisher.published("lonely-kept", b"again", qos=1), 0)
    equal(back.message().payload, b"again")
    for client in pair:
        client.drop()
    leave(back)
    leave(publisher)


@joined_case("told to stop it leaves nothing behind, nobody waits for it, and it comes back")
def _():
    keeper = durable(fourth, "stopper")
    keeper.subscribe("stops", 1)
    leave(keeper)
    mourner = durable(founders[0], "stop-mourner")
    mourner.subscribe("stop-wills", 1)
    ended = transient(fourth, "stop-ended", will={"topic": "stop-wills", "payload": "ended", "qos": 1})
    equal(fourth.terminate(), 0, "exit status")
    equal(mourner.message().payload, b"ended")
    ended.drop()
    begun = time.monotonic()
    mourner.subscribe("stop/at-once", 1)
    took = time.monotonic() - begun
    holds(took < LEASE_S * SLOWDOWN, f"SUBACK after {took:.1f} s, as if it had died")
    publisher = durable(founders[1], "stop-publisher")
    equal(publisher.published("stops", b"meanwhile", qos=1), 0)
    publisher.drop()
    fourth.start()
    back = durable(fourth, "stopper")
    equal(back.message().payload, b"meanwhile")
    mourner.nothing_comes()
    leave(back)
    leave(mourner)


@joined_case("all nodes are stopped and started again, and it finds its way back")
def _():
    client = durable(fourth, "all-stop")
    client.subscribe("all-stop", 1)
    leave(client)
    for node in reversed(cluster.nodes):
        equal(node.terminate(), 0, "exit status")
    for node in cluster.nodes:
        node.spawn()
    for node in cluster.nodes:
        node.wait_ready()
    publisher = durable(founders[0], "all-stop-publisher")
    equal(publisher.published("all-stop", b"x", qos=1), 0)
    back = durable(fourth, "all-stop")
    equal(back.message().payload, b"x")
    leave(back)
    publisher.drop()


@joined_case("it and a founder die under load and come back, and nothing is lost")
def _():
    load = Load("deaths-load")
    try:
        for victim in (fourth, founders[1], fourth):
            load.goes_on()
            victim.kill()
            load.goes_on()
            victim.start()
        load.goes_on()
        load.account()
    finally:
        load.close()


def live(subscriber, count):
    """Topics of what comes live. What is stored while a new subscription's retained messages are still looked for may come both ways."""
    got = []
    while len(got) < count:
        message = subscriber.message(timeout=PATIENCE_S)
        if not message.flags & 1:
            got.append(message.topic)
    return sorted(got)


@case("of five founders with three replicas of everything each serves what it has no replica of")
def _():
    five = LocalCluster(5)
    subscribers = [durable(node, f"five-{node.number}") for node in five.nodes]
    publishers = [transient(node, f"five-publisher-{node.number}") for node in five.nodes]
    for subscriber in subscribers:
        subscriber.subscribe("five/#", 2)
    topics = [f"five/{number}/{qos}" for number in range(5) for qos in (1, 2)]
    for number, publisher in enumerate(publishers):
        for qos in (1, 2):
            equal(publisher.published(f"five/{number}/{qos}", b"x", qos=qos, retain=True), 0)
    late = [transient(node, f"five-late-{node.number}") for node in five.nodes]
    for subscriber in late:
        subscriber.subscribe("five/+/+", 1)
    kept_late = [durable(node, f"five-kept-late-{node.number}") for node in five.nodes]
    for subscriber in kept_late:
        subscriber.subscribe("five/+/+", 1)
    for subscriber in subscribers:
        equal(live(subscriber, len(topics)), topics)
    for subscriber in late + kept_late:
        equal(sorted(subscriber.message().topic for _ in topics), topics)
    for subscriber in kept_late:
        subscriber.disconnect()
    five[0].kill()
    for number, publisher in enumerate(publishers[1:]):
        equal(publisher.published(f"five/after/{number}", b"y", qos=1), 0)
    for subscriber in subscribers[1:]:
        equal(live(subscriber, 4), [f"five/after/{number}" for number in range(4)])
    five[0].start()
    again = durable(five[0], "five-0")
    holds(again.session_present, "the session is there")
    equal(live(again, 4), [f"five/after/{number}" for number in range(4)])
    for node in five.nodes:
        node.kill()


@case("a cluster of one serves at once, has its sessions after kill -9, and others join it")
def _():
    one = LocalCluster(size=1)
    kept = durable(one[0], "one-kept")
    kept.subscribe("one/#", 1)
    kept.drop()
    publisher = transient(one[0], "one-publisher")
    equal(publisher.published("one/x", b"1", qos=1), 0)
    one[0].kill()
    one[0].start()
    joined = one.another()
    joined.start()
    kept = durable(joined, "one-kept")
    holds(kept.session_present, "the session is there")
    equal(kept.message().topic, "one/x")
    publisher = transient(one[0], "one-publisher")
    equal(publisher.published("one/y", b"2", qos=1), 0)
    equal(kept.message().topic, "one/y")
    for node in one.nodes:
        node.kill()


if __name__ == "__main__":
    main()
