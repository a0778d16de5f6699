#!/usr/bin/env python3
"""From when a subscription acts, and until when: the packets of one connection, and of another one.

Both kinds of session, both versions, each QoS, on one shard and on several. Each case goes through
all of them, some times each.
"""

import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import case, equal, main, scratch  # noqa: E402
from killable_broker import Broker  # noqa: E402
from mqtt_wire import (Client, NAMES, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC,  # noqa: E402
                       SUBACK, UNSUBACK)

TIMES = 3
ACKS = (PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK)
_brokers = {}
_names = itertools.count()


def broker(shards):
    if shards not in _brokers:
        _brokers[shards] = Broker(scratch(f"shards-{shards}"), f"--set=broker.shards={shards}").start()
    return _brokers[shards]


def connect(shards, version=5, durable=False):
    return Client(broker(shards).port, f"client-{next(_names)}", version=version,
                  clean=not durable or version == 5, expiry=3600 if durable else 0)


def settings():
    """Shards, version, whether the session is durable: each, some times."""
    for shards, version, durable, _ in itertools.product((1, 3), (4, 5), (False, True),
                                                         range(TIMES)):
        yield shards, version, durable


def until_pingresp(client):
    packets = []
    while not packets or packets[-1].kind != PINGRESP:
        packets.append(client.receive())
    return packets[:-1]


def collect(client, enough):
    """What comes until `enough(packets)`, and what is there by then."""
    packets = []
    while not enough(packets):
        packets.append(client.receive())
    client.ping()
    return packets + until_pingresp(client)


def count(packets, kind):
    return sum(packet.kind == kind for packet in packets)


def acks(packets):
    return [NAMES[packet.kind] for packet in packets if packet.kind in ACKS]


@case("SUBSCRIBE and PUBLISH in one segment: the message comes, and SUBACK leaves before PUBACK")
def subscribe_and_publish():
    for (shards, version, durable), qos in itertools.product(settings(), (0, 1, 2)):
        client, topic = connect(shards, version, durable), f"topic-{next(_names)}"
        with client.one_segment():
            client.send_subscribe(topic, 2)
            client.publish(topic, "m", qos=qos)
        wanted = ["SUBACK", *(["PUBACK"] if qos == 1 else ["PUBREC"] if qos == 2 else [])]
        packets = collect(
            client, lambda got: count(got, PUBLISH) and len(acks(got)) == len(wanted))
        equal(count(packets, PUBLISH), 1, f"messages ({version}, {durable}, QoS {qos})")
        equal(acks(packets), wanted, f"order ({version}, {durable}, QoS {qos})")
        client.disconnect()


@case("UNSUBSCRIBE and PUBLISH in one segment: the message does not come [MQTT-3.10.4-2]")
def unsubscribe_and_publish():
    for (shards, version, durable), qos in itertools.product(settings(), (0, 1, 2)):
        client, topic = connect(shards, version, durable), f"topic-{next(_names)}"
        client.subscribe(topic, 2)
        with client.one_segment():
            client.send_unsubscribe(topic)
            client.publish(topic, "m", qos=qos)
            client.send_subscribe("fence")
        wanted = ["UNSUBACK", *(["PUBACK"] if qos == 1 else ["PUBREC"] if qos == 2 else []),
                  "SUBACK"]
        packets = collect(client, lambda got: len(acks(got)) == len(wanted))
        equal(count(packets, PUBLISH), 0, f"messages ({version}, {durable}, QoS {qos})")
        equal(acks(packets), wanted, f"order ({version}, {durable}, QoS {qos})")
        client.disconnect()


@case("a request right after subscribing to its reply topic gets its reply")
def request_and_reply():
    for (shards, version, durable), qos in itertools.product(settings(), (0, 1, 2)):
        server = connect(shards)
        server.subscribe("request/+", 0)
        client, name = connect(shards, version, durable), f"r{next(_names)}"
        with client.one_segment():
            client.send_subscribe(f"reply/{name}", 2)
            client.publish(f"request/{name}", "question")
        equal(server.message().topic, f"request/{name}", "request")
        server.publish(f"reply/{name}", "answer", qos=qos)
        equal(client.message().payload, b"answer", "reply")
        client.disconnect()
        server.disconnect()


@case("what another connection publishes once the SUBSCRIBE is read is for the subscription")
def from_another_connection():
    for shards, version, durable in settings():
        others = [connect(shards) for _ in range(4)]  # Some of them on other shards.
        client, topic = connect(shards, version, durable), f"topic-{next(_names)}"
        for filter in (topic, f"{topic}/#", f"$share/g/{topic}/+"):
            with client.one_segment():
                client.send_subscribe(filter, 2)
                client.ping()
            until_pingresp(client)
            name = topic if filter == topic else f"{topic}/x"
            for other in others:
                other.publish(name, "0")
                for qos in (1, 2):
                    other.published(name, str(qos), qos=qos)
            got = sorted(client.message().payload for _ in range(3 * len(others)))
            equal(got, sorted([b"0", b"1", b"2"] * len(others)), f"{filter} {shards} {durable}")
            with client.one_segment():
                client.send_unsubscribe(filter)
                client.ping()
            until_pingresp(client)
            for other in others:
                for qos in (1, 2):
                    other.published(name, "no", qos=qos)
            client.subscribe("fence")
            client.ping()
            equal(count(until_pingresp(client), PUBLISH), 0, f"after UNSUBSCRIBE {filter}")
        for each in (client, *others):
            each.disconnect()


if __name__ == "__main__":
    main()
