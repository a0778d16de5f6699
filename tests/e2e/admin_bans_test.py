#!/usr/bin/env python3
"""Bans by the admin API: of a client, a user, an address; at once, with an end, and after a restart."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, golden, mqtt_client
from e2e import Broker, Wire, case, connect_packet, equal, holds, main

broker = Broker("--set", "auth.allow_anonymous=true")
admin = Admin(broker)


def answer(name, version=5, source=None, **more):
    """What CONNACK says."""
    with Wire(("127.0.0.1", broker.port), source=source) as connection:
        connection.send(connect_packet(name, version=version, **more))
        return connection.packet()[1][1]


@case("a client, a user and an address are kept away, at once, and let in again")
def _():
    for arguments, meets, passes in ((("--client", "bad"), {"name": "bad"}, {"name": "good"}),
                                     (("--user", "mallory"), {"name": "x", "user": "mallory"}, {"name": "x", "user": "alice"}),
                                     (("--address", "127.0.0.2"), {"name": "x", "source": "127.0.0.2"}, {"name": "x"}),
                                     (("--address", "127.0.4.0/22"), {"name": "x", "source": "127.0.7.9"},
                                      {"name": "x", "source": "127.0.8.1"})):
        there = Wire(("127.0.0.1", broker.port), source=meets.get("source"))
        there.send(connect_packet(meets["name"], user=meets.get("user")))
        equal(there.packet()[0], 0x20, "CONNACK")
        said = admin.json("ban", "add", *arguments)
        # A user name that nobody vouches for is not who is connected.
        equal(said["disconnected"], 0 if "--user" in arguments else 1, f"{arguments}: disconnected")
        equal(answer(**meets), 0x8A, f"{arguments}: CONNACK")
        equal(answer(**meets, version=4), 5, f"{arguments}: CONNACK of 3.1.1")
        equal(answer(**passes), 0, f"{arguments}: who is not meant")
        admin.text("ban", "remove", *arguments)
        equal(answer(**meets), 0, f"{arguments}: let in again")
        there.close()
    holds('no ban of "bad"' in admin.text("ban", "remove", "--client", "bad", status=5), "none")
    holds(broker.metric('mqttd_connections_refused_total{cause="banned"}') >= 8, "counted")


@case("who is connected hears why")
def _():
    client = mqtt_client(broker, "loud")
    admin.text("ban", "add", "--client", "loud", "--reason", "floods")
    first, body = client.packet()
    equal((first, body[:1]), (0xE0, b"\x98"), "DISCONNECT has no 0x8A")
    equal(answer("loud"), 0x8A, "CONNACK")
    broker.log.wait_for(r"connection refused.*it is banned.*loud: floods")
    broker.log.wait_for(r"admin who=local .* what=Bans/Set .*loud.* outcome=done")
    admin.text("ban", "remove", "--client", "loud")


@case("a ban ends, and others hold after a restart")
def _():
    admin.text("ban", "add", "--client", "forever", "--reason", "a \"word\"\tand more")
    admin.text("ban", "add", "--client", "soon", "--for", "1s")
    while answer("soon") != 0:
        pass
    equal([each["client_id"] for each in admin.json("ban", "list")], ["forever"], "list")
    equal(broker.terminate(), 0, "exit status")
    broker.start()
    equal(answer("forever"), 0x8A, "after a restart")
    kept = admin.json("ban", "list")
    golden("ban_list", kept)
    holds("such as 192.0.2.7" in admin.text("ban", "add", "--address", "nowhere", status=1), "no address")
    admin.text("ban", "remove", "--client", "forever")
    equal(answer("forever"), 0, "let in again")


@case("an address is written in one way, and many bans come in pages")
def _():
    admin.text("ban", "add", "--address", "198.51.100.77/24")
    equal([each["address"] for each in admin.json("ban", "list")], ["198.51.100.0/24"], "as a network")
    admin.text("ban", "remove", "--address", "::ffff:198.51.100.1/120")
    for number in range(5):
        equal(admin.post("Bans/Set", {"ban": {"userName": f"u{number}"}})[0], 200, "status")
    seen, token = [], ""
    while True:
        status, page = admin.post("Bans/List", {"page": {"size": 2, "token": token}})
        equal(status, 200, "status")
        seen += [each["userName"] for each in page.get("bans", [])]
        token = page.get("page", {}).get("next", "")
        if not token:
            break
    equal(seen, [f"u{number}" for number in range(5)], "each once")
    equal(admin.post("Bans/List", {"page": {"token": "x"}})[0], 400, "no token")


main()
