#!/usr/bin/env python3
"""A node that was away while much was stored: it finds it in the others' logs, or they say that it cannot."""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import PATIENCE_S, case, equal, holds, main, run  # noqa: E402
from local_cluster import LocalCluster  # noqa: E402
from mqtt_wire import Client as Wire  # noqa: E402

MESSAGE = b"x" * (1 << 20)
MQTTCTL_BIN = os.environ.get("MQTTCTL_BIN", "build/release/bin/mqttctl")
BEHIND = "catching up with the other nodes, or waiting for a leader: "


def eventually(holds_now, what):
    """For what a node hears of a moment later; nothing else to wait for tells of it. Each look is a round trip."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds_now():
        holds(time.monotonic() < deadline, f"{what}: never")


def store(node, megabytes):
    """So much goes through the log of the one partition. The state stays small: each replaces the one before."""
    publisher = Wire(node.port, "stores", clean=True, expiry=0)
    for _ in range(megabytes):
        equal(publisher.published("stored", MESSAGE, qos=1, retain=True), 0)
    equal(publisher.published("stored/last", b"last", qos=1, retain=True), 0)
    publisher.disconnect()


def cluster_without_one(*arguments):
    cluster = LocalCluster(arguments=("--set", "storage.partitions=1", "--set", "durability=none", *arguments))
    cluster[2].kill()
    return cluster


@case("a node finds what it missed, however much that was, while the disks of the others have it")
def _():
    cluster = cluster_without_one("--set", "storage.log_kept_bytes=1GiB")  # However small the disk is.
    store(cluster[0], 150)
    cluster[2].start()
    equal(cluster[2].metrics()["mqttd_storage_partitions_behind"], 0, "what it lacks when it is ready")
    eventually(lambda: cluster[2].readyz() == (200, "ready"), "ready")
    reader = Wire(cluster[2].port, "reads", clean=True, expiry=0)
    reader.subscribe("stored/last", 1)
    equal(reader.receive().payload, b"last")
    for node in cluster.nodes:
        metrics = node.metrics()
        equal(metrics["mqttd_log_outrun_total"], 0, "who was outrun")
        # A follower that was away is sent no more at once than a link has room for (32 MiB): what is
        # dropped there would have to be read from the disk again.
        dropped = sum(value for name, value in metrics.items()
                      if name.startswith("mqttd_cluster_link_dropped_total") and 'class="log"' in name)
        equal(dropped, 0, "entries that were read and sent in vain")
        node.kill()


@case("a node that lacks what the logs no longer have is told of, and the others serve on")
def _():
    cluster = cluster_without_one("--set", "storage.log_kept_bytes=1MiB", "--set", "storage.log_memtable_bytes=4MiB",
                                  "--set", "storage.state_memtable_bytes=4MiB")
    store(cluster[0], 60)
    cluster[2].spawn()

    def outrun():
        return sum(node.metrics()["mqttd_log_outrun_total"] for node in cluster.nodes[:2])
    def said():
        return any("a node was away for too long" in node.log.text() for node in cluster.nodes[:2])
    deadline = time.monotonic() + PATIENCE_S
    while not (outrun() and said()):
        holds(time.monotonic() < deadline, f"counted {outrun()} times that a node was outrun, and in the log: {said()}")
    store(cluster[1], 1)
    # Whoever restarts one node after the other waits here for ever: it has one replica less.
    eventually(lambda: cluster[2].readyz() == (503, f"{BEHIND}1 of 1 partition"), "it says why it is not ready")
    equal(cluster[2].get("/readyz/replicas")[0], 503)
    equal(cluster[2].metrics()["mqttd_storage_partitions_behind"], 1)
    for node in cluster.nodes:
        node.kill()


@case("a node whose data is lost serves clients, and stops whoever would take another one")
def _():
    cluster = LocalCluster(admin="127.0.0.1:0")
    for node in cluster.nodes:
        eventually(lambda node=node: node.get("/readyz/replicas") == (200, "ready"), "all of them may be stopped")
    lost = cluster[2]
    number = re.search(r"cluster joined cluster=\S+ node=(\d)", lost.log.text())[1]
    lost.kill()
    shutil.rmtree(lost.data_dir)
    lost.start()
    words = (f"this node holds no replicas: it is new where node {number} was, whose replicas are lost (16 partitions). "
             "Stop no other node: docs/operations.md, Backups")
    eventually(lambda: lost.readyz() == (200, f"ready: {words}"), "load balancers may send clients")
    equal(lost.get("/readyz/replicas"), (503, words))
    run(MQTTCTL_BIN, "health", "--replicas", "--url", f"http://{lost.http}", status=1)
    run(MQTTCTL_BIN, "health", "--ready", "--url", f"http://{lost.http}")
    equal([node.metrics()["mqttd_cluster_replicas_lost"] for node in cluster.nodes], [0, 0, 16])
    members = run(MQTTCTL_BIN, "--endpoint", cluster[0].admin, "cluster", "members", "-o", "json").out.text()
    told = {member["number"]: (member["state"], member.get("problem", "")) for member in json.loads(members)}
    equal(told[4], ("degraded", words), "as the other nodes' operators see it")
    for node in cluster.nodes[:2]:
        eventually(lambda node=node: node.get("/readyz/replicas") == (200, "ready"), "those with replicas are as they were")
    subscriber = Wire(cluster[0].port, "hears", clean=True, expiry=0)
    subscriber.subscribe("served", 1)
    publisher = Wire(lost.port, "says", clean=True, expiry=0)
    equal(publisher.published("served", b"by the new one", qos=1), 0)
    equal(subscriber.receive().payload, b"by the new one")
    for node in cluster.nodes[:2]:
        node.kill()
    eventually(lambda: lost.get("/readyz/replicas")[0] == 200, "whoever finds it alone may come")
    eventually(lambda: lost.readyz()[1].startswith("degraded: "), "and it says so")
    for node in cluster.nodes[:2]:
        node.spawn()
    for node in cluster.nodes[:2]:
        node.wait_ready()
    eventually(lambda: lost.get("/readyz/replicas") == (503, words), "and then as before")


main()
