#!/usr/bin/env python3
"""Any node answers for the whole cluster, and says which nodes did not answer: three real processes."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, golden  # noqa: E402
from e2e import PATIENCE_S, SLOWDOWN, case, equal, holds, main  # noqa: E402
from local_cluster import LocalCluster  # noqa: E402
from mqtt_wire import Client as Wire  # noqa: E402

cluster = LocalCluster(admin="127.0.0.1:0")
admins = [Admin(node) for node in cluster.nodes]
# What a call may take when a node does not answer: its link is given up after 3 s.
WITHIN_S = 10.0 * SLOWDOWN


def eventually(holds_now, what):
    """For what a node hears of a moment later. Each look is a round trip."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds_now():
        holds(time.monotonic() < deadline, f"{what}: never")


def transient(node, name, **more):
    return Wire(node.port, name, clean=True, expiry=0, **more)


def refusal(node, name, **more):
    """The reason code of CONNACK."""
    client = transient(node, name, expect=None, **more)
    client.drop()
    return client.connack.reasons[0]


def pages(method, field, size, **request):
    """All entries of a list, each page asked of another node."""
    entries, token, number = [], "", 0
    while True:
        status, answer = admins[number % 3].post(method, {**request, "page": {"size": size, "token": token}})
        equal(status, 200, answer)
        equal(answer["page"].get("missing", []), [], "missing")
        holds(len(answer[field]) <= size, "a page has no more than were asked for")
        entries += answer[field]
        token, number = answer["page"].get("next", ""), number + 1
        if not token:
            return entries


def whole():
    """All three live and each partition is led."""
    return all(node.metrics()['mqttd_cluster_members{state="live"}'] == 3 and
               node.metrics()["mqttd_cluster_partitions_without_leader"] == 0 for node in cluster.nodes)


clean = True


def fresh(name):
    """A case that finds nothing of one before it that failed."""
    def add(function):
        def run():
            global clean  # pylint: disable=global-statement
            if not clean:
                clear()
            clean = False
            function()
            clean = True
        return case(name)(run)
    return add


def clear():
    for node in cluster.nodes[:3]:
        if not node.process.running():
            node.start()
    del cluster.nodes[3:]
    eventually(whole, "whole")
    admins[0].ctl("client", "kick", "--client", "*", "--yes")
    for each in admins[0].json("session", "list"):
        admins[0].ctl("session", "delete", each["client_id"], "--yes", status=None).wait()
    admins[0].ctl("retained", "delete", "#", "--yes")
    for each in admins[0].json("ban", "list"):
        if each["client_id"]:
            admins[0].ctl("ban", "remove", "--client", each["client_id"])
    for each in admins[0].json("user", "list"):
        admins[0].ctl("user", "remove", each["name"], "--yes")


def timed(call):
    begun = time.monotonic()
    value = call()
    holds(time.monotonic() - begun < WITHIN_S, f"an answer after {time.monotonic() - begun:.1f} s")
    return value


@fresh("each node tells of all members, and sums what they have")
def _():
    eventually(whole, "whole")
    clients = [transient(node, f"sum-{node.number}") for node in cluster.nodes]
    kept = [Wire(cluster[i % 3].port, f"sum-kept-{i}") for i in range(6)]
    for each in kept:
        each.subscribe("sum/kept", 1)
    publisher = transient(cluster[0], "sum-publisher")
    for i in range(5):
        equal(publisher.published(f"sum/retained/{i}", b"x", qos=1, retain=True), 0)

    def counted():
        status = [each.json("cluster", "status") for each in admins]
        return all((each["clients_connected"], each["sessions"], each["retained_messages"]) == (10, 6, 5)
                   for each in status)
    eventually(counted, "clients, sessions and retained messages of all nodes")
    for node, each in zip(cluster.nodes, admins):
        status = each.json("cluster", "status")
        equal(status["state"], "ready")
        equal(status["missing"], [])
        equal(status["node"], node.uuid, "who answers")
        equal(status["members"][0]["node"], node.uuid, "the one that answers comes first")
        equal(sorted(member["node"] for member in status["members"]), sorted(one.uuid for one in cluster.nodes))
        equal(sorted(member["number"] for member in status["members"]), [1, 2, 3])
        equal(sum(member["partitions_led"] for member in status["members"]), 16, "partitions led")
        equal({member["state"] for member in status["members"]}, {"ready"})
        equal({member["admin_address"] for member in status["members"]}, {one.admin for one in cluster.nodes})
    for each in [*clients, *kept, publisher]:
        each.disconnect()
    for i in range(6):
        admins[i % 3].ctl("session", "delete", f"sum-kept-{i}", "--yes")
    admins[0].ctl("retained", "delete", "sum/#", "--yes")


