#!/usr/bin/env python3
"""The Paho client for Python against the broker: what the protocol promises, seen from an application."""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from paho.mqtt.client import SubscribeOptions  # noqa: E402
from paho.mqtt.packettypes import PacketTypes  # noqa: E402

from e2e import (Broker, PATIENCE_S, Wire, case, connect_packet, equal, frame, holds, main, publish_packet,  # noqa: E402
                 subscribe_packet, write)
from paho_client import Client, V311, V5, properties  # noqa: E402
from relay import Relay  # noqa: E402

acl = write("acl", "topic readwrite open/#\ntopic read closed/#\n")
broker = Broker(config=f"""\
data_dir: {{data}}
mqtt:
  receive_maximum: 5
  maximum_packet_size: 64KiB
  topic_alias_maximum: 3
listeners:
  - mqtt://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    mqtt:
      server_keep_alive: 1s
  - url: mqtt://127.0.0.1:0
    acl_file: {acl}
    allow_anonymous: true
    mqtt:
      maximum_qos: 1
      retain_available: false
      wildcard_subscription_available: false
      subscription_identifier_available: false
      shared_subscription_available: false
""")

DISCONNECT, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, CONNACK, PINGRESP = (
    0xE0, 0x40, 0x50, 0x62, 0x70, 0x90, 0x20, 0xD0)


def client(client_id="", **arguments):
    return Client(broker.ports[0], client_id, **arguments)


def wire(client_id, listener=0, clean=False, props=b"\x11\xff\xff\xff\xff", version=5):
    """A connected socket; durable unless told otherwise. Returns it with `session present`."""
    made = Wire(broker.ports[listener])
    made.send(connect_packet(client_id, version=version, clean=clean, properties=props))
    first, body = made.packet()
    equal((first, body[1]), (CONNACK, 0), "CONNACK")
    made.session_present = body[0] == 1
    return made


def ping(made):
    """Everything that comes before the answer to a PINGREQ sent now."""
    made.send(b"\xc0\0")
    packets = []
    while (packet := made.packet()) is not None and packet[0] != PINGRESP:
        packets.append(packet)
    holds(packet is not None, f"closed after {packets}")
    return packets


def packet_id_of(publish):
    first, body = publish
    equal(first & 0xF0, 0x30, "packet type")
    topic_bytes = struct.unpack_from(">H", body)[0]
    return struct.unpack_from(">H", body, 2 + topic_bytes)[0]


def told_to_leave(made, reason):
    """The broker's DISCONNECT with that reason, and the end."""
    packet = made.packet()
    equal(packet, (DISCONNECT, bytes([reason])), "DISCONNECT")
    equal(made.packet(), None, "anything after DISCONNECT")


def acknowledge(made, first_byte, packet_id):
    made.send(frame(first_byte, packet_id.to_bytes(2, "big")))


