#!/usr/bin/env python3
"""A cluster's node under a service manager: what it is told while the node waits, is given up, drains and stops."""

import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import PATIENCE_S, SLOWDOWN, case, equal, holds, main, run  # noqa: E402
from local_cluster import LocalCluster, Node, free_ports  # noqa: E402
from admin_api import MQTTCTL  # noqa: E402
from mqtt_wire import Client as Wire  # noqa: E402
from service_manager import ServiceManager  # noqa: E402

cluster = LocalCluster(arguments=("--set", f"drain.delay={30 * SLOWDOWN}"))


def eventually(holds_now, what):
    """For what a node hears of a moment later. Each look is a round trip."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds_now():
        holds(time.monotonic() < deadline, f"{what}: never")


def others_count(live):
    eventually(lambda: cluster[0].metrics()['mqttd_cluster_members{state="live"}'] == live, f"{live} live members")


def give_up(node):
    """Until the others take it for dead, though it is not."""
    node.stand_still()
    others_count(2)
    node.process.signal(signal.SIGCONT)


def starts(node):
    return node.log.text().count(" info starting ")


def managed(node):
    """It is started once more, by a manager."""
    manager = ServiceManager()
    node.env = manager.env
    node.start()
    manager.hear("READY=1\n")
    others_count(3)  # Also where its last life was missed only now.
    manager.kinds()
    return manager


@case("a node that waits for its cluster asks for more time, and is not called ready by a reload")
def _():
    ports = free_ports(6)
    seeds = [f"127.0.0.1:{port}" for port in ports[:2]]
    pair = [Node(i, ports[2 + 2 * i:4 + 2 * i], seeds, 2, ()) for i in range(2)]
    manager = ServiceManager()
    pair[0].env = manager.env
    pair[0].spawn()
    manager.hear("EXTEND_TIMEOUT_USEC=")
    pair[0].log.wait_for("no cluster yet")
    pair[0].process.signal(signal.SIGHUP)
    pair[0].log.wait_for(" reloaded")
    pair[1].spawn()
    manager.hear("READY=1\n")
    equal(set(manager.kinds()[:-1]), {"EXTEND_TIMEOUT_USEC"}, "what was said before it was ready")
    equal(pair[0].terminate(), 0, "exit status")
    manager.hear("STOPPING=1\n")
    equal(manager.kinds(), ["STOPPING"], "what is said of a stop")
    pair[1].kill()


@case("a node that was given up starts anew: to its manager that is no stop, and it has its name")
def _():
    node = cluster[2]
    node.kill()
    manager = managed(node)
    give_up(node)
    manager.hear("READY=1\n")
    kinds = manager.kinds()
    holds("STOPPING" not in kinds, kinds)
    equal([kinds[0], kinds[-1]], ["RELOADING", "READY"], "what it is told")
    holds("EXTEND_TIMEOUT_USEC" in kinds, "it waits as long as that takes")
    holds(starts(node) >= 2, "it has started anew")
    equal(Path(f"/proc/{node.process.pid}/comm").read_text(), "mqttd\n", "its name")
    Wire(node.port, "served", clean=True, expiry=0).drop()


@case("who was told to stop and is given up meanwhile goes on with that, and does not start anew")
def _():
    node = cluster[1]
    node.kill()
    managed(node)
    node.process.signal(signal.SIGTERM)
    node.log.wait_for(" draining ")
    before = starts(node)
    give_up(node)
    node.log.wait_for("the cluster gave this node up")
    node.process.signal(signal.SIGTERM)
    equal(node.process.wait(), 0, "exit status")
    equal(starts(node), before, "starts")


@case("nor does who drains until it is told to stop; to its manager a drain alone is no stop, which would have to end")
def _():
    node = cluster[1]
    manager = managed(node)
    run(MQTTCTL, "drain", "--pid", node.process.pid, "--url", f"http://{node.http}", "--timeout", "1", status=None)
    manager.hear("STATUS=telling clients to go\n")
    before = starts(node)
    give_up(node)
    node.log.wait_for("the cluster gave this node up")
    node.process.signal(signal.SIGTERM)
    manager.hear("STOPPING=1\n")
    equal(manager.kinds(), ["STATUS", "STOPPING"], "what it is told")
    equal(node.process.wait(), 0, "exit status")
    equal(starts(node), before, "starts")


main()
