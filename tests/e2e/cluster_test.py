#!/usr/bin/env python3
"""Three nodes that are one broker: real processes, real clients, kill -9."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import PATIENCE_S, SLOWDOWN, Process, case, equal, holds, main, run  # noqa: E402
from local_cluster import LocalCluster, Node, free_ports  # noqa: E402
from mqtt_wire import Client as Wire  # noqa: E402
from mqtt_wire import DISCONNECT, PUBACK, Closed, Nothing  # noqa: E402
from paho_client import Client as Paho  # noqa: E402

cluster = LocalCluster()
LEASE_S = 3.0  # So long the others wait for a node that died.


def eventually(holds_now, what):
    """For what a node hears of a moment later; nothing else to wait for tells of it. Each look is a round trip."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds_now():
        holds(time.monotonic() < deadline, f"{what}: never")


def insist(node, name, **more):
    """A client that tries again until it is let in, as they do: a machine that has too much to do may cost a node its lease."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Wire(node.port, name, timeout=PATIENCE_S, **more)
        except (Closed, AssertionError, OSError):
            if time.monotonic() > deadline:
                raise


def leave(client):
    """What was acknowledged is stored when the fence's SUBACK comes."""
    client.subscribe("fence")
    client.disconnect()


@case("all nodes belong to one cluster")
def _():
    ids = cluster.cluster_id()
    holds(ids[0] is not None, ids)
    equal(len(set(ids)), 1, ids)


@case("each node gets what is published at each other one, at every QoS")
def _():
    for qos in (0, 1, 2):
        subscribers = [Paho(node.port, f"all{qos}-{node.number}") for node in cluster.nodes]
        for each in subscribers:
            each.subscribe(f"all/{qos}/#", qos)
        for node in cluster.nodes:
            publisher = Paho(node.port, f"pub{qos}-{node.number}")
            publisher.publish(f"all/{qos}/{node.number}", b"x", qos)
            publisher.leave()
        for each in subscribers:
            topics = sorted(each.take_one().topic for _ in cluster.nodes)
            equal(topics, [f"all/{qos}/{node.number}" for node in cluster.nodes], f"QoS {qos}")
            each.leave()


@case("each node's metrics tell of members, leaders, links and what is forwarded")
def _():
    def whole():
        pages = [node.metrics() for node in cluster.nodes]
        return all(page["mqttd_cluster_members{state=\"live\"}"] == 3 and page["mqttd_cluster_lease"] == 1 and
                   page["mqttd_cluster_partitions_without_leader"] == 0 and
                   page['mqttd_cluster_requests_total{fate="sent"}'] > 0 for page in pages) and \
            sum(page["mqttd_cluster_partitions_led"] for page in pages) == 16
    for node in cluster.nodes:  # With sessions in most partitions, so also in such as are led elsewhere.
        for i in range(12):
            Wire(node.port, f"asks-{node.number}-{i}", clean=True).drop()
    eventually(whole, "three live members, each partition led by one of them, and requests to leaders elsewhere")
    pages = [node.metrics() for node in cluster.nodes]
    for page in pages:
        links = [value for name, value in page.items() if name.startswith("mqttd_cluster_link_up{")]
        equal(links, [1, 1], "links")
        equal(page["mqttd_cluster_forward_gaps_total"] + page["mqttd_cluster_unreadable_total"], 0, "faults")
        trips = [value for name, value in page.items() if name.startswith("mqttd_cluster_link_round_trip_seconds{")]
        holds(len(trips) == 2 and all(0 < trip < 3 for trip in trips), f"round trips {trips}")
    subscriber, publisher = Wire(cluster[0].port, "counted", clean=True, expiry=0), Wire(cluster[1].port, "counting", clean=True, expiry=0)
    subscriber.subscribe("counted", 0)
    before = [page['mqttd_cluster_forwarded_total{direction="sent"}'] for page in pages]
    equal(publisher.published("counted", b"x", qos=1), 0)
    subscriber.message()
    after = [node.metrics()['mqttd_cluster_forwarded_total{direction="sent"}'] for node in cluster.nodes]
    holds(after[1] == before[1] + 1 and after[0] == before[0], f"forwarded once, by the publisher's node: {before} {after}")
    for each in (subscriber, publisher):
        each.drop()