for v, label in ((V311, "3.1.1"), (V5, "5.0")):
    @case(f"{label}: each QoS arrives with the lower of publisher's and subscriber's")
    def _(version=v, name=label):
        publisher = client(version=version)
        for granted in range(3):
            subscriber = client(version=version)
            equal(subscriber.subscribe(f"{name}/{granted}/#", granted), [granted], "SUBACK")
            for qos in range(3):
                publisher.publish(f"{name}/{granted}/{qos}", "x", qos)
            # Different QoS may overtake each other in a client: QoS 2 is shown at its release.
            got = sorted((message.topic, message.qos) for message in subscriber.take(3))
            equal(got, [(f"{name}/{granted}/{qos}", min(granted, qos)) for qos in range(3)], "messages")
            subscriber.leave()
        publisher.leave()

    @case(f"{label}: order holds for each QoS in a burst of 1000 messages")
    def _(version=v, name=label):
        subscriber, publisher = client(version=version), client(version=version)
        subscriber.subscribe(f"burst/{name}", 2)
        for qos in (1, 2):
            for number in range(1000):
                last = publisher.publish(f"burst/{name}", str(number), qos, wait=False)
            publisher.published(last)
            equal([int(message.payload) for message in subscriber.take(1000)], list(range(1000)), f"QoS {qos}")
        publisher.leave()
        subscriber.leave()

    @case(f"{label}: a publisher whose acknowledgements are lost sends again; QoS 1 arrives, QoS 2 arrives once")
    def _(version=v, name=label):
        relay = Relay(broker.ports[0])
        watcher = client(version=version)
        watcher.subscribe(f"lost-acks/{name}/#", 2)
        durable = {"SessionExpiryInterval": 1000} if version == V5 else {}
        publisher = Client(relay.port, f"lost-acks-{name}", version=version, clean=False, reconnect=True, **durable)
        relay.lose_answers = True
        mids = [publisher.publish(f"lost-acks/{name}/{qos}", "x", qos, wait=False) for qos in (1, 2)]
        # Both acknowledgements (PUBACK and PUBREC) are on their way, and will not arrive.
        relay.lost(lambda data: len(data) >= 8, PATIENCE_S)
        relay.cut()
        equal(bool(publisher.connected()[0]["session present"]), True, "session present")
        for mid in mids:
            publisher.published(mid)
        publisher.publish(f"lost-acks/{name}/end", "x", 2)
        got = []
        while not got or got[-1] != f"lost-acks/{name}/end":
            got.append(watcher.take_one().topic)
        holds(got.count(f"lost-acks/{name}/1") >= 1, f"QoS 1 was lost: {got}")
        equal(got.count(f"lost-acks/{name}/2"), 1, f"copies of QoS 2 in {got}")
        publisher.leave()
        watcher.leave()
        relay.close()

    @case(f"{label}: a subscriber whose acknowledgements are lost gets QoS 1 again, QoS 2 once")
    def _(version=v, name=label):
        relay = Relay(broker.ports[0])
        durable = {"SessionExpiryInterval": 1000} if version == V5 else {}
        subscriber = Client(relay.port, f"lost-sub-{name}", version=version, clean=False, reconnect=True, **durable)
        subscriber.subscribe(f"lost-sub/{name}/#", 2)
        relay.lose_requests = True
        publisher = client(version=version)
        for qos in (1, 2):
            publisher.publish(f"lost-sub/{name}/{qos}", "x", qos)
        first = subscriber.take_one()
        equal((first.topic, first.dup), (f"lost-sub/{name}/1", False), "first delivery")
        relay.lost(lambda data: len(data) >= 8, PATIENCE_S)  # Its PUBACK and PUBREC.
        relay.cut()
        subscriber.connected()
        publisher.publish(f"lost-sub/{name}/end", "x", 2)
        got = []
        while not got or got[-1].topic != f"lost-sub/{name}/end":
            got.append(subscriber.take_one())
        again = got[0]
        equal((again.topic, again.dup, again.mid), (first.topic, True, first.mid), "second delivery of QoS 1")
        equal([message.topic for message in got], [f"lost-sub/{name}/{end}" for end in ("1", "2", "end")], "all")
        subscriber.leave()
        publisher.leave()
        relay.close()

    @case(f"{label}: what was not acknowledged is sent again in order, with DUP and the same Packet Identifiers")
    def _(version=v, name=label):
        number, props = (5, b"\x11\xff\xff\xff\xff") if version == V5 else (4, b"")
        publisher = client(version=version)
        silent = wire(f"silent-{name}", version=number, props=props)
        silent.send(subscribe_packet(1, f"silent/{name}/#", 2, version=number))
        equal(silent.packet()[0], SUBACK, "packet type")
        for index, qos in enumerate((1, 2, 1, 2)):
            publisher.publish(f"silent/{name}/{index}", "x", qos)
        sent = [silent.packet() for _ in range(4)]
        identifiers = [packet_id_of(packet) for packet in sent]
        equal([first & 0x0F for first, _ in sent], [2, 4, 2, 4], "flags at first")
        acknowledge(silent, PUBACK, identifiers[0])
        acknowledge(silent, PUBREC, identifiers[1])
        first, body = silent.packet()
        equal((first, struct.unpack(">H", body[:2])[0]), (PUBREL, identifiers[1]), "PUBREL")
        silent.close()
        back = wire(f"silent-{name}", version=number, props=props)
        equal(back.session_present, True, "session present")
        again = [back.packet() for _ in range(3)]
        equal(sorted(first for first, _ in again), [0x3A, 0x3C, PUBREL], "what is owed")
        equal([packet_id_of(packet) for packet in again if packet[0] != PUBREL], identifiers[2:], "identifiers")
        equal([body[:2] for first, body in again if first == PUBREL], [identifiers[1].to_bytes(2, "big")], "PUBREL")
        for packet_type, identifier in ((PUBCOMP, identifiers[1]), (PUBACK, identifiers[2]), (PUBREC, identifiers[3])):
            acknowledge(back, packet_type, identifier)
        equal(back.packet()[0], PUBREL, "packet type")
        acknowledge(back, PUBCOMP, identifiers[3])
        equal(ping(back), [], "anything more")
        back.close()
        third = wire(f"silent-{name}", version=number, props=props)
        equal(ping(third), [], "anything owed after all was acknowledged")
        third.close()
        publisher.leave()

    @case(f"{label}: a QoS 2 PUBLISH repeated across a reconnect is delivered once")
    def _(version=v, name=label):
        number, props = (5, b"\x11\xff\xff\xff\xff") if version == V5 else (4, b"")
        watcher = client(version=version)
        watcher.subscribe(f"once/{name}", 2)
        for attempt in range(3):
            sender = wire(f"once-{name}", version=number, props=props)
            sender.send(publish_packet(f"once/{name}", b"x", 2, 7, version=number, dup=attempt > 0))
            equal(sender.packet()[0], PUBREC, "packet type")
            if attempt < 2:
                sender.close()
        acknowledge(sender, PUBREL, 7)
        equal(sender.packet()[0], PUBCOMP, "packet type")
        sender.send(publish_packet(f"once/{name}", b"y", 2, 7, version=number))  # A new message with the old number.
        equal(sender.packet()[0], PUBREC, "packet type")
        watcher.expect((f"once/{name}", "x", 2, False), (f"once/{name}", "y", 2, False))
        sender.close()
        watcher.leave()

    @case(f"{label}: a second connection with the same identifier ends the first and has its session")
    def _(version=v, name=label):
        durable = {"SessionExpiryInterval": 1000} if version == V5 else {}
        first = client(f"twin-{name}", version=version, clean=False, **durable)
        first.subscribe(f"twin/{name}", 1)
        second = client(f"twin-{name}", version=version, clean=False, **durable)
        first.disconnected()
        equal(second.session_present, True, "session present")
        second.publish(f"twin/{name}", "to myself", 0)  # Of QoS 1 the third could get a copy, if PUBACK is late.
        second.expect((f"twin/{name}", "to myself", 0, False))
        number, props = (5, b"\x11\xff\xff\xff\xff") if version == V5 else (4, b"")
        third = wire(f"twin-{name}", version=number, props=props)
        equal(third.session_present, True, "session present")
        second.disconnected()
        client(f"twin-{name}", version=version).leave()
        if version == V5:
            told_to_leave(third, 0x8E)
        else:
            equal(third.packet(), None, "a word of farewell that 3.1.1 does not have")
        third.close()