@fresh("clients of all nodes are listed, each once, whichever node is asked for the next page")
def _():
    clients = {f"list-{node.number}-{i}": transient(node, f"list-{node.number}-{i}") for node in cluster.nodes for i in range(7)}
    for size in (1, 3, 5, 1000):
        found = pages("Clients/List", "clients", size, filter={"clientId": "list-*"})
        equal(sorted(each["clientId"] for each in found), sorted(clients), f"pages of {size}")
    for each in found:
        equal(each["node"], cluster[int(each["clientId"].split("-")[1])].uuid, "its node")
    names = [each["client_id"] for each in admins[2].json("client", "list", "--client", "list-*-3")]
    equal(sorted(names), ["list-0-3", "list-1-3", "list-2-3"], "mqttctl")
    for each in clients.values():
        each.drop()


@fresh("sessions of all nodes are listed, each once: durable ones, connected or not, and transient ones")
def _():
    names, clients = set(), []
    for i in range(24):
        client = Wire(cluster[i % 3].port, f"kept-{i}")
        names.add(f"kept-{i}")
        if i % 2:
            client.disconnect()
        else:
            clients.append(client)
    for i in range(9):
        clients.append(transient(cluster[i % 3], f"kept-not-{i}"))
        names.add(f"kept-not-{i}")
    for size in (1, 4, 7, 1000):
        found = pages("Sessions/List", "sessions", size, filter={"clientId": "kept-*"})
        equal(sorted(each["clientId"] for each in found), sorted(names), f"pages of {size}")
    away = admins[1].json("session", "list", "--client", "kept-*", "--connected", "no")
    equal(sorted(each["client_id"] for each in away), sorted(f"kept-{i}" for i in range(1, 24, 2)), "away")
    for each in clients:
        each.drop()
    for i in range(24):
        admins[i % 3].ctl("session", "delete", f"kept-{i}", "--yes")
    equal(admins[0].json("session", "list", "--client", "kept-*"), [], "after the end of all")


@fresh("a client is shown, and kicked, by whichever node is asked")
def _():
    for connected in cluster.nodes:
        for asked in range(3):
            for keeps in (True, False):
                name = f"kicked-{connected.number}-{asked}-{keeps}"
                client = Wire(connected.port, name, clean=not keeps, expiry=3600 if keeps else 0)
                shown = admins[asked].json("client", "show", name)
                equal((shown["client_id"], shown["node"]), (name, connected.uuid))
                equal(admins[asked].text("client", "kick", name, "--reason", "0x89"), "1 client disconnected")
                equal(client.closed().reasons[0], 0x89, "reason")
                if keeps:
                    admins[(asked + 1) % 3].ctl("session", "delete", name, "--yes")
    holds('no client "nobody" is connected' in admins[1].text("client", "show", "nobody", status=5), "nobody")
    clients = [transient(node, f"many-{node.number}-{i}") for node in cluster.nodes for i in range(4)]
    equal(admins[1].text("client", "kick", "--client", "many-*"), "12 clients disconnected")
    for each in clients:
        holds(each.closed() is not None, "DISCONNECT")
    holds("whom?" in admins[0].text("client", "kick", status=1), "kick without a target")