@case("a packet is no larger than what goes from node to node in one piece")
def _():
    client = Wire(cluster[0].port, "large", clean=True, expiry=0)
    equal(client.connack.properties["maximum_packet_size"], 56 << 20)
    client.socket.sendall(bytes([0x30]) + b"\xff\xff\xff\x7f")  # A PUBLISH of 256 MiB begins.
    equal(client.receive(DISCONNECT).reasons[0], 0x95)


@case("mosquitto's clients talk from node to node")
def _():
    sub = Process(["stdbuf", "-oL", "mosquitto_sub", "-p", cluster[0].port, "-t", "mosquitto/#", "-q", "1", "-C", "1", "-v", "-d"])
    sub.out.wait_for(r"received SUBACK|Subscribed")
    run("mosquitto_pub", "-p", cluster[2].port, "-t", "mosquitto/x", "-m", "hello", "-q", "1")
    equal(sub.wait(), 0, sub.err.text())
    holds("mosquitto/x hello" in sub.out.text(), sub.out.text())


@case("what is retained at one node is found at the others")
def _():
    publisher = Wire(cluster[0].port, "retainer")
    equal(publisher.published("kept/a", b"1", qos=1, retain=True), 0)
    publisher.drop()
    for node in cluster.nodes:
        def found(node=node):
            reader = Paho(node.port, f"reader{node.number}")
            reader.subscribe("kept/#", 1)
            reader.publish("kept-fence", b"", 1)
            message = None if reader.messages.empty() else reader.messages.get()
            reader.leave()
            return message is not None and message.payload == b"1"
        eventually(found, f"retained at node {node.number}")


@case("what was acknowledged as retained at one node a subscriber at another finds at once")
def _():
    publisher = Wire(cluster[0].port, "retains-much")
    readers = [Wire(cluster[1].port, "finds", clean=True, expiry=0), Wire(cluster[2].port, "finds-durable")]
    for i in range(50):
        equal(publisher.published(f"found/{i}", f"{i}", qos=1, retain=True), 0)
        for reader in readers:
            reader.subscribe(f"found/{i}", 1)
            equal(reader.message().payload, f"{i}".encode())
    for client in (publisher, *readers):
        leave(client)


@case("a client that connects at another node takes its session over, and the old connection hears 0x8E")
def _():
    first = Wire(cluster[0].port, "mover")
    first.subscribe("moves", 1)
    second = Wire(cluster[1].port, "mover")
    holds(second.session_present, "the session came along")
    last = first.closed()
    holds(last is not None, "DISCONNECT")
    equal(last.reasons[0], 0x8E, "reason")
    publisher = Wire(cluster[2].port, "moves-publisher")
    equal(publisher.published("moves", b"now there", qos=1), 0)
    equal(second.message().payload, b"now there")
    publisher.drop()
    leave(second)


@case("a session outlives its node: another one has its queue, in order, and what was in flight")
def _():
    client = Wire(cluster[0].port, "survivor")
    client.subscribe("survives/#", 2)
    publisher = Wire(cluster[1].port, "survives-publisher")
    equal(publisher.published("survives/first", b"0", qos=2), 0)
    in_flight = client.receive()  # Not acknowledged.
    equal(in_flight.payload, b"0")
    cluster[0].kill()
    for number in range(1, 6):
        equal(publisher.published("survives/more", str(number).encode(), qos=1 + number % 2), 0)
    again = Wire(cluster[2].port, "survivor", timeout=PATIENCE_S)
    holds(again.session_present, "the session is there")
    repeated = again.receive()
    equal((repeated.id, repeated.payload, bool(repeated.flags & 8)), (in_flight.id, b"0", True), "DUP, as it was")
    again._waiting.appendleft(repeated)  # pylint: disable=protected-access
    numbers = [int(again.message().payload) for _ in range(6)]
    equal(sorted(numbers), list(range(6)), "each once")
    for parity in (0, 1):  # Of QoS 1 and of QoS 2: between them there is no order [MQTT-4.6.0-6].
        of_qos = [number for number in numbers[1:] if number % 2 == parity]
        equal(of_qos, sorted(of_qos), "order")
    equal(numbers[0], 0, "what was in flight comes first")
    again.nothing_comes()
    leave(again)
    publisher.drop()
    cluster[0].start()