@case("3.1.1: a subscription that is not allowed gets 0x80, a publication to it is acknowledged and dropped")
def _():
    subject = Client(broker.ports[2], version=V311)
    equal(subject.subscribe("elsewhere", 1), [0x80], "SUBACK")
    equal(subject.subscribe("closed/x", 1), [1], "SUBACK")
    subject.publish("closed/x", "forbidden", 1)
    client().publish("closed/x", "allowed", 1)
    subject.expect(("closed/x", "allowed", 1, False))
    subject.leave()


@case("all properties of a PUBLISH arrive unchanged, user properties in order and with repetitions")
def _():
    subscriber, publisher = client(), client()
    pairs = [("b", "2"), ("a", "1"), ("b", "2"), ("ü", "°"), ("", "empty name")]
    for qos in range(3):
        subscriber.subscribe("props/#", qos)
        publisher.publish("props/x", "payload", qos, UserProperty=pairs, ResponseTopic="answers/here",
                          CorrelationData=b"\0\1\xff", ContentType="text/plain", PayloadFormatIndicator=1,
                          MessageExpiryInterval=1000)
        got = subscriber.take_one().properties
        equal(got.UserProperty, pairs, "user properties")
        equal((got.ResponseTopic, got.CorrelationData, got.ContentType, got.PayloadFormatIndicator),
              ("answers/here", b"\0\1\xff", "text/plain", 1), "properties")
        holds(900 <= got.MessageExpiryInterval <= 1000, f"expiry {got.MessageExpiryInterval}")
    subscriber.leave()
    publisher.leave()


