#!/usr/bin/env python3
"""Queues that are full, and members of $share groups that take nothing: what was acknowledged reaches somebody, or the
publisher, the client or the operator is told, as `queue_full` says."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Broker, case, equal, holds, main  # noqa: E402
from mqtt_wire import PUBACK, PUBLISH, Client, Closed  # noqa: E402

QUEUE = 20


def broker(*settings):
    arguments = []
    for setting in ("broker.shards=2", f"storage.queue_messages_max={QUEUE}", f"mqtt.queue_messages_max={QUEUE}",
                    *settings):
        arguments += ["--set", setting]
    return Broker(*arguments)


def leave_session(at, name, topic):
    client = Client(at.port, name)
    client.subscribe(topic)
    client.disconnect()


def messages_of(at, name):
    """What waits for a durable session: as much as its queue holds, and nothing behind it."""
    client = Client(at.port, name)
    found = [client.message().payload for _ in range(QUEUE)]
    client.nothing_comes()
    return found


@case("queue_full: refuse: a publisher is told 0x97, at QoS 1 and 2, and what was acknowledged is there")
def refused():
    with broker("storage.queue_full=refuse") as at:
        leave_session(at, "away", "t")
        publisher = Client(at.port, "publisher", clean=True, expiry=0)
        reasons = [publisher.published("t", f"{i}", qos=1 + i % 2) for i in range(QUEUE + 10)]
        equal(reasons, [0] * QUEUE + [0x97] * 10, "reasons")
        equal(publisher.published("u", "for nobody", qos=1) < 0x80, True, "another topic is not concerned")
        equal(at.metric('mqttd_storage_messages_refused_total{cause="queue_full"}'), 10)
        equal(at.metric('mqttd_storage_messages_dropped_total{cause="queue_full"}'), 0)
        older = Client(at.port, "older", version=4, clean=True)
        older.publish("t", "refused", qos=1)
        try:
            while True:
                holds(older.receive().kind != PUBACK, "a 3.1.1 publisher is told that it is stored")
        except Closed:
            pass
        equal(sorted(messages_of(at, "away"), key=int), [f"{i}".encode() for i in range(QUEUE)], "delivered")


@case("queue_full: disconnect: a slow client is told 0x97, and its session stays")
def disconnected():
    with broker("storage.queue_full=disconnect") as at:
        slow = Client(at.port, "slow", properties={"receive_maximum": 1})
        slow.subscribe("t")
        publisher = Client(at.port, "publisher", clean=True, expiry=0)
        for i in range(QUEUE + 1):
            equal(publisher.published("t", f"{i}"), 0, "PUBACK")
        equal(slow.closed().reasons, [0x97], "DISCONNECT")
        holds(Client(at.port, "slow").session_present, "the session is gone")


@case("a queue that is nearly full is told of before anything is dropped, and who loses messages by name")
def told():
    with broker() as at:
        leave_session(at, "away", "t")
        publisher = Client(at.port, "publisher", clean=True, expiry=0)
        for i in range(QUEUE * 4 // 5 + 1):
            equal(publisher.published("t", f"{i}"), 0, "PUBACK")
        at.log.wait_for(r"queue nearly full.* client=away .*queued_messages=17 ")
        equal(at.metric('mqttd_queues_nearly_full{kind="durable"}'), 1)
        equal(at.metric('mqttd_storage_messages_dropped_total{cause="queue_full"}'), 0)
        for i in range(QUEUE):
            equal(publisher.published("t", f"{i}"), 0, "PUBACK")
        at.log.wait_for(r"message dropped.* client=away dropped_of_this_client=1 ")


def hung_worker(expiry, clean):
    with broker() as at:
        hung = Client(at.port, "hung", clean=clean, expiry=expiry, properties={"receive_maximum": 1})
        hung.subscribe("$share/g/t", 1)
        workers = [Client(at.port, f"worker-{i}", clean=clean, expiry=expiry) for i in range(3)]  # On both shards.
        for worker in workers:
            worker.subscribe("$share/g/t", 1)
        publisher = Client(at.port, "publisher", clean=True, expiry=0)
        total = QUEUE * 20
        got = set()
        for i in range(total):
            equal(publisher.published("t", f"{i}"), 0, "PUBACK")
            if i % 10 == 9:
                for worker in workers:
                    worker._send(0xC0, b"")
                    got.update(taken(worker))
        equal(sum(at.metric(f'mqttd_{kind}messages_dropped_total{{cause="queue_full"}}')
                  for kind in ("", "storage_")), 0, "dropped")
        holds(len(got) >= total - 2 * QUEUE - 2, f"{len(got)} of {total} came to those who work")
        hung._send(0xE0, b"\0\x05\x11\0\0\0\0")  # DISCONNECT that ends the session.
        hung.drop()
        while len(got) < total:  # What it held is theirs.
            for worker in workers:
                worker._send(0xC0, b"")
                got.update(taken(worker))


def taken(worker):
    """What came before the answer to PINGREQ, acknowledged."""
    while (packet := worker.receive()).kind == PUBLISH:
        worker.acknowledge(PUBACK, packet.id)
        yield packet.payload


@case("a member of a $share group that takes nothing is passed over when its queue is full: durable ones")
def hung_durable():
    hung_worker(3600, False)


@case("the same with clean sessions")
def hung_transient():
    hung_worker(0, True)


@case("a message that is too large for one member of a $share group goes to another, whichever session it has")
def too_large():
    for expiry, clean in ((0, True), (3600, False)):
        with broker() as at:
            small = Client(at.port, "small", clean=clean, expiry=expiry, properties={"maximum_packet_size": 1000})
            large = Client(at.port, "large", clean=clean, expiry=expiry)
            for member in (small, large):
                member.subscribe("$share/g/t", 1)
            publisher = Client(at.port, "publisher", clean=True, expiry=0)
            for i in range(10):
                equal(publisher.published("t", b"x" * 2000), 0, "PUBACK")
            for _ in range(10):
                large.message()
            small.nothing_comes()


if __name__ == "__main__":
    main()