@case("the will of a client of a dead node is published once")
def _():
    eventually(lambda: cluster[2].readyz()[0] == 200, "ready")
    departed = Wire(cluster[2].port, "departed", expiry=60, will={"topic": "wills/departed", "payload": "gone", "qos": 1})
    listener = Wire(cluster[1].port, "mourner")
    listener.subscribe("wills/#", 1)
    cluster[2].kill()
    equal(listener.message(timeout=PATIENCE_S).payload, b"gone")
    listener.nothing_comes()
    departed.drop()
    leave(listener)
    cluster[2].start()


@case("a subscription is acknowledged when all nodes send for it")
def _():
    subscriber, publisher = Wire(cluster[0].port, "prompt"), Wire(cluster[1].port, "prompt-publisher")
    for number in range(200):
        subscriber.subscribe(f"prompt/{number}", 1)
        equal(publisher.published(f"prompt/{number}", b"x", qos=1), 0)
        equal(subscriber.message().topic, f"prompt/{number}")
    leave(subscriber)
    publisher.drop()


KINDS = (("transient", 0), ("kept", 3600))


def members_of(group, qos, nodes=None, kinds=KINDS):
    """Two at each node: one whose session ends with its connection, and one whose session is kept."""
    made = []
    for node in nodes or cluster.nodes:
        for kind, expiry in kinds:
            client = Wire(node.port, f"{group}-{kind}-{node.number}", clean=True, expiry=expiry)
            equal(client.subscribe(f"$share/{group}/{group}/#", qos), qos)
            made.append(client)
    return made


def received_by_all(members, ends, end):
    """What has come to the members when each has seen so many ends, which end() publishes to end/NUMBER. What their
    partitions deliver may come behind that."""
    for number, member in enumerate(members):
        member.subscribe(f"end/{number}", 0)
    end()
    came = []
    for member in members:
        left = ends
        while left:
            message = member.message(timeout=PATIENCE_S)
            if message.topic.startswith("end/"):
                left -= 1
            else:
                came.append(message.payload.decode())
    return came


def receive_until(members, came, enough):
    """More, until that is enough: to whom it comes nobody knows."""
    while not enough(came):
        for member in members:
            try:
                came.append(member.message(timeout=0.02).payload.decode())
            except Nothing:
                pass
    return came


@case("a message for a $share group goes to one member, whichever nodes they and the publisher are at")
def _():
    everywhere = [(f"team{qos}", qos, cluster.nodes, KINDS) for qos in (0, 1, 2)]
    away = [(f"away-{kind[0]}{qos}", qos, [cluster[1]], [kind]) for kind in KINDS for qos in (0, 1, 2)]
    for group, qos, nodes, kinds in everywhere + away:
        members = members_of(group, qos, nodes, kinds)
        publishers = [Wire(node.port, f"{group}-publisher-{node.number}", clean=True, expiry=0) for node in cluster.nodes]
        sent = []
        for number in range(60):
            publisher = publishers[number % len(publishers)]
            sent.append(f"{number:03}")
            if qos:
                equal(publisher.published(f"{group}/{number}", sent[-1], qos=qos), 0, f"{group}: somebody subscribes")
            else:
                publisher.publish(f"{group}/{number}", sent[-1])

        def end(publishers=publishers, count=len(members)):
            # Behind what each publisher has sent, on the way that it took.
            for publisher in publishers:
                for number in range(count):
                    publisher.publish(f"end/{number}", "end")

        came = received_by_all(members, len(publishers), end)
        if qos:
            receive_until(members, came, lambda came, count=len(sent): len(came) >= count)
        equal(sorted(came), sent, group)
        for each in members:
            each.disconnect()
        for each in publishers:
            each.drop()