@case("properties of a will arrive with it, and retained and queued messages keep theirs")
def _():
    watcher = client("watcher-of-wills", clean=False, SessionExpiryInterval=1000)
    watcher.subscribe("props-will", 1)
    watcher.leave()
    will = {"topic": "props-will", "payload": b"\xe2\x9c\x93", "qos": 1, "retain": True,
            "properties": properties(PacketTypes.WILLMESSAGE, UserProperty=[("k", "1"), ("k", "2")], ContentType="c",
                                     ResponseTopic="r", CorrelationData=b"d", PayloadFormatIndicator=1)}
    published = broker.metric("mqttd_wills_published_total")
    client(will=will).vanish()
    late = client()
    while broker.metric("mqttd_wills_published_total") == published:  # Queued, retained and sent.
        pass
    back = client("watcher-of-wills", clean=False, SessionExpiryInterval=1000)
    queued = back.take_one()
    late.subscribe("props-will", 1)
    retained = late.take_one()
    for message in (queued, retained):
        got = message.properties
        equal((message.payload, got.UserProperty, got.ContentType, got.ResponseTopic, got.CorrelationData,
               got.PayloadFormatIndicator), (b"\xe2\x9c\x93", [("k", "1"), ("k", "2")], "c", "r", b"d", 1), "will")
    equal((bool(queued.retain), bool(retained.retain)), (False, True), "retain flags")
    back.leave(SessionExpiryInterval=0)
    late.leave()


@case("a message whose time is over is not delivered; another says how much is left")
def _():
    sleeper = client("sleeper", clean=False, SessionExpiryInterval=1000)
    sleeper.subscribe("expiry/#", 1)
    sleeper.leave()
    # A will with a delay is the timer: when it comes, two seconds are over.
    timer = client(will={"topic": "timer", "payload": "now",
                         "properties": properties(PacketTypes.WILLMESSAGE, WillDelayInterval=2)},
                   SessionExpiryInterval=1000)
    watcher = client()
    watcher.subscribe("timer", 1)
    watcher.publish("expiry/short", "x", 1, MessageExpiryInterval=1)
    watcher.publish("expiry/long", "x", 1, MessageExpiryInterval=1000)
    watcher.publish("expiry-retained/short", "x", 1, True, MessageExpiryInterval=1)
    watcher.publish("expiry-retained/long", "x", 1, True, MessageExpiryInterval=1000)
    timer.vanish()
    watcher.expect(("timer", "now", 0, False))
    back = client("sleeper", clean=False, SessionExpiryInterval=1000)
    message = back.take_one()
    equal(message.topic, "expiry/long", "topic")
    holds(900 <= message.properties.MessageExpiryInterval <= 998, f"left: {message.properties.MessageExpiryInterval}")
    watcher.subscribe("expiry-retained/#", 1)
    message = watcher.take_one()
    equal(message.topic, "expiry-retained/long", "topic")
    holds(900 <= message.properties.MessageExpiryInterval <= 998, f"left: {message.properties.MessageExpiryInterval}")
    back.leave(SessionExpiryInterval=0)
    watcher.leave()