@fresh("a session is looked at, and ended, by whichever node is asked")
def _():
    for asked in range(3):
        for connected in cluster.nodes:
            name = f"seen-{asked}-{connected.number}"
            client = Wire(connected.port, name)
            client.subscribe(f"seen/{name}", 2)
            publisher = transient(cluster[(asked + 1) % 3], f"{name}-publisher")
            equal(publisher.published(f"seen/{name}", b"1", qos=1), 0)
            client.receive()  # Not acknowledged.
            ask = admins[asked]
            shown = ask.json("session", "show", name)
            equal((shown["client_id"], shown["durable"], shown["connected"], shown["queued_messages"]), (name, True, True, 1))
            equal([each["filter"] for each in ask.json("subscription", "list", name)], [f"seen/{name}"])
            equal([each["message"]["topic"] for each in ask.json("session", "queue", name)], [f"seen/{name}"])
            equal(len(ask.json("session", "inflight", name)["out"]), 1, "in flight")
            ended = ask.json("session", "delete", name, "--yes")
            equal((ended["was_connected"], ended["subscriptions"], ended["queued_messages"]), (True, 1, 1))
            holds(client.closed() is not None, "DISCONNECT")
            holds("there is no session" in admins[(asked + 1) % 3].text("session", "show", name, status=5), "it is gone")
            passing = transient(connected, name)
            passing.subscribe("passing", 1)
            shown = ask.json("session", "show", name)
            equal((shown["durable"], shown["node"]), (False, connected.uuid))
            equal([each["filter"] for each in ask.json("subscription", "list", name)], ["passing"])
            holds("transient" in ask.text("session", "queue", name, status=6), "it has no queue")
            ended = ask.json("session", "delete", name, "--yes")
            holds(ended["was_connected"] and passing.closed() is not None, "DISCONNECT")
            publisher.drop()


@fresh("explain says why, whichever node is asked and wherever the client is")
def _():
    here, there = Wire(cluster[0].port, "why-here"), Wire(cluster[2].port, "why-there")
    for each in (here, there):
        each.subscribe("why/#", 1)
    passing = transient(cluster[1], "why-passing")
    passing.subscribe("why/+", 0)
    away = Wire(cluster[1].port, "why-away")
    away.subscribe("why/#", 1)
    away.disconnect()
    deaf = transient(cluster[2], "why-deaf")
    wanted = {"why-here": "delivered", "why-there": "delivered", "why-passing": "delivered", "why-away": "queued"}
    for asked in admins:
        found = asked.json("explain", "delivery", "why/x", "-q", "1")
        equal({each["client_id"]: each["outcome"] for each in found["verdicts"]}, wanted, "to all")
        equal(found["missing"], [])
        for name, outcome in {**wanted, "why-deaf": "not_subscribed", "why-nobody": "no_session"}.items():
            found = asked.json("explain", "delivery", "why/x", "-q", "1", "--to", name, "--from", "why-deaf")
            equal([(each["client_id"], each["outcome"]) for each in found["verdicts"]], [(name, outcome)])
        for name, node in {"why-here": 0, "why-there": 2, "why-passing": 1}.items():
            owner = asked.json("explain", "owner", name)
            equal((owner["known"], owner["connected"], owner["client_node"]), (True, True, cluster[node].uuid), name)
        owner = asked.json("explain", "owner", "why-away")
        equal((owner["known"], owner["durable"], owner["connected"], owner["client_node"]), (True, True, False, ""))
    for each in (here, there, passing, deaf):
        each.disconnect()
    for name in ("why-here", "why-there", "why-away"):
        admins[0].ctl("session", "delete", name, "--yes")