@case("a member's node is killed, and the others of its $share group get the rest")
def _():
    members = members_of("crew", 1)
    publisher = Wire(cluster[0].port, "crew-publisher", clean=True, expiry=0)
    cluster[2].kill()
    alive = members[:4]
    sent = []
    for number in range(40):
        sent.append(f"{number:03}")
        equal(publisher.published("crew/x", sent[-1], qos=1), 0)
    back = Wire(cluster[1].port, "crew-kept-2", timeout=PATIENCE_S)
    holds(back.session_present, "the session that was kept at the node")
    # What was on its way to the node that died comes to others, at QoS 1 perhaps twice.
    receive_until(alive + [back], [], lambda came: set(came) == set(sent))
    for each in alive + [back]:
        each.disconnect()
    publisher.drop()
    cluster[2].start()


@case("a shared subscription is acknowledged when all nodes know of it")
def _():
    member = Wire(cluster[1].port, "prompt-member", clean=True, expiry=0)
    publishers = [Wire(cluster[number].port, f"prompt-shared-{number}", clean=True, expiry=0) for number in (0, 2)]
    for number in range(100):
        member.subscribe(f"$share/prompt/shared/{number}", 1)
        equal(publishers[number % 2].published(f"shared/{number}", b"x", qos=1), 0)
        equal(member.message().topic, f"shared/{number}")
        if number % 3 == 0:
            equal(member.unsubscribe(f"$share/prompt/shared/{number}"), 0)
            equal(publishers[number % 2].published(f"shared/{number}", b"x", qos=1), 0x10, "nobody any more")
    for each in [member] + publishers:
        each.drop()


@case("without most nodes clients without a session are served on, sessions are not, and all come back")
def _():
    transient_sub = Wire(cluster[0].port, "lonely-sub", clean=True, expiry=0)
    transient_sub.subscribe("lonely", 0)
    transient_pub = Wire(cluster[0].port, "lonely-pub", clean=True, expiry=0)
    durable = Wire(cluster[0].port, "lonely-durable")
    durable.subscribe("lonely-durable", 1)
    far = Wire(cluster[1].port, "lonely-far", clean=True, expiry=0)
    far.subscribe("lonely-far", 1)
    cluster[1].kill()
    far.drop()
    cluster[2].kill()
    in_doubt = transient_pub.publish("lonely-far", b"who had subscribed has died", qos=1)
    holds(durable.closed() is not None, "the session's connection is closed with a reason")
    equal(transient_pub.wait_for(PUBACK, in_doubt).reasons[0], 0)
    transient_pub.publish("lonely", b"still here", qos=0)
    equal(transient_sub.message().payload, b"still here")
    newcomer = Wire(cluster[0].port, "lonely-newcomer", clean=True, expiry=0)
    holds("nothing is kept" in str(newcomer.connack.properties), "CONNACK says that the broker is degraded")
    newcomer.publish("lonely", b"me too", qos=0)
    equal(transient_sub.message().payload, b"me too")
    equal(newcomer.subscribe("lonely-new", 1), 1, "only those nodes are waited for that can be reached")
    equal(newcomer.published("lonely-new", b"to myself", qos=1), 0)
    equal(newcomer.message().payload, b"to myself")
    newcomer.published("lonely-far", b"nobody can say that it is gone", qos=1)
    refused = Wire(cluster[0].port, "lonely-refused", expect=0x88)
    refused.drop()
    eventually(lambda: "degraded" in cluster[0].readyz()[1], "readiness says so")
    cluster[1].start()
    eventually(lambda: cluster[0].readyz() == (200, "ready"), "whole again")
    back = insist(cluster[0], "lonely-durable")
    holds(back.session_present, "the session is there")
    publisher = insist(cluster[1], "lonely-publisher", clean=True, expiry=0)
    equal(publisher.published("lonely-durable", b"again", qos=1), 0)
    equal(back.message().payload, b"again")
    for each in (transient_sub, transient_pub, newcomer, publisher):
        each.drop()
    leave(back)
    cluster[2].start()