@case("overlapping subscriptions: all identifiers arrive, never above the QoS of a subscription")
def _():
    for kind, arguments in (("transient", {}), ("durable", {"SessionExpiryInterval": 1000, "clean": False})):
        subscriber = client(f"overlap-{kind}", **arguments)
        subscriber.subscribe(f"overlap/{kind}/#", 1, identifier=7)
        subscriber.subscribe(f"overlap/{kind}/+", 2, identifier=268435455)
        subscriber.subscribe(f"overlap/{kind}/x", 0)
        subscriber.publish(f"overlap/{kind}/x", "m", 2)
        subscriber.publish(f"overlap/{kind}/end/", "m", 1)
        got = []
        while not got or got[-1].topic != f"overlap/{kind}/end/":
            got.append(subscriber.take_one())
        identifiers = sorted(number for message in got[:-1]
                             for number in getattr(message.properties, "SubscriptionIdentifier", []))
        equal(identifiers, [7, 268435455], f"{kind}: identifiers of all copies")
        equal(max(message.qos for message in got[:-1]), 2, f"{kind}: highest QoS")
        equal(got[-1].properties.SubscriptionIdentifier, [7], f"{kind}: identifiers")
        # A subscription made again with another identifier replaces the first.
        subscriber.subscribe(f"overlap/{kind}/#", 1, identifier=8)
        subscriber.publish(f"overlap/{kind}/end/", "m", 1)
        equal(subscriber.take_one().properties.SubscriptionIdentifier, [8], f"{kind}: identifiers")
        subscriber.leave(SessionExpiryInterval=0)


@case("no local: a client does not get its own messages, others do")
def _():
    own, other = client(), client()
    own.subscribe("local/#", options=SubscribeOptions(1, noLocal=True))
    other.subscribe("local/#", 1)
    own.publish("local/own", "x", 1)
    other.expect(("local/own", "x", 1, False))  # First this: two publishers' messages have no order.
    other.publish("local/other", "x", 1)
    other.expect(("local/other", "x", 1, False))
    own.expect(("local/other", "x", 1, False))
    own.leave()
    other.leave()


@case("retain as published keeps the flag, without it a forwarded message has none")
def _():
    plain, keeping, publisher = client(), client(), client()
    plain.subscribe("rap/#", 1)
    keeping.subscribe("rap/#", options=SubscribeOptions(1, retainAsPublished=True))
    publisher.publish("rap/x", "r", 1, True)
    publisher.publish("rap/x", "n", 1, False)
    plain.expect(("rap/x", "r", 1, False), ("rap/x", "n", 1, False))
    keeping.expect(("rap/x", "r", 1, True), ("rap/x", "n", 1, False))
    for each in (plain, keeping, publisher):
        each.leave()


@case("retain handling: 0 sends at each subscription, 1 at a new one, 2 never")
def _():
    publisher = client()
    publisher.publish("handling", "kept", 1, True)
    for handling, first, second in ((0, 1, 1), (1, 1, 0), (2, 0, 0)):
        subscriber = client()
        for copies in (first, second):
            subscriber.subscribe("handling", options=SubscribeOptions(1, retainHandling=handling))
            if copies:
                subscriber.expect(("handling", "kept", 1, True))
            publisher.publish("handling", "kept", 1, True)
            subscriber.expect(("handling", "kept", 1, False))
        subscriber.leave()
    publisher.publish("handling", "", 1, True)
    publisher.leave()


@case("topic aliases work in both directions and may be given another topic")
def _():
    subscriber = client(TopicAliasMaximum=2)
    subscriber.subscribe("alias/#", 1)
    publisher = client()
    equal(publisher.properties.TopicAliasMaximum, 3, "maximum of the broker")
    publisher.publish("alias/one", "1", 1, TopicAlias=3)
    publisher.publish("", "2", 1, TopicAlias=3)
    publisher.publish("alias/two", "3", 0, TopicAlias=3)
    publisher.publish("", "4", 1, TopicAlias=3)
    aliases, topics = {}, []
    for message in subscriber.take(4):
        alias = getattr(message.properties, "TopicAlias", None)
        if message.topic:
            aliases[alias] = message.topic
        topics.append(message.topic or aliases[alias])
        holds(alias is None or 1 <= alias <= 2, f"alias {alias}")
    equal(topics, ["alias/one", "alias/one", "alias/two", "alias/two"], "topics")
    holds(any(alias for alias in aliases), "the broker used no alias")
    for topic, alias, reason in (("alias/one", 4, 0x94), ("alias/one", 0, 0x94), ("", 1, 0x82)):
        offender = wire("alias-offender", clean=True, props=b"")
        offender.send(publish_packet(topic, b"x", properties=b"\x23\0" + bytes([alias])))
        told_to_leave(offender, reason)
        offender.close()
    publisher.leave()
    subscriber.leave()


