#!/usr/bin/env python3
"""What the admin API shows and does of sessions, retained messages and messages, by mqttctl."""

import base64
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, Admin, durable, golden, mqtt_client
from e2e import (Broker, Process, Wire, case, connect_packet, equal, frame, holds, main, publish_packet, subscribe_packet, text,
                 write)

broker = Broker()
admin = Admin(broker)


def leave(name, *filters):
    """A durable session with these subscriptions, whose client is away."""
    client = durable(broker, name)
    for number, filter_ in enumerate(filters, 1):
        client.send(subscribe_packet(number, filter_, 1))
        equal(client.packet()[0], 0x90, "SUBACK")
    client.send(b"\xe0\x00")
    holds(client.closed(), "closed")


def publish(topic, payload, qos=1):
    publisher = mqtt_client(broker, "publisher")
    publisher.send(publish_packet(topic, payload, qos=qos, packet_id=1))
    equal(publisher.packet()[0], 0x40, "PUBACK")
    publisher.close()


@case("durable and transient sessions are listed, filtered and shown")
def _():
    leave("away-1", "house/+/temperature", "house/#")
    publish("house/kitchen/temperature", b"21.5")
    transient = mqtt_client(broker, "here-1")
    transient.send(subscribe_packet(1, "news", 2))
    equal(transient.packet()[0], 0x90, "SUBACK")
    names = [each["client_id"] for each in admin.json("session", "list")]
    equal(names, ["away-1", "here-1"], "all, durable ones first")
    for arguments, wanted in ((("--connected", "yes"), ["here-1"]), (("--connected", "no"), ["away-1"]),
                              (("--durable",), ["away-1"]), (("--queued-min", "1"), ["away-1"]),
                              (("--client", "x*"), []), (("--limit", "1"), ["away-1"])):
        equal([each["client_id"] for each in admin.json("session", "list", *arguments)], wanted, arguments)
    golden("session_show", admin.json("session", "show", "away-1"))
    golden("session_show_transient", admin.json("session", "show", "here-1"))
    holds('there is no session of "nobody"' in admin.text("session", "show", "nobody", status=5), "nobody")
    transient.close()


@case("subscriptions, queue and what is in flight are shown")
def _():
    golden("subscription_list", admin.json("subscription", "list", "away-1"))
    golden("session_queue", admin.json("session", "queue", "away-1"))
    golden("session_inflight_away", admin.json("session", "inflight", "away-1"))
    again = durable(broker, "away-1", clean=False)
    first, body = again.packet()
    equal(first & 0xF6, 0x32, "PUBLISH of QoS 1")
    equal(admin.json("session", "inflight", "away-1")["out"], [{"packet_id": 2, "waiting": "puback"}], "in flight to it")
    equal(admin.json("session", "queue", "away-1")[0]["state"], "sent", "sent, not acknowledged")
    again.send(publish_packet("x", b"y", qos=2, packet_id=77))
    equal(again.packet()[0], 0x50, "PUBREC")
    equal(admin.json("session", "inflight", "away-1")["in"], [77], "in flight from it")
    transient = mqtt_client(broker, "here-2")
    transient.send(subscribe_packet(1, "$share/group/news", 1))
    equal(transient.packet()[0], 0x90, "SUBACK")
    equal([each["filter"] for each in admin.json("subscription", "list", "here-2")], ["$share/group/news"], "of a transient one")
    holds("is transient" in admin.text("session", "queue", "here-2", status=6), "its queue")
    transient.close()
    again.close()


@case("a session is deleted: away, connected, transient; who is not asked must say --yes")
def _():
    leave("old-1", "a/#")
    publish("a/1", b"lost")
    said = admin.text("session", "delete", "old-1", status=6)
    holds("1 subscription and 1 queued message are lost" in said and "--yes" in said, said)
    golden("session_delete", admin.json("session", "delete", "old-1", "--yes"))
    admin.text("session", "show", "old-1", status=5)
    for name, connect in (("old-2", durable), ("old-3", mqtt_client)):
        client = connect(broker, name)
        holds(admin.json("session", "delete", name, "--yes")["was_connected"], f"{name} was connected")
        equal(client.packet()[0], 0xE0, "DISCONNECT")
        admin.text("session", "show", name, status=5)
    again = durable(broker, "old-2", clean=False)
    again.close()
    broker.log.wait_for(r"admin who=local .* what=Sessions/Delete .*old-1.* outcome=done")


@case("sessions come in pages, each once")
def _():
    for number in range(25):
        leave(f"page-{number:02}", "p")
    seen, token, pages = [], "", 0
    while pages == 0 or token:
        _, answer = admin.post("Sessions/List", {"filter": {"clientId": "page-*"}, "page": {"size": 10, "token": token}})
        seen += [each["clientId"] for each in answer["sessions"]]
        token, pages = answer["page"]["next"], pages + 1
    equal(sorted(seen), [f"page-{number:02}" for number in range(25)], "all of them, once")
    equal(admin.post("Sessions/List", {"page": {"token": "nonsense"}})[0], 400, "a token that is none")


@case("kick asks before something is lost, with the numbers, and before it is everybody")
def _():
    with Broker() as alone:
        kick(alone, Admin(alone))