@case("with cluster.serve_without_quorum: no nobody is served without most nodes")
def _():
    pair = LocalCluster(2, ("--set", "cluster.serve_without_quorum=no", "--set", "cluster.replicas=2"))
    transient = Wire(pair[0].port, "strict", clean=True, expiry=0)
    transient.subscribe("strict", 0)
    pair[1].kill()
    holds(transient.closed() is not None, "the connection is closed with a reason")
    Wire(pair[0].port, "strict-refused", clean=True, expiry=0, expect=0x88).drop()
    eventually(lambda: pair[0].readyz()[0] == 503, "readiness is refused")
    pair[1].start()
    eventually(lambda: pair[0].readyz() == (200, "ready"), "whole again")
    insist(pair[0], "strict", clean=True, expiry=0).drop()
    for node in pair.nodes:
        node.kill()


@case("a node that comes back at once, again and again, misses nothing")
def _():
    for _ in range(6):
        cluster[0].kill()
        cluster[0].start()
        subscribers = [Wire(node.port, f"again-{node.number}", clean=True, expiry=0) for node in cluster.nodes]
        for each in subscribers:
            each.subscribe("again/#", 1)
        publishers = [Wire(node.port, f"again-pub-{node.number}", clean=True, expiry=0) for node in cluster.nodes]
        for node, publisher in zip(cluster.nodes, publishers):
            equal(publisher.published(f"again/{node.number}", b"x", qos=1), 0)
        for each in subscribers:
            equal(sorted(each.message().topic for _ in cluster.nodes),
                  [f"again/{node.number}" for node in cluster.nodes])
        for each in subscribers + publishers:
            each.drop()


@case("a node that is told to stop leaves nothing behind, and comes back")
def _():
    keeper = Wire(cluster[1].port, "stopper")
    keeper.subscribe("stops", 1)
    leave(keeper)
    keepers = [Wire(cluster[0].port, f"stays-{i}") for i in range(16)]  # In most partitions there is one.
    for i, one in enumerate(keepers):
        one.subscribe(f"stays/{i}", 1)
    publisher = Wire(cluster[0].port, "stops-publisher", timeout=PATIENCE_S)
    equal(cluster[1].terminate(), 0, "exit status")
    begun = time.monotonic()
    for i in range(16):
        equal(publisher.published(f"stays/{i}", b"at once", qos=1), 0)
    took = time.monotonic() - begun
    holds(took < LEASE_S * SLOWDOWN, f"what it led was there again only after {took:.1f} s, as if it had died")
    for one in keepers:
        equal(one.message().payload, b"at once")
        leave(one)
    equal(publisher.published("stops", b"meanwhile", qos=1), 0)
    publisher.drop()
    cluster[1].start()
    back = insist(cluster[1], "stopper")
    equal(back.message().payload, b"meanwhile")
    leave(back)


@case("a node that still looks for its cluster ends as soon as it is told to")
def _():
    port, http, own, nobody = free_ports(4)
    alone = Node(3, (port, http), [f"127.0.0.1:{nobody}"] * 3 + [f"127.0.0.1:{own}"], 3, [])
    alone.spawn()
    alone.log.wait_for("store opened")
    begun = time.monotonic()
    equal(alone.terminate(), 0, "exit status")
    took = time.monotonic() - begun
    holds(took < 5 * SLOWDOWN, f"it ended after {took:.1f} s, as if it had clients to tell")


if __name__ == "__main__":
    main()