@fresh("filters are counted over all nodes, and slow sessions found")
def _():
    clients = [transient(node, f"count-{node.number}-{i}") for node in cluster.nodes for i in range(2)]
    clients += [Wire(node.port, f"count-kept-{node.number}") for node in cluster.nodes]
    for each in clients:
        each.subscribe("count/all", 1)
    clients[0].subscribe("count/one", 1)
    for asked in admins:
        found = {each["filter"]: (each["subscriptions"], each["durable"])
                 for each in asked.json("topic", "filters", "--filter", "count/*")}
        equal(found, {"count/all": (9, 3), "count/one": (1, 0)})
    for i, each in enumerate(clients[6:]):
        each.subscribe(f"slow/{i}", 1)
        for _ in range(9 - i):
            equal(clients[0].published(f"slow/{i}", b"x", qos=1), 0)
    for asked in admins:
        slow = [(each["client_id"], each["queued_messages"]) for each in asked.json("session", "slow")
                if each["client_id"].startswith("count-kept-")]
        equal(slow, [("count-kept-0", 9), ("count-kept-1", 8), ("count-kept-2", 7)])
    for each in clients:
        each.drop()
    for node in cluster.nodes:
        admins[node.number].ctl("session", "delete", f"count-kept-{node.number}", "--yes")


@fresh("retained messages are deleted wherever they are led")
def _():
    publisher = transient(cluster[1], "retains")
    for i in range(20):
        equal(publisher.published(f"old/{i}", b"x", qos=1, retain=True), 0)
    equal(len(admins[2].json("retained", "list", "old/#")), 20)
    equal(admins[0].json("retained", "delete", "old/#", "--yes")["deleted"], 20)
    for asked in admins:
        equal(asked.json("retained", "list", "old/#"), [])
    publisher.drop()


@fresh("what is changed at another node's is audited at both")
def _():
    client = transient(cluster[2], "audited")
    admins[0].ctl("client", "kick", "audited")
    client.closed()
    cluster[0].log.wait_for(r'admin who=local role=admin from=127\.0\.0\.1:\d+ what=Clients/Kick request=.*audited.* outcome=done')
    cluster[2].log.wait_for(r'admin who=local role=admin from="?127\.0\.0\.1:\d+ by node \d"? what=Clients/Kick request=.*audited.* outcome=done')


@fresh("placement tells of each partition who leads it, and how far its replicas are")
def _():
    client = Wire(cluster[0].port, "placed")
    client.subscribe("placed", 1)
    for asked in admins:
        def even(asked=asked):
            partitions = asked.json("cluster", "placement")["partitions"]
            return all(each["leader"] and all(one["answered"] and one["behind"] == 0 for one in each["replicas"]) for each in partitions)
        eventually(even, "each partition has a leader, and all replicas what it has")
        answer = asked.json("cluster", "placement")
        equal(answer["missing"], [])
        partitions = answer["partitions"]
        equal([each["partition"] for each in partitions], list(range(16)))
        equal(sum(each["sessions"] for each in partitions), 1, "sessions")
        for each in partitions:
            equal([replica["number"] for replica in each["replicas"]], [1, 2, 3])
            equal([replica["node"] for replica in each["replicas"] if replica["leads"]], [each["leader"]])
            holds(each["term"] > 0 and not each["without_majority"], each)
        status = asked.json("cluster", "status")
        for member in status["members"]:
            led = sum(each["leader"] == member["node"] for each in partitions)
            equal(member["partitions_led"], led, f"led by node {member['number']}")
    equal(len(admins[0].json("cluster", "placement", "--node", "2")["partitions"]), 16)
    equal(admins[0].json("cluster", "placement", "--node", "nobody")["partitions"], [])
    golden("cluster_placement", {**answer, "partitions": partitions[:2]},
           ("leader", "leader_number", "preferred", "term", "applied", "leads", "sessions", "retained_messages"))
    holds(re.search(r"^0 +[123] +\d+ +\d+ +1,2,3 ", admins[1].text("cluster", "placement"), re.MULTILINE), admins[1].text("cluster", "placement"))
    client.disconnect()
    admins[1].ctl("session", "delete", "placed", "--yes")