def kick(broker, admin):  # pylint: disable=redefined-outer-name
    clients = [durable(broker, f"lost-{number}") for number in (1, 2)]
    for each in clients:
        each.send(subscribe_packet(1, "lost/#", 1))
        equal(each.packet()[0], 0x90, "SUBACK")
    for _ in range(3):
        admin.text("topic", "publish", "lost/x", "-m", "x", "-q", "1")
    queued = {each["client_id"]: each["queued_messages"] for each in admin.json("session", "list", "--client", "lost-*")}
    holds(list(queued.values()) == [3, 3], queued)
    will = Wire(("127.0.0.1", broker.port))
    will.send(frame(0x10, text("MQTT") + b"\x05\x06\x00\x00\x00" + text("lost-will") + b"\x00" + text("lost/will") + text("x")))
    equal(will.packet()[0], 0x20, "CONNACK")

    def asked(*arguments):
        said = admin.text("client", "kick", *arguments, status=6)
        holds(said.endswith(" If that is meant: --yes"), said)
        return said.removeprefix("Error: ").removesuffix(" If that is meant: --yes")
    equal(asked("lost-1", "--end-session"),
          "This disconnects 1 client and ends its session: 1 subscription and 3 queued messages are lost.", "one")
    equal(asked("--client", "lost-?", "--end-session"),
          "This disconnects 2 clients and ends their sessions: 2 subscriptions and 6 queued messages are lost.", "two")
    equal(asked("lost-will", "--no-will"), "This disconnects 1 client; 1 will is not sent.", "its will")
    equal(asked("--client", "*"), "This disconnects everybody, 3 clients.", "everybody")
    equal(asked("--user", "**", "--address", "0.0.0.0/0"), "This disconnects everybody, 3 clients.", "everybody, in other words")
    for arguments in (("--client", ""), ("--client", "lost-1", "--user", ""), ("", "--end-session")):
        holds("it is empty" in admin.text("client", "kick", *arguments, status=1), arguments)
    holds("not both" in admin.text("client", "kick", "lost-1", "--user", "x", status=1), "a name and a filter")
    equal(len(admin.json("client", "list")), 3, "nothing was done")
    admin.text("client", "kick", "nobody", "--end-session", status=5)
    equal(admin.text("client", "kick", "--client", "lost-?", "--end-session", "--yes"), "2 clients disconnected", "kick")
    for each in clients:
        holds(each.closed(), "closed")
    again = Wire(("127.0.0.1", broker.port))
    again.send(connect_packet("lost-1", clean=False))
    equal(again.packet()[1][0], 0, "whether its session is there")
    again.close()
    equal(admin.text("client", "kick", "lost-will"), "1 client disconnected", "what loses nothing is not asked")


@case("retained messages are set, read, listed and removed")
def _():
    watcher = mqtt_client(broker, "watcher")
    watcher.send(subscribe_packet(1, "shop/#", 0))
    equal(watcher.packet()[0], 0x90, "SUBACK")
    for topic, qos in (("shop/door", 1), ("shop/window", 0), ("shop/lamp/1", 2)):
        equal(admin.text("retained", "set", topic, "-m", "open", "-q", str(qos)), "set", topic)
        holds(b"open" in watcher.packet()[1], "who subscribes hears of it")
    golden("retained_get", admin.json("retained", "get", "shop/door"))
    equal(sorted(each["topic"] for each in admin.json("retained", "list", "shop/+")), ["shop/door", "shop/window"], "list")
    equal(admin.text("retained", "delete", "shop/+", "--yes"), "2 messages removed", "delete")
    equal([each["topic"] for each in admin.json("retained", "list", "shop/#")], ["shop/lamp/1"], "what is left")
    holds("no retained message" in admin.text("retained", "get", "shop/door", status=5), "gone")
    holds("would remove" in admin.text("retained", "set", "shop/door", "-m", "", status=1), "an empty payload")
    holds("no Topic Filter" in admin.text("retained", "list", "a/#/b", status=1), "no filter")
    watcher.close()


@case("retained messages are exported and imported, whole, and survive a restart")
def _():
    file = Path(write("retained.jsonl", ""))
    for number in range(300):
        publish_retained(f"many/{number}", f"{number}")
    equal(admin.text("retained", "export", file, "--filter", "many/#"), f"300 messages in {file}", "export")
    equal(admin.text("retained", "delete", "many/#", "--yes"), "300 messages removed", "delete")
    equal(admin.json("retained", "list", "many/#"), [], "none is left")
    equal(admin.text("retained", "import", file), "300 messages set", "import")
    equal(broker.terminate(), 0, "exit status")
    broker.start()
    kept = {each["topic"]: each["payload"] for each in admin.json("retained", "list", "many/#")}
    equal(kept, {f"many/{number}": f"{number}" for number in range(300)}, "after a restart")


def publish_retained(topic, payload):
    equal(admin.post("Retained/Set", {"message": {"topic": topic, "payload": "", "qos": 1}})[0], 400, "an empty one")
    equal(admin.post("Retained/Set", {"message": {"topic": topic, "payload": base64.b64encode(payload.encode()).decode()}})[0],
          200, topic)


@case("messages are published and watched without a client")
def _():
    watch = Process([MQTTCTL, "--endpoint", broker.admin, "topic", "watch", "w/#", "other",
                     "--count", "2", "-o", "json"])
    watch.out.wait_for(r"started")
    equal(admin.text("topic", "publish", "w/1", "-m", "hello", "-q", "1"), "published", "publish")
    equal(admin.text("topic", "publish", "w/2", "-m", "again", "-q", "2", "--expiry", "60"), "published", "publish")
    equal(watch.wait(), 0, "exit status")
    messages = [json.loads(line)["message"] for line in watch.out.text().splitlines() if "started" not in line]
    golden("topic_watch", messages)
    equal(admin.text("topic", "publish", "nobody/hears", "-m", "x", "-q", "1"),
          "published; nobody has a subscription to it", "nobody")
    holds("is no topic" in admin.text("topic", "publish", "a/#", "-m", "x", status=1), "no topic")


main()
