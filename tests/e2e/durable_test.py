#!/usr/bin/env python3
"""What a durable broker keeps over reconnects and over kill -9, one promise at a time.

Where time must pass, it passes while the broker restarts, again and again: nothing here sleeps.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import case, equal, holds, main, scratch  # noqa: E402
from killable_broker import Broker  # noqa: E402
from mqtt_wire import (Client, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, describe,  # noqa: E402
                       dup)

_broker = None


def broker():
    """The one that all cases share; each has client identifiers and topics of its own."""
    global _broker
    if _broker is None:
        _broker = Broker(scratch("shared")).start()
    return _broker


def connect(client_id, **rest):
    return Client(broker().port, client_id, **rest)


def subscriber(client_id, topic_filter, qos=2, **rest):
    """A durable session that is subscribed, and away."""
    client = connect(client_id, **rest)
    equal(client.subscribe(topic_filter, qos), qos, "SUBACK")
    leave(client)


def leave(client):
    """Disconnects when the client's acknowledgements are stored and its subscriptions have had their
    retained messages; nobody answers the one, nobody tells of the end of the other."""
    client.subscribe("fence")
    client.disconnect()


def received(client_id, count, **rest):
    """What a session has in its queue, all of it; then it is empty, also after a restart."""
    client = connect(client_id, **rest)
    holds(client.session_present, f"{client_id} has no session")
    payloads = [client.message().payload.decode() for _ in range(count)]
    client.nothing_comes()
    leave(client)
    return payloads


def restart_until(deadline):
    """Restarts at least once, and until then."""
    while True:
        broker().restart()
        if time.monotonic() > deadline:
            return


# ---- QoS 2 from the publisher --------------------------------------------------------------------

def qos2_repeated(name, version, between):
    """PUBLISH, then `between`, then the same PUBLISH again, then the rest of the handshake."""
    topic = f"{name}/{version}"
    subscriber(f"{topic}/sub", topic)
    client = connect(f"{topic}/pub", version=version)
    client.publish(topic, "once", qos=2, id=7)
    equal(client.receive(PUBREC).id, 7)
    client = between(client, f"{topic}/pub")
    client.publish(topic, "once", qos=2, id=7, dup=True)
    again = client.receive(PUBREC)
    equal((again.id, again.reasons[0] < 0x80), (7, True))
    client.acknowledge(PUBREL, 7)
    equal(client.receive(PUBCOMP).id, 7)
    # The identifier is free again: this is another message.
    client.published(topic, "another", qos=2, id=7)
    client.disconnect()
    equal(received(f"{topic}/sub", 2), ["once", "another"])


def reconnected(client, client_id):
    client.drop()
    client = connect(client_id, version=client.version)
    holds(client.session_present, "the publisher has no session")
    return client


def restarted(client, client_id):
    broker().restart()
    return reconnected(client, client_id)


for v in (4, 5):
    case(f"a QoS 2 PUBLISH repeated in its connection is one message, version {v}")(
        lambda v=v: qos2_repeated("same", v, lambda client, _: client))
    case(f"a QoS 2 PUBLISH repeated after a reconnect is one message, version {v}")(
        lambda v=v: qos2_repeated("reconnect", v, reconnected))
    case(f"a QoS 2 PUBLISH repeated after kill -9 is one message, version {v}")(
        lambda v=v: qos2_repeated("restart", v, restarted))


@case("a PUBREL after kill -9 is answered with success, and repeated once more, that there is none")
def pubrel_after_restart():
    subscriber("rel-sub", "rel/t")
    client = connect("rel-pub")
    client.publish("rel/t", "x", qos=2, id=9)
    client.receive(PUBREC)
    client = restarted(client, "rel-pub")
    client.acknowledge(PUBREL, 9)
    equal(client.receive(PUBCOMP).reasons, [0])
    client = restarted(client, "rel-pub")
    client.acknowledge(PUBREL, 9)
    equal(client.receive(PUBCOMP).reasons, [0x92])
    client.disconnect()
    equal(received("rel-sub", 1), ["x"])


# ---- Deliveries --------------------------------------------------------------------------------

@case("an owed PUBREL comes again with its identifier after a reconnect and after kill -9")
def owed_pubrel():
    for version in (4, 5):
        name = f"owed{version}"
        subscriber(name, f"{name}/t", version=version)
        connect(f"{name}-pub").published(f"{name}/t", "x", qos=2)
        client = connect(name, version=version)
        packet = client.receive(PUBLISH)
        client.acknowledge(PUBREC, packet.id)
        equal(client.receive(PUBREL).id, packet.id)
        for again in (reconnected, restarted, reconnected):
            client = again(client, name)
            equal(client.receive(PUBREL).id, packet.id)  # And no PUBLISH before it.
            client.nothing_comes()
        client.acknowledge(PUBCOMP, packet.id)
        client.subscribe("fence")  # Answered when it is stored, and so is what came before.
        client = restarted(client, name)
        client.nothing_comes()
        client.disconnect()


@case("a PUBREC repeated after kill -9 is answered with PUBREL")
def repeated_pubrec():
    subscriber("rec", "rec/t")
    connect("rec-pub").published("rec/t", "x", qos=2)
    client = connect("rec")
    id = client.receive(PUBLISH).id
    client.acknowledge(PUBREC, id)
    client.receive(PUBREL)
    client = restarted(client, "rec")
    client.receive(PUBREL)
    client.acknowledge(PUBREC, id)
    equal(client.receive(PUBREL).id, id)
    client.acknowledge(PUBCOMP, id)
    client.nothing_comes()
    client.disconnect()


@case("what is in flight at kill -9 comes again: same identifiers, DUP, same order, before the rest")
def in_flight():
    for version in (4, 5):
        name = f"flight{version}"
        subscriber(name, f"{name}/#", version=version)
        publisher = connect(f"{name}-pub")
        for number in range(6):
            publisher.published(f"{name}/{number % 2}", str(number), qos=1 + number % 2)
        client = connect(name, version=version)
        first = [client.receive(PUBLISH) for _ in range(6)]
        equal([packet.payload for packet in first], [b"0", b"1", b"2", b"3", b"4", b"5"])
        holds(not any(dup(packet) for packet in first), "DUP at the first attempt")
        equal(len({packet.id for packet in first}), 6, "identifiers")
        client.acknowledge(PUBACK, first[2].id)
        client.subscribe("fence")
        publisher.published(f"{name}/0", "6", qos=1)
        equal(client.receive(PUBLISH).payload, b"6")
        for again in (restarted, reconnected, restarted):
            client = again(client, name)
            packets = [client.receive(PUBLISH) for _ in range(6)]
            equal([(packet.payload, packet.id) for packet in packets[:5]],
                  [(packet.payload, packet.id) for packet in first if packet is not first[2]])
            equal(packets[5].payload, b"6")
            holds(all(dup(packet) for packet in packets), "a repeat without DUP")
            client.nothing_comes()
        client.drop()
        equal(received(name, 6, version=version), ["0", "1", "3", "4", "5", "6"])
        equal(received(name, 0, version=version), [])


@case("receive maximum holds after kill -9, and the queue comes in order behind it")
def window():
    subscriber("window", "window/t", qos=1)
    publisher = connect("window-pub")
    for number in range(50):
        publisher.published("window/t", str(number), qos=1)
    few = {"receive_maximum": 3}
    client = connect("window", properties=few)
    for number in range(3):
        equal(client.receive(PUBLISH).payload, str(number).encode())
    client.nothing_comes()
    broker().restart()
    client = connect("window", properties=few)
    packets = [client.receive(PUBLISH) for _ in range(3)]
    equal([packet.payload for packet in packets], [b"0", b"1", b"2"])
    client.nothing_comes()
    client.drop()
    equal(received("window", 50, properties=few), [str(number) for number in range(50)])


# ---- What stays --------------------------------------------------------------------------------

@case("retained messages and subscriptions are there after kill -9, with all their properties")
def retained_and_subscriptions():
    subscriber("kept", "kept/#", qos=1)
    publisher = connect("kept-pub")
    publisher.published("kept/a", "first", qos=1, retain=True)
    publisher.published("kept/a", "second", qos=2, retain=True,
                        properties={"message_expiry_interval": 1000})
    publisher.published("kept/b", "gone", qos=1, retain=True)
    publisher.published("kept/b", "", qos=1, retain=True)
    publisher.publish("kept/c", "zero", qos=0, retain=True)
    publisher.published("kept/d", "fence", qos=1)
    broker().restart()
    client = connect("kept-new", clean=True)
    client.subscribe("kept/#", 2)
    found = {packet.topic: packet for packet in (client.message(), client.message())}
    client.nothing_comes()
    equal({topic: packet.payload for topic, packet in found.items()},
          {"kept/a": b"second", "kept/c": b"zero"})
    holds(all(packet.flags & 1 for packet in found.values()), "RETAIN is not set")
    equal(found["kept/a"].flags >> 1 & 3, 2, "QoS")
    holds(found["kept/a"].properties["message_expiry_interval"] <= 1000, "expiry grew")
    connect("kept-pub").published("kept/a", "live", qos=1)
    equal(received("kept", 6), ["first", "second", "gone", "", "fence", "live"])


@case("a client that was connected at kill -9 has its session, and one that ended it has none")
def sessions():
    stays = connect("stays")
    stays.subscribe("stays/t")
    ends = connect("ends", expiry=0)
    ends.subscribe("ends/t")
    left = connect("left")
    left.disconnect()
    connect("left", clean=True, expiry=0).disconnect()
    broker().restart()
    holds(connect("stays").session_present, "the session is gone")
    holds(not connect("ends").session_present, "a transient session outlived the process")
    holds(not connect("left").session_present, "a session that was ended came back")


# ---- Time --------------------------------------------------------------------------------------

@case("a session expires by the clock, whatever restarts in between")
def session_expiry():
    begin = time.monotonic()
    connect("brief", expiry=3).disconnect()
    connect("long", expiry=1000).disconnect()
    broker().restart()
    early = connect("brief-too", expiry=3)
    early.disconnect()
    restart_until(begin + 4)
    holds(not connect("brief").session_present, "it is still there")
    holds(connect("long").session_present, "it is gone")


@case("a queued message expires by the clock, whatever restarts in between")
def message_expiry():
    subscriber("expiry", "expiry/t", qos=1)
    publisher = connect("expiry-pub")
    begin = time.monotonic()
    publisher.published("expiry/t", "brief", qos=1, properties={"message_expiry_interval": 2})
    publisher.published("expiry/t", "long", qos=1, properties={"message_expiry_interval": 1000})
    publisher.published("expiry/r", "brief", retain=True, properties={"message_expiry_interval": 2})
    publisher.disconnect()
    restart_until(begin + 3)
    client = connect("expiry")
    packet = client.message()
    equal(packet.payload, b"long", describe(packet))
    left = packet.properties["message_expiry_interval"]
    holds(990 < left <= 998, f"the interval is {left}")
    client.subscribe("expiry/r")
    client.nothing_comes()
    client.disconnect()


# ---- Wills -------------------------------------------------------------------------------------

def will_of(topic, payload, delay=0):
    return {"topic": topic, "payload": payload, "qos": 1,
            "properties": {"will_delay_interval": delay}}


@case("wills of clients connected at kill -9 are published once after the restart")
def wills():
    subscriber("wills", "wills/#", qos=1)
    durable = connect("will-durable", will=will_of("wills/a", "durable"))
    transient = connect("will-transient", expiry=0, clean=True, will=will_of("wills/b", "transient"))
    old = connect("will-old", version=4, clean=True, will={"topic": "wills/c", "payload": "old", "qos": 1})
    polite = connect("will-polite", will=will_of("wills/d", "polite"))
    polite.disconnect()
    connect("will-polite").disconnect()  # Answered after the end of the connection before is stored.
    broker().restart()
    for client in (durable, transient, old):
        client.drop()
    client = connect("wills")
    equal(sorted(client.message().payload for _ in range(3)), [b"durable", b"old", b"transient"])
    leave(client)
    broker().restart()
    equal(received("wills", 0), [])


@case("a will's delay is kept across kill -9, and a client that comes back within it takes it away")
def will_delay():
    subscriber("delays", "delays/#", qos=1)
    back = connect("delay-back", will=will_of("delays/a", "back", 3))
    away = connect("delay-away", will=will_of("delays/b", "away", 3))
    ended = connect("delay-ended", expiry=1, will=will_of("delays/c", "ended", 1000))
    killed = time.monotonic()
    broker().restart()
    for client in (back, away, ended):
        client.drop()
    connect("delay-back")
    client = connect("delays")
    # The session's end comes before its will's delay is over.
    equal(client.message().payload, b"ended")
    holds(time.monotonic() - killed >= 1, "before the session ended")
    equal(client.message().payload, b"away")
    holds(time.monotonic() - killed >= 3, "before its delay was over")
    client.nothing_comes()
    leave(client)
    broker().restart()
    equal(received("delays", 0), [])


@case("a will for a $share group comes once, whenever after its connection's end kill -9 comes")
def shared_will():
    subscriber("group-member", "$share/g/group/t", qos=2)
    for step in range(12):
        fence = connect("group-fence")
        client = connect(f"group-{step}", expiry=0, clean=True,
                         will=dict(will_of("group/t", str(step)), qos=2))
        client.drop()
        for _ in range(step % 4):  # Each is a commit: what follows the end of a connection goes on.
            fence.subscribe("fence")
        broker().restart()
        fence.drop()
        member = connect("group-member")
        equal(member.message().payload, str(step).encode())
        member.nothing_comes()
        leave(member)


@case("SIGTERM keeps what kill -9 keeps")
def clean_stop():
    subscriber("stop", "stop/t", qos=1)
    publisher = connect("stop-pub")
    publisher.published("stop/t", "x", qos=1)
    publisher.publish("stop/t", "y", qos=2, id=77)
    publisher.receive(PUBREC)
    equal(broker().stop(), 0, "exit status")
    equal(publisher.closed().reasons, [0x8B], "DISCONNECT")
    broker().start()
    publisher = connect("stop-pub")
    publisher.publish("stop/t", "y", qos=2, id=77, dup=True)
    publisher.receive(PUBREC)
    publisher.acknowledge(PUBREL, 77)
    equal(publisher.receive(PUBCOMP).reasons, [0])
    equal(received("stop", 2), ["x", "y"])


if __name__ == "__main__":
    main()