@fresh("explain loss tells what would be lost with a node")
def _():
    kept = [Wire(cluster[1].port, f"lost-not-{i}") for i in range(2)]
    passing = [transient(cluster[1], f"lost-{i}") for i in range(3)]
    for each in passing:
        each.subscribe("lost/#", 1)
    publisher = transient(cluster[0], "loses")
    equal(publisher.published("lost/x", b"x", qos=1), 0)
    for each in passing:
        each.receive()  # Not acknowledged.
    number = next(member["number"] for member in admins[0].json("cluster", "members") if member["node"] == cluster[1].uuid)
    for asked, node in zip(admins, (cluster[1].uuid, "", number)):
        loss = asked.json("explain", "loss", *([node] if node else []))
        equal((loss["node"], loss["number"]), (cluster[1].uuid, number))
        equal([loss[field] for field in ("clients", "sessions_kept", "sessions_lost", "subscriptions_lost", "messages_lost")], [5, 2, 3, 3, 3])
        holds(4 <= len(loss["partitions_moved"]) <= 7, "it leads a third")
        equal((loss["partitions_stopped"], loss["partitions_lost"], loss["missing"]), ([], [], []))
        holds("3 transient sessions with 3 subscriptions and 3 messages on their way would be lost" in loss["words"], loss["words"])
    holds('no node "9"' in admins[0].text("explain", "loss", "9", status=5), "nobody")
    for each in (*kept, *passing, publisher):
        each.disconnect()
    for i in range(2):
        admins[0].ctl("session", "delete", f"lost-not-{i}", "--yes")


@fresh("links and pings tell how long nodes take to hear each other")
def _():
    for asked in admins:
        links = asked.json("cluster", "links")["links"]
        equal([(each["from_number"], each["to_number"]) for each in links], [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)])
        for each in links:
            holds(each["up"] and 0 < each["round_trip"] < 3, each)
            equal([stream["link_class"] for stream in each["streams"]], ["control", "log", "traffic", "bulk"])
            holds(each["streams"][0]["bytes"] > 0, "leases and heartbeats")
        answer = asked.json("cluster", "ping", "--count", "5")
        equal((answer["node"], answer["missing"]), (asked.broker.uuid, []))
        equal(len(answer["pings"]), 2)
        for each in answer["pings"]:
            holds(each["answers"] == 5 and 0 < each["least"] <= each["mean"] <= each["most"], each)
    numbers = ("from", "to", "address", "round_trip", "connected", "disconnected", "items", "bytes", "dropped", "times_full",
               "items_on_way", "bytes_on_way", "number", "least", "mean", "most")
    golden("cluster_links", {"links": links[:1], "missing": []}, numbers)
    golden("cluster_ping", answer, numbers)
    holds(re.search(r"^1 +2 +yes|^1 +2 +true", admins[0].text("cluster", "links"), re.MULTILINE), admins[0].text("cluster", "links"))


