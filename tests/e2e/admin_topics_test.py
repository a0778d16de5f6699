#!/usr/bin/env python3
"""Who subscribes to what, what is published most, who is slow; and listeners stopped and started."""

import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, durable, golden, mqtt_client
from e2e import Broker, Wire, case, connect_packet, equal, holds, main, publish_packet, scratch, subscribe_packet

broker = Broker(config="""
data_dir: "{data}"
auth: {allow_anonymous: true}
listeners:
  - {url: "mqtt://127.0.0.1:0", name: front}
  - {url: "mqtt://127.0.0.1:0", name: back}
""")
admin = Admin(broker)


def subscribe(client, *filters):
    for number, filter_ in enumerate(filters, 1):
        client.send(subscribe_packet(number, filter_, 1))
        equal(client.packet()[0], 0x90, "SUBACK")
    return client


def leave(client):
    client.send(b"\xe0\x00")
    holds(client.closed(), "closed")


@case("filters with their subscriptions: transient and durable, connected or not, shared")
def _():
    clients = [subscribe(mqtt_client(broker, f"t{number}"), "house/+", f"own/{number}") for number in range(3)]
    leave(subscribe(durable(broker, "d1"), "house/+", "$share/g/jobs"))
    clients.append(subscribe(durable(broker, "d2"), "house/+"))
    golden("topic_filters", admin.json("topic", "filters"))
    equal([each["filter"] for each in admin.json("topic", "filters", "--topic", "house/door")], ["house/+"], "by topic")
    equal([each["filter"] for each in admin.json("topic", "filters", "--topic", "jobs")], ["$share/g/jobs"], "by topic, shared")
    equal(len(admin.json("topic", "filters", "--filter", "own/*")), 3, "by text")
    equal(len(admin.json("topic", "filters", "--limit", "2")), 2, "limit")
    status, all_of_it = admin.post("Topics/ListFilters", {"count": 1})
    equal((status, all_of_it["subscriptions"], all_of_it["filtersTotal"]), (200, "9", "5"), "sums")
    for client in clients:
        client.close()


@case("the busiest topics are those to which most is published")
def _():
    publisher = mqtt_client(broker, "publisher")
    enough = threading.Event()

    def publish():
        while not enough.is_set():
            for topic in ("busy/1", "busy/1", "busy/1", "busy/2", "quiet/1"):
                publisher.send(publish_packet(topic, b"12345", qos=1, packet_id=1))
                publisher.packet()
    thread = threading.Thread(target=publish)
    thread.start()
    try:
        said = admin.json("topic", "busiest", "--seconds", "1")
        only = admin.json("topic", "busiest", "quiet/#", "--seconds", "1")
        top = admin.text("top", "--seconds", "1")
    finally:
        enough.set()
        thread.join()
    topics = {each["topic"]: each for each in said["topics"]}
    equal([each["topic"] for each in said["topics"]][0], "busy/1", "the first")
    holds(topics["busy/1"]["messages"] > 2 * topics["quiet/1"]["messages"], topics)
    equal(topics["busy/1"]["bytes"], 5 * topics["busy/1"]["messages"], "bytes")
    equal([each["topic"] for each in only["topics"]], ["quiet/1"], "a filter")
    holds("busy/1" in top and "messages/s published" in top, top)
    publisher.close()


@case("slow subscribers: the fullest queue first")
def _():
    leave(subscribe(durable(broker, "slow-1"), "slow/#"))
    leave(subscribe(durable(broker, "slow-2"), "slow/a"))
    publisher = mqtt_client(broker, "publisher")
    for topic in ("slow/a", "slow/b", "slow/b"):
        publisher.send(publish_packet(topic, b"x", qos=1, packet_id=1))
        equal(publisher.packet()[0], 0x40, "PUBACK")
    slow = [each for each in admin.json("session", "slow") if each["client_id"].startswith("slow-")]
    equal([(each["client_id"], each["queued_messages"], each["connected"]) for each in slow], [("slow-1", 3, False), ("slow-2", 1, False)], "slow")
    publisher.close()


def reach(port):
    """Whether somebody is let in there."""
    try:
        with Wire(("127.0.0.1", port)) as connection:
            connection.send(connect_packet("knocks"))
            return connection.packet()[1][1] == 0
    except (OSError, AssertionError):
        return False


@case("a listener is stopped and started; the others go on, and who is connected stays")
def _():
    front, back = broker.ports[:2]
    there = Wire(("127.0.0.1", back))
    there.send(connect_packet("stays"))
    equal(there.packet()[0], 0x20, "CONNACK")
    holds("--yes" in admin.text("listener", "stop", "back", status=6), "it asks")
    admin.text("listener", "stop", "back", "--yes")
    equal((reach(front), reach(back)), (True, False), "who is let in")
    there.send(b"\xc0\x00")
    equal(there.packet()[0], 0xD0, "PINGRESP")
    equal([(each["name"], each["stopped"]) for each in admin.json("listener", "list")], [("front", False), ("back", True)], "list")
    equal(admin.json("listener", "list")[1]["connections"], 1, "who is connected there still")
    holds("is stopped already" in admin.text("listener", "stop", "back", "--yes", status=6), "twice")
    holds("no listener nowhere" in admin.text("listener", "stop", "nowhere", "--yes", status=5), "unknown")
    broker.reload()
    equal(reach(back), False, "a reload does not start it")
    url = admin.json("listener", "start", "back")["url"]
    equal(reach(int(url.rpartition(":")[2])), True, "started")
    holds("is not stopped" in admin.text("listener", "start", "back", status=6), "twice")
    again = Wire(("127.0.0.1", int(url.rpartition(":")[2])))
    again.send(connect_packet("goes"))
    equal(again.packet()[0], 0x20, "CONNACK")
    said = admin.text("listener", "stop", "back", "--disconnect", status=6)
    holds("Nobody can connect to back until it is started again, and 2 clients are disconnected." in said, said)
    equal(admin.json("listener", "stop", "back", "--disconnect", "--yes")["disconnected"], 2, "disconnected")
    equal(again.packet()[0], 0xE0, "DISCONNECT")
    equal((reach(front), admin.json("listener", "start", "back")["url"] != ""), (True, True), "and again")
    broker.log.wait_for(r"admin who=local .*what=Listeners/Stop .*back.*outcome=done")


@case("a listener whose address somebody else has by now is not started, and that is why")
def _():
    path = scratch("mqtt.sock")
    with Broker(listen=("mqtt://127.0.0.1:0", f"unix:{path}")) as here, socket.socket(socket.AF_UNIX) as other:
        there = Admin(here)
        there.text("listener", "stop", f"unix:{path}", "--yes")
        path.unlink(missing_ok=True)  # The broker removes it as well, a moment later or before.
        other.bind(str(path))
        other.listen()
        said = there.text("listener", "start", f"unix:{path}", status=6)
        holds("address in use" in said and "not stopped" not in said, said)
        equal([each["stopped"] for each in there.json("listener", "list")], [False, True], "it is stopped still")


main()
