#!/usr/bin/env python3
"""A node that waits to be told joins the cluster that mqttctl names; one that may not says what to do. Real processes."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, golden  # noqa: E402
from e2e import PATIENCE_S, Broker, case, equal, holds, main  # noqa: E402
from local_cluster import LocalCluster, Node, free_ports  # noqa: E402
from mqtt_wire import Client as Wire  # noqa: E402

cluster = LocalCluster(admin="127.0.0.1:0")


def eventually(holds_now, what):
    """For what a node hears of a moment later. Each look is a round trip."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds_now():
        holds(time.monotonic() < deadline, f"{what}: never")


def alone(number, size=0):
    """A node that knows of no other, and its admin API, which it serves before it is ready."""
    own, admin, *ports = free_ports(4)
    node = Node(number, ports, [], size, (), admin=f"127.0.0.1:{admin}", address=f"127.0.0.1:{own}")
    node.address = f"127.0.0.1:{own}"
    node.spawn()
    return node, Admin(SimpleNamespace(admin=f"127.0.0.1:{admin}", http=node.http))


def waits(node):
    node.log.wait_for(r"no cluster yet.*mqttctl cluster join")
    def says():
        status, words = node.readyz()
        return status == 503 and "waiting to be told which cluster to join" in words
    eventually(says, "it says what it waits for")


def serves(node, name):
    """A session of it goes on at a founder, and what is published at either reaches clients of the other."""
    founder = cluster[0]
    client = Wire(node.port, name)
    client.subscribe(f"{name}/#", 1)
    passing = Wire(founder.port, f"{name}-passing", clean=True, expiry=0)
    passing.subscribe(f"{name}/#", 1)
    equal(passing.published(f"{name}/1", b"1", qos=1), 0)
    equal(client.receive().payload, b"1")
    publisher = Wire(node.port, f"{name}-publisher", clean=True, expiry=0)
    equal(publisher.published(f"{name}/2", b"2", qos=1), 0)
    equal([passing.receive().payload for _ in range(2)], [b"1", b"2"])
    client.disconnect()
    equal(publisher.published(f"{name}/3", b"3", qos=1), 0)
    again = Wire(founder.port, name, clean=False)
    holds(again.session_present, "its session goes on")
    for each in (again, passing, publisher):
        each.drop()


@case("a node that was told joins, serves and forwards, and comes back by itself")
def _():
    node, admin = alone(3)
    waits(node)
    status = admin.json("cluster", "status")
    equal(status["state"], "starting")
    holds("mqttctl cluster join" in status["members"][0]["problem"], status)
    joined = admin.json("cluster", "join", cluster.seeds[0])
    equal((joined["node"], joined["number"], joined["members"]), (node.uuid, 4, 4))
    equal([joined["cluster_id"]], sorted(set(cluster.cluster_id())))
    golden("cluster_join", joined, {"cluster_id"})
    node.wait_ready()
    serves(node, "told")
    for founder in cluster.nodes:
        equal(sorted(each["number"] for each in Admin(founder).json("cluster", "members")), [1, 2, 3, 4])
    node.kill()
    node.start()
    serves(node, "told-again")
    node.terminate()


@case("where it was sent it has written down: a restart before it joins changes nothing")
def _():
    gone = free_ports(1)[0]
    node, admin = alone(4)
    waits(node)
    words = admin.text("cluster", "join", f"127.0.0.1:{gone}", status=3)
    holds(f"has not joined yet: was told to join the cluster at 127.0.0.1:{gone}, and no node of one answers there" in words, words)
    node.kill()
    node.spawn()
    node.log.wait_for(rf"no cluster yet.*was told to join the cluster at 127\.0\.0\.1:{gone}")
    before = len(Admin(cluster[0]).json("cluster", "members"))
    said = admin.text("cluster", "join", f"127.0.0.1:{gone},{cluster.seeds[1]}")
    holds(said.startswith(f"node {before + 1} of cluster ") and said.endswith(f", one of {before + 1}"), said)
    node.wait_ready()
    serves(node, "sent-twice")
    node.terminate()


@case("who may not join another cluster says what to do")
def _():
    member = Admin(cluster[0])
    holds("is a member of cluster" in member.text("cluster", "join", cluster.seeds[1], status=6), "a member")
    holds("start it with an empty data_dir" in member.text("cluster", "join", cluster.seeds[1], status=6), "what to do")
    founder, admin = alone(6, size=1)
    founder.wait_ready()
    words = admin.text("cluster", "join", cluster.seeds[0], status=6)
    holds("has founded a cluster of its own" in words and "empty data_dir" in words, words)
    founder.terminate()
    words = Admin(Broker()).text("cluster", "join", cluster.seeds[0], status=6)
    holds("was started to be alone" in words and "--cluster ADDRESS:PORT" in words, words)
    node, admin = alone(7)
    waits(node)
    holds('"nowhere" is no HOST:PORT' in admin.text("cluster", "join", "nowhere", status=1), "no address")
    holds("where nodes of the cluster listen" in admin.text("cluster", "join", node.address, status=1), "its own address")
    node.terminate()


main()