@fresh("routes tell which filters send messages to which nodes and partitions, a page at a time, whichever node is asked")
def _():
    clients = [transient(node, f"route-{node.number}-{i}") for node in cluster.nodes for i in range(2)]
    kept = Wire(cluster[1].port, "route-kept")
    numbers = {member["node"]: member["number"] for member in admins[0].json("cluster", "members")}
    numbers = [numbers[node.uuid] for node in cluster.nodes]
    for each in clients:
        each.subscribe("route/all/#", 1)
    for i in range(25):
        clients[2 * (i % 3)].subscribe(f"route/one/{i:02}", 1)
    clients[5].subscribe("$share/route/route/shared", 1)
    kept.subscribe("route/all/#", 1)
    owner = admins[0].json("explain", "owner", "route-kept")
    wanted = {f"route/one/{i:02}": ({numbers[i % 3]: (1, 0)}, {}) for i in range(25)}
    wanted["$share/route/route/shared"] = ({numbers[2]: (1, 0)}, {})
    wanted["route/all/#"] = ({number: (2, int(number == numbers[1])) for number in numbers}, {owner["partition"]: 1})

    def found(routes):
        return {route["filter"]: ({node["number"]: (int(node["subscriptions"]), int(node["subscriptionsQos0"])) for node in route.get("nodes", [])},
                                  {each["partition"]: int(each["subscriptions"]) for each in route.get("partitions", [])}) for route in routes}
    for size in (1, 7, 1000):
        routes = pages("Cluster/ListRoutes", "routes", size, filter="*route/*")
        equal([route["filter"] for route in routes], sorted(wanted), f"pages of {size}")
        equal(found(routes), wanted, f"pages of {size}")
    for asked in admins:
        answer = asked.json("cluster", "routes", "--filter", "route/one/*", "--node", str(numbers[2]))
        equal([route["filter"] for route in answer["routes"]], [f"route/one/{i:02}" for i in range(2, 25, 3)], "of one node")
        equal([each["number"] for each in answer["nodes"]], [numbers[2]])
    answer = admins[1].json("cluster", "routes", "--filter", "*route/*")
    equal([(each["number"], each["unknown"]) for each in answer["nodes"]], [(1, []), (2, []), (3, [])], "each knows what the others want")
    holds(all(each["told"] >= 9 for each in answer["nodes"]), answer["nodes"])
    golden("cluster_routes", {"routes": answer["routes"][:2], "nodes": answer["nodes"][:1]}, ("leader_number", "number", "told", "subscriptions_qos0"))
    holds(re.search(r"^route/all/# +1:2\S*( \(QoS 0\))?,? ?2:2", admins[2].text("cluster", "routes"), re.MULTILINE), admins[2].text("cluster", "routes"))
    few = admins[0].ctl("cluster", "routes", "--filter", "*route/*", "--limit", "2", "-o", "json")
    equal(len(json.loads(few.out.text())["routes"]), 2, "a limit")
    holds("more than these 2 filters" in few.err.text(), "that there are more is said")
    holds("more than" not in admins[0].ctl("cluster", "routes", "--filter", "*route/*").err.text(), "all of them")
    admins[0].ctl("cluster", "routes", "--node", "9", status=5)
    for each in (*clients, kept):
        each.disconnect()
    admins[0].ctl("session", "delete", "route-kept", "--yes")


@fresh("a ban that is set at one node holds at all, and until it is removed at any")
def _():
    clients = [transient(node, f"banned-{node.number}") for node in cluster.nodes]
    for node in cluster.nodes:
        name = f"banned-{node.number}"
        asked = admins[(node.number + 1) % 3]
        said = asked.json("ban", "add", "--client", name)
        equal((said["disconnected"], said["missing"]), (1, []))
        equal(clients[node.number].closed().reasons[0], 0x98, "sent away")
        for other in cluster.nodes:
            equal(refusal(other, name), 0x8A, f"{name} at node {other.number}")
        for each in admins:
            equal([ban["client_id"] for ban in each.json("ban", "list") if ban["client_id"] == name], [name])
        admins[(node.number + 2) % 3].ctl("ban", "remove", "--client", name)
        for other in cluster.nodes:
            transient(other, name).drop()


@fresh("rules that are set at one node hold at all, for those who are connected too")
def _():
    clients = [transient(node, f"ruled-{node.number}") for node in cluster.nodes]
    admins[1].ctl("acl", "add", "--anonymous", "deny", "ruled/secret")
    for each in clients:
        equal(each.published("ruled/secret", b"x", qos=1), 0x87, "not authorized")
    equal([rule["filter"] for rule in admins[2].json("acl", "list")], ["ruled/secret"])
    admins[2].ctl("acl", "remove", "--anonymous", "deny", "ruled/secret")
    for each in clients:
        holds(each.published("ruled/secret", b"x", qos=1) in (0, 0x10), "authorized")
        each.drop()


