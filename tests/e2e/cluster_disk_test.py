#!/usr/bin/env python3
"""One of three nodes whose disk takes nothing: it holds up nobody, serves nobody, and comes back by itself."""

import errno
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import PATIENCE_S, case, equal, holds, main  # noqa: E402
from failing_disk import Disk  # noqa: E402
from local_cluster import LocalCluster  # noqa: E402
from mqtt_wire import Client as Wire  # noqa: E402
from mqtt_wire import Closed  # noqa: E402

SERVER_BUSY = 0x89
UNAVAILABLE = 0x88
# So that the state has to be written out soon, and not when a day's messages have come.
SMALL = ("--set", "storage.state_memtable_bytes=1MiB", "--set", "storage.state_pending_bytes=256KiB",
         "--set", "storage.queue_bytes_max=unlimited", "--set", "storage.min_free_disk_bytes=off")


def eventually(holds_now, what):
    """Each look is a round trip, or a message that is stored."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds_now():
        holds(time.monotonic() < deadline, f"{what}: never")


def insist(node, name, act, **more):
    """What a client does, over another connection if it is closed: a machine with too much to do may cost a node its
    lease. Returns the client and what it got. What is not answered fails."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            client = Wire(node.port, name, timeout=PATIENCE_S, **more)
            return client, act(client)
        except (Closed, AssertionError, OSError):
            if time.monotonic() > deadline:
                raise


def subscribed(node, name, *filters):
    client, granted = insist(node, name, lambda each: [each.subscribe(one, 1) for one in filters])
    equal(granted, [1] * len(filters), "SUBACK")
    return client


def publish(node, topic, payload):
    for qos in (1, 2):
        client, reason = insist(node, f"publishes-{node.number}", lambda each, qos=qos: each.published(topic, payload, qos=qos),
                                clean=True, expiry=0)
        holds(reason < 0x80, f"{topic} at node {node.number}: {reason:#x}")
        client.drop()


def arrives(client, topic, payloads):
    """All of them, perhaps twice: who publishes again may have been heard before."""
    missing = set(payloads)
    while missing:
        message = client.message()
        if message.topic == topic:
            missing.discard(message.payload.decode())


def steps_aside(cluster, disk, begin, name):
    """`begin`: what makes the disk of node 2 take nothing. It works again when this returns, and node 2 with it."""
    first, second, broken = cluster.nodes
    kept = subscribed(broken, f"{name}-kept", f"{name}/kept")
    there = Wire(broken.port, f"{name}-there", clean=True, expiry=0, timeout=PATIENCE_S)
    there.subscribe(f"{name}/there", 0)
    begin()
    # The node itself knows of neither, and whoever publishes there would find no subscriber.
    here = subscribed(first, f"{name}-here", f"{name}/t", f"{name}/u")
    other = subscribed(second, f"{name}-other", f"{name}/u")
    for each in (kept, there):
        goodbye = each.closed()
        holds(goodbye is not None, "closed without a DISCONNECT")
        equal(goodbye.reasons[0], SERVER_BUSY)
    Wire(broken.port, f"{name}-refused", clean=True, expiry=0, expect=UNAVAILABLE).drop()
    eventually(lambda: broken.readyz() == (503, "its storage takes nothing, so it leaves its clients to the other nodes "
                                           "until that works again: the log says more"), "readiness")
    equal(broken.metrics()["mqttd_cluster_aside"], 1)
    holds("this node steps aside" in broken.log.text(), "the log says nothing")
    publish(first, f"{name}/t", "from the first")
    publish(second, f"{name}/t", "from the second")
    arrives(here, f"{name}/t", ("from the first", "from the second"))
    kept = subscribed(first, f"{name}-kept")
    holds(kept.session_present, "its session is at another node")
    disk.heal()
    eventually(lambda: broken.readyz() == (200, "ready"), "it serves again")
    equal(broken.metrics()["mqttd_cluster_aside"], 0)
    publish(broken, f"{name}/u", "from the third")
    publish(broken, f"{name}/kept", "from the third")
    arrives(here, f"{name}/u", ("from the third",))
    arrives(other, f"{name}/u", ("from the third",))
    arrives(kept, f"{name}/kept", ("from the third",))
    back = subscribed(broken, f"{name}-back", f"{name}/back")
    publish(first, f"{name}/back", "as before")
    arrives(back, f"{name}/back", ("as before",))
    for each in (here, other, kept, back):
        each.drop()


@case("a node whose state cannot be written holds up no SUBACK of others, and serves when it can be")
def _():
    disk = Disk()
    cluster = LocalCluster(3, SMALL, env=disk.env)

    def begin():
        subscribed(cluster[0], "away", "fills").disconnect()
        disk.fail(f"{cluster[2].data_dir}/state/", errno.EIO)
        filler = {}

        def takes_nothing():  # It is found out when something is to be written there.
            if "client" not in filler:
                filler["client"], _ = insist(cluster[0], "filler", lambda each: None, clean=True, expiry=0)
            try:
                for _ in range(20):
                    filler["client"].published("fills", "x" * 10_000, qos=1)
            except Closed:
                filler.pop("client").drop()
            return cluster[2].readyz()[0] == 503

        eventually(takes_nothing, "node 2 notices")
    steps_aside(cluster, disk, begin, "fails")
    for node in cluster.nodes:
        node.kill()


@case("a node whose disk hangs holds up no SUBACK of others, and serves when it goes on")
def _():
    disk = Disk()
    cluster = LocalCluster(3, SMALL, env=disk.env)
    steps_aside(cluster, disk, lambda: disk.fail(f"{cluster[2].data_dir}/log/", delay_ms=15_000), "hangs")
    for node in cluster.nodes:
        node.kill()


if __name__ == "__main__":
    main()