@case("the broker keeps to a client's Receive Maximum, for retained messages and queued ones too")
def _():
    publisher = client()
    for number in range(4):
        publisher.publish(f"window/{number}", "x", 1, True)
    for qos in (1, 2):
        subject = wire(f"window-{qos}", props=b"\x21\0\2\x11\0\0\x03\xe8")
        subject.send(subscribe_packet(1, "window/#", qos))
        seen, unacknowledged, arrived = 0, [], []
        while (packet := subject.packet())[0] != SUBACK:  # Messages may come before it.
            arrived.append(packet)
        publisher.publish("window/live", "x", qos)
        while seen < 5 or unacknowledged:
            if not arrived and (len(unacknowledged) == 2 or seen == 5):
                arrived += ping(subject)  # Time enough to send more, if the broker were to.
                if not arrived:
                    first, packet_id = unacknowledged[0]
                    acknowledge(subject, PUBACK if first & 6 == 2 else PUBREC, packet_id)
                    if first & 6 == 2:
                        unacknowledged.pop(0)
                        continue
            packet = arrived.pop(0) if arrived else subject.packet()
            if packet[0] == PUBREL:  # PUBREC frees no place, PUBCOMP does.
                packet_id = int.from_bytes(packet[1][:2], "big")
                unacknowledged = [entry for entry in unacknowledged if entry[1] != packet_id]
                acknowledge(subject, PUBCOMP, packet_id)
                continue
            seen += 1
            unacknowledged.append((packet[0], packet_id_of(packet)))
            holds(len(unacknowledged) <= 2, f"more than two are unacknowledged: {unacknowledged}")
        equal(ping(subject), [], "anything more")
        subject.close()
    for number in range(4):
        publisher.publish(f"window/{number}", "", 1, True)
    publisher.leave()


@case("a client that goes beyond the broker's Receive Maximum gets 0x93")
def _():
    subject = wire("eager")
    for packet_id in range(1, 6):
        subject.send(publish_packet("eager", b"x", 2, packet_id))
        equal(subject.packet()[0], PUBREC, "packet type")
    subject.send(publish_packet("eager", b"x", 2, 6))
    told_to_leave(subject, 0x93)
    subject.close()


@case("maximum packet size: the broker sends nothing above the client's, and takes nothing above its own")
def _():
    small = client(MaximumPacketSize=200)
    small.subscribe("size/#", 1)
    publisher = client()
    equal(publisher.properties.MaximumPacketSize, 65536, "maximum of the broker")
    publisher.publish("size/large", "x" * 300, 1)
    publisher.publish("size/small", "x", 1)
    small.expect(("size/small", "x", 1, False))
    publisher.publish("size/large", "x" * 66000, 1, wait=False)
    publisher.disconnected()
    offender = wire("size-offender", clean=True, props=b"")
    offender.send(publish_packet("size/large", b"x" * 66000, 1, 1))
    told_to_leave(offender, 0x95)
    offender.close()
    small.leave()


@case("session expiry: kept as long as asked, 0 at DISCONNECT ends it, a clean start too")
def _():
    first = client("expiring", clean=False, SessionExpiryInterval=1000)
    equal(first.session_present, False, "session present at first")
    first.subscribe("expiring/x", 1)
    first.leave()
    second = client("expiring", clean=False, SessionExpiryInterval=1000)
    equal(second.session_present, True, "session present")
    second.leave(SessionExpiryInterval=0)
    third = client("expiring", clean=False, SessionExpiryInterval=1000)
    equal(third.session_present, False, "session present after expiry 0")
    third.leave()
    equal(client("expiring", clean=True, SessionExpiryInterval=1000).session_present, False, "after clean start")
    client("expiring", clean=True).leave()