@fresh("a user whose password is set at one node is let in at all")
def _():
    admins[0].ctl("user", "add", "alice", stdin=b"one\n")
    for node in cluster.nodes:
        transient(node, f"alice-{node.number}", user="alice", password=b"one").drop()
        equal(refusal(node, "alice", user="alice", password=b"two"), 0x86, "another password")
    clients = [transient(node, f"alice-{node.number}", user="alice", password=b"one") for node in cluster.nodes]
    equal([each["name"] for each in admins[2].json("user", "list")], ["alice"])
    equal(admins[1].json("user", "remove", "alice", "--yes")["disconnected"], 3)
    for each in clients:
        each.closed()


@fresh("a node that stands still is named, and does not hold up the others' answers")
def _():
    clients = [transient(node, f"still-{node.number}") for node in cluster.nodes]
    cluster[2].stand_still()
    try:
        status = timed(lambda: admins[0].json("cluster", "status"))
        equal(status["state"], "degraded")
        equal([each["node"] for each in status["missing"]], [cluster[2].uuid])
        equal([each["state"] for each in status["members"] if each["node"] == cluster[2].uuid], ["unreached"])
        status, answer = timed(lambda: admins[1].post("Clients/List", {"filter": {"clientId": "still-*"}}))
        equal(sorted(each["clientId"] for each in answer["clients"]), ["still-0", "still-1"])
        equal([each["node"] for each in answer["page"]["missing"]], [cluster[2].uuid])
        said = timed(lambda: admins[0].ctl("client", "list", "--client", "still-*"))
        holds(cluster[2].uuid in said.err.text(), f"mqttctl names it: {said.err.text()}")
        answer = timed(lambda: admins[0].json("client", "kick", "--client", "still-*"))
        equal((answer["kicked"], [each["node"] for each in answer["missing"]]), (2, [cluster[2].uuid]))
    finally:
        cluster[2].process.signal(signal.SIGCONT)
    eventually(lambda: admins[0].json("cluster", "status")["missing"] == [] and whole(), "it answers again")
    clients[2].drop()


@fresh("a ban holds at a node whose disk does not take it, and is stored when it does")
def _():
    admins[0].ctl("ban", "add", "--client", "stored")
    file = cluster[1].data_dir / "admin" / "access"
    aside, full = file.with_name("access.aside"), file.with_name("access.full")
    os.link(file, aside)
    full.symlink_to("/dev/full")
    full.rename(file)
    client = transient(cluster[1], "not-stored")
    said = admins[0].json("ban", "add", "--client", "not-stored")
    equal(client.closed().reasons[0], 0x98, "sent away")
    equal(refusal(cluster[1], "not-stored"), 0x8A, "banned")
    equal([each["node"] for each in said["missing"]], [cluster[1].uuid], "where it is not stored")
    holds("it holds there, and is not stored yet: " in said["missing"][0]["reason"], said)
    aside.rename(file)
    eventually(lambda: "not-stored" in file.read_text(), "it is stored as soon as that works")
    equal(admins[0].json("ban", "add", "--client", "not-stored")["missing"], [], "missing")
    for name in ("stored", "not-stored"):
        admins[0].ctl("ban", "remove", "--client", name)


@fresh("a node that died is named, and what it led is answered for by others")
def _():
    admins[1].ctl("ban", "add", "--client", "banned-before")
    kept = [Wire(cluster[0].port, f"after-{i}") for i in range(16)]
    for each in kept:
        each.disconnect()
    dead = cluster[1].uuid
    cluster[1].kill()
    said = admins[2].json("ban", "add", "--client", "banned-meanwhile")
    equal([each["node"] for each in said["missing"]], [dead], "where it does not hold yet")
    admins[2].ctl("ban", "remove", "--client", "banned-before")

    def named():
        status = timed(lambda: admins[0].json("cluster", "status"))
        return [each["node"] for each in status["missing"]] == [dead]
    eventually(named, "who is missing")
    eventually(lambda: len(timed(lambda: admins[0].json("session", "list", "--client", "after-*"))) == 16, "all sessions")
    for i in range(16):
        equal(timed(lambda i=i: admins[2].json("session", "show", f"after-{i}"))["connected"], False)
    cluster[1].start()
    eventually(lambda: admins[1].json("cluster", "status")["missing"] == [] and whole(), "it is back")
    eventually(lambda: [each["client_id"] for each in admins[1].json("ban", "list")] == ["banned-meanwhile"],
               "it hears of what was banned and let in again while it was away")
    equal(refusal(cluster[1], "banned-meanwhile"), 0x8A, "banned")
    for i in range(16):
        admins[1].ctl("session", "delete", f"after-{i}", "--yes")


