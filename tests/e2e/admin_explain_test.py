#!/usr/bin/env python3
"""Why: each reason for which a message does not come is given where it is the true one; and who owns a session."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, durable, golden, mqtt_client
from e2e import Broker, case, equal, holds, main, publish_packet, subscribe_packet, write

rules = write("rules", "topic readwrite house/#\ntopic readwrite tiny/#\ntopic write secret/#\n")
broker = Broker("--set", "auth.allow_anonymous=true", "--set", f"auth.acl_file={rules}", "--set", "storage.queue_messages_max=3")
admin = Admin(broker)
NO_LOCAL = 4


def subscribed(client, filter_, options=1):
    client.send(subscribe_packet(1, filter_, options))
    first, body = client.packet()
    equal((first, body[-1] < 3), (0x90, True), "SUBACK")
    return client


def why(topic, to, *more):
    """The verdict about one client, and it is the only one."""
    verdicts = admin.json("explain", "delivery", topic, "--to", to, *more)["verdicts"]
    equal([each["client_id"] for each in verdicts], [to], "of whom")
    return verdicts[0]


def publish(topic, qos=1, payload=b"x"):
    client = mqtt_client(broker, "publisher")
    client.send(publish_packet(topic, payload, qos=qos, packet_id=1))
    if qos:
        equal(client.packet()[0], 0x40, "PUBACK")
    client.send(b"\xe0\x00")
    client.closed()


def comes(client):
    """The topic of the next PUBLISH."""
    first, body = client.packet()
    equal(first & 0xF0, 0x30, "PUBLISH")
    return body[2:2 + int.from_bytes(body[:2], "big")].decode()


def away(name, filter_, options=1):
    client = subscribed(durable(broker, name), filter_, options)
    client.send(b"\xe0\x00")
    client.closed()


@case("it is delivered: what is said is what happens")
def _():
    there = subscribed(mqtt_client(broker, "there"), "house/#")
    said = why("house/door", "there", "-q", "1")
    equal((said["outcome"], said["filters"], said["qos"], said["connected"]), ("delivered", ["house/#"], 1, True), "verdict")
    publish("house/door")
    equal(comes(there), "house/door", "and so it is")
    golden("explain_delivery", admin.json("explain", "delivery", "house/door", "--to", "there", "-q", "1"))
    there.close()


@case("no session, and not subscribed")
def _():
    equal(why("house/door", "nobody")["outcome"], "no_session", "verdict")
    other = subscribed(mqtt_client(broker, "other"), "house/+/x")
    equal(why("house/door", "other")["outcome"], "not_subscribed", "verdict")
    away("away-other", "house/+/x")
    equal(why("house/door", "away-other", "-q", "1")["outcome"], "not_subscribed", "verdict")
    other.close()


@case("the access rules: of the reader, connected or away, and of the publisher")
def _():
    reader = subscribed(mqtt_client(broker, "reader"), "+/plans")
    equal(why("secret/plans", "reader")["outcome"], "not_authorized", "verdict")
    publish("secret/plans")
    publish("house/plans")
    equal(comes(reader), "house/plans", "that one did not come")
    away("away-reader", "+/plans")
    equal(why("secret/plans", "away-reader", "-q", "1")["outcome"], "not_authorized", "verdict")
    writer = mqtt_client(broker, "writer")
    refused = admin.json("explain", "delivery", "garden/x", "--from", "writer")
    holds("do not let it publish" in refused["publisher_refused"] and refused["verdicts"] == [], refused)
    equal(admin.json("explain", "delivery", "house/x", "--from", "writer")["publisher_refused"], "", "that it may")
    reader.close()
    writer.close()


@case("No Local: to its publisher, and to nobody else")
def _():
    own = subscribed(mqtt_client(broker, "own"), "house/own", 1 | NO_LOCAL)
    equal(why("house/own", "own", "--from", "own", "-q", "1")["outcome"], "no_local", "verdict")
    equal(why("house/own", "own", "--from", "somebody", "-q", "1")["outcome"], "delivered", "of another")
    own.send(publish_packet("house/own", b"", qos=1, packet_id=3))
    equal(own.packet()[0], 0x40, "PUBACK, and nothing before it")
    away("away-own", "house/own", 1 | NO_LOCAL)
    equal(why("house/own", "away-own", "--from", "away-own", "-q", "1")["outcome"], "no_local", "verdict")
    own.close()


@case("expired")
def _():
    there = subscribed(mqtt_client(broker, "there"), "house/#")
    status, answer = admin.post("Explain/Delivery", {"clientId": "there", "message": {
        "topic": "house/door", "qos": 1, "expiry": "5s", "published": "2020-01-01T00:00:00Z"}})
    equal((status, answer["verdicts"][0]["outcome"]), (200, "OUTCOME_EXPIRED"), "verdict")
    equal(why("house/door", "there", "-q", "1", "--expiry", "3600")["outcome"], "delivered", "not yet")
    equal(why("house/door", "there", "-q", "1", "--expiry", "0")["outcome"], "expired", "at once")
    there.close()


@case("QoS 0 while its client is away; at QoS 1 it is queued; then the queue is full")
def _():
    away("sleeper", "house/#")
    equal(why("house/door", "sleeper")["outcome"], "offline_qos0", "a message of QoS 0")
    away("modest", "house/#", 0)
    equal(why("house/door", "modest", "-q", "1")["outcome"], "offline_qos0", "a subscription of QoS 0")
    for _ in range(3):
        equal(why("house/door", "sleeper", "-q", "1")["outcome"], "queued", "there is room")
        publish("house/door")
    said = why("house/door", "sleeper", "-q", "1")
    equal(said["outcome"], "queue_full", "verdict")
    holds("3 messages" in said["words"], said["words"])
    publish("house/last")
    topics = [each["message"]["topic"] for each in admin.json("session", "queue", "sleeper")]
    equal(topics, ["house/door"] * 3, "and so it is")


@case("larger than the client takes")
def _():
    small = mqtt_client(broker, "small", properties=b"\x27\x00\x00\x00\x40")  # Maximum Packet Size 64.
    subscribed(small, "tiny/#")
    said = why("tiny/x", "small", "--payload-bytes", "100")
    equal(said["outcome"], "packet_too_large", "verdict")
    holds("takes 64" in said["words"], said["words"])
    fits = next(size for size in range(64, 0, -1) if why("tiny/x", "small", "--payload-bytes", str(size))["outcome"] == "delivered")
    publish("tiny/x", qos=0, payload=b"a" * (fits + 1))
    publish("tiny/x", qos=0, payload=b"b" * fits)
    first, body = small.packet()
    equal((first, body[-1:]), (0x30, b"b"), "and so it is: the larger one did not come")
    small.close()


@case("a shared subscription, and to whom of all")
def _():
    first = subscribed(mqtt_client(broker, "first"), "$share/group/house/shared")
    equal(why("house/shared", "first", "-q", "1")["outcome"], "shared", "verdict")
    second = subscribed(mqtt_client(broker, "second"), "house/shared")
    said = admin.json("explain", "delivery", "house/shared", "-q", "1")
    outcomes = {each["client_id"]: each["outcome"] for each in said["verdicts"]}
    equal({name: outcomes.get(name) for name in ("first", "second", "modest", "sleeper")},
          {"first": "shared", "second": "delivered", "modest": "offline_qos0", "sleeper": "queue_full"}, "all of them")
    equal(len(admin.json("explain", "delivery", "house/shared", "-q", "1", "--limit", "2")["verdicts"]), 2, "no more than asked for")
    first.close()
    second.close()


@case("who owns a session")
def _():
    there = durable(broker, "owned")
    said = admin.json("explain", "owner", "owned")
    equal((said["known"], said["durable"], said["connected"]), (True, True, True), "connected")
    holds("its client is connected" in said["words"], said["words"])
    there.send(b"\xe0\x00")
    there.closed()
    equal(admin.json("explain", "owner", "owned")["connected"], False, "away")
    equal(admin.json("explain", "owner", "never-seen")["known"], False, "nobody's")
    holds("not a Topic Name" in admin.text("explain", "delivery", "a/#", status=1), "no topic")


main()