@case("a will waits for its delay, or for the end of the session; a client that comes back has none")
def _():
    watcher = client()
    watcher.subscribe("delay/#", 1)

    def dying(name, delay, expiry):
        will = {"topic": f"delay/{name}", "payload": "gone", "qos": 1,
                "properties": properties(PacketTypes.WILLMESSAGE, WillDelayInterval=delay)}
        return client(f"delay-{name}", clean=False, will=will, SessionExpiryInterval=expiry)

    dying("returns", 1, 1000).vanish()
    back = client("delay-returns", clean=False, SessionExpiryInterval=1000)
    dying("session", 1000, 1).vanish()
    dying("delay", 1, 1000).vanish()
    got = sorted(message.topic for message in watcher.take(2))
    equal(got, ["delay/delay", "delay/session"], "wills")
    back.publish("delay/end", "x", 1)
    watcher.expect(("delay/end", "x", 1, False))
    back.leave(SessionExpiryInterval=0)
    leaver = dying("leaver", 0, 0)
    leaver.leave()
    watcher.publish("delay/end", "x", 1)
    watcher.expect(("delay/end", "x", 1, False))
    watcher.leave()


@case("server keep alive is told, and who says nothing for one and a half of it gets 0x8D")
def _():
    subject = Client(broker.ports[1], keep_alive=600)
    equal(subject.properties.ServerKeepAlive, 1, "keep alive")
    subject.leave()
    mute = Wire(broker.ports[1])
    mute.send(connect_packet("mute", keep_alive=600))
    equal(mute.packet()[0], CONNACK, "packet type")
    told_to_leave(mute, 0x8D)
    mute.close()


@case("an empty Client Identifier is replaced by one that is told and unique")
def _():
    one, two = client(), client()
    names = {each.properties.AssignedClientIdentifier for each in (one, two)}
    equal(len(names), 2, "different identifiers")
    holds(all(names), f"identifiers: {names}")
    one.leave()
    two.leave()


@case("what a listener does not offer is told in CONNACK and refused with its Reason Code")
def _():
    subject = Client(broker.ports[2])
    told = subject.properties
    equal((told.MaximumQoS, told.RetainAvailable, told.WildcardSubscriptionAvailable,
           told.SubscriptionIdentifierAvailable, told.SharedSubscriptionAvailable), (1, 0, 0, 0, 0), "CONNACK")
    equal(subject.subscribe("open/x", 2), [1], "a subscription above the maximum QoS is granted less")
    equal(subject.subscribe("elsewhere", 1), [0x87], "not authorized")
    equal(subject.unsubscribe("open/never"), [0x11], "no such subscription")
    subject.leave()
    for packet, reason in (
            (publish_packet("open/x", b"x", 2, 1), 0x9B),
            (publish_packet("open/x", b"x", 1, 1, retain=True), 0x9A),
            (subscribe_packet(1, "open/+", 1), 0xA2),
            (subscribe_packet(1, "$share/g/open/x", 1), 0x9E),
            (subscribe_packet(1, "open/x", 1, identifier=5), 0xA1)):
        offender = wire("offender", listener=2, clean=True, props=b"")
        offender.send(packet)
        told_to_leave(offender, reason)
        offender.close()
    old = Client(broker.ports[2], version=V311)
    equal(old.subscribe("open/+", 1) + old.subscribe("$share/g/open/x", 1), [0x80, 0x80], "SUBACK of 3.1.1")
    old.leave()


@case("acknowledgements say why: nobody subscribes (0x10), not authorized (0x87)")
def _():
    subject = wire("why", listener=2, clean=True, props=b"")
    for topic, wanted in (("open/nobody", 0x10), ("closed/x", 0x87)):
        subject.send(publish_packet(topic, b"x", 1, 9))
        first, body = subject.packet()
        equal((first, body[:2], body[2] if len(body) > 2 else 0), (PUBACK, b"\0\x09", wanted), topic)
    subject.close()


main()