@fresh("without most nodes mqttctl names both who did not answer and what nobody answered for")
def _():
    for node in cluster.nodes[1:]:
        node.kill()

    def all_said():
        said = timed(lambda: admins[0].ctl("session", "slow")).err.text()
        unled = re.findall(r"nobody leads partition ([\d, ]+) just now", said)
        named = [node.uuid for node in cluster.nodes[1:] if re.search(f"no answer from {node.uuid}: node \\d: (?!nobody leads)", said)]
        return len(named) == 2 and sorted(int(number) for each in unled for number in each.split(",")) == list(range(16))
    eventually(all_said, "two nodes, and 16 partitions")
    for node in cluster.nodes[1:]:
        node.start()
    eventually(lambda: admins[0].json("cluster", "status")["missing"] == [] and whole(), "they are back")


@fresh("a node that joined answers like the others, for all, and is forgotten when it is gone for good")
def _():
    admins[0].ctl("ban", "add", "--client", "banned-before-it-came")
    fourth = cluster.another(size=3)
    fourth.start()
    asked = Admin(fourth)
    eventually(lambda: [each["number"] for each in asked.json("cluster", "members")] == [4, 1, 2, 3], "it knows the others")
    eventually(lambda: "banned-before-it-came" in [each["client_id"] for each in asked.json("ban", "list")], "it hears of bans")
    clients = [transient(node, f"four-{node.number}") for node in cluster.nodes] + [Wire(fourth.port, "four-kept")]
    names = sorted([f"four-{node.number}" for node in cluster.nodes] + ["four-kept"])
    for each in [*admins, asked]:
        equal(sorted(client["client_id"] for client in each.json("client", "list", "--client", "four-*")), names)
        equal(sorted(client["client_id"] for client in each.json("session", "list", "--client", "four-*")), names)
        equal(each.json("client", "show", "four-3")["node"], fourth.uuid)
        equal(each.json("explain", "owner", "four-kept")["client_node"], fourth.uuid)
        equal(len(each.json("cluster", "links")["links"]), 12)
        equal([len(part["replicas"]) for part in each.json("cluster", "placement")["partitions"]], [3] * 16)
    loss = admins[0].json("explain", "loss", "4")
    equal((loss["sessions_kept"], loss["sessions_lost"], loss["partitions_moved"]), (1, 1, []))
    equal(asked.text("client", "kick", "four-0"), "1 client disconnected")
    equal(admins[1].text("client", "kick", "four-3"), "1 client disconnected")
    holds(asked.json("session", "delete", "four-kept", "--yes")["was_connected"], "it was connected")
    for each in clients:
        each.drop()

    admins[0].ctl("cluster", "forget", "4", "--yes", status=6)  # It is running.
    admins[0].ctl("cluster", "forget", "1", "--yes", status=6)  # It has replicas.
    admins[0].ctl("cluster", "forget", "9", "--yes", status=5)
    gone = fourth.uuid
    fourth.kill()
    cluster.nodes.pop()
    said = []

    def forgotten():
        process = admins[1].ctl("cluster", "forget", gone, "--yes", "-o", "json", status=None)
        said.append(process.out.text())
        return process.wait() == 0
    eventually(forgotten, "it is forgotten once it is given up")
    golden("cluster_forget", json.loads(said[-1]))
    for each in admins:
        eventually(lambda each=each: len(each.json("cluster", "members")) == 3, "three members")
        equal(each.json("cluster", "status")["missing"], [])


main()
