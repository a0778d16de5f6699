#!/usr/bin/env python3
"""SIGTERM and SIGUSR1: clients are sent away some at a time, and what was acknowledged stays."""

import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, Broker, Process, case, equal, holds, main, run  # noqa: E402
from mqtt_wire import Client, Closed  # noqa: E402

MQTTCTL = Path(MQTTD_BIN).with_name("mqttctl")
SLOW = ("--set", "drain.rate=1", "--set", "drain.timeout=1h")  # As good as never.


def clients(broker, count, version=5):
    return [Client(broker.port, f"client-{version}-{number}", version=version) for number in range(count)]


def told(client, code=0x8B):
    """Its DISCONNECT, after which the connection ends."""
    goodbye = client.closed()
    equal(goodbye.reasons[0], code, "DISCONNECT")
    client.drop()
    return goodbye


@case("SIGTERM: /readyz says no, then clients are closed at the rate, then the process ends")
def _():
    with Broker("--set", "drain.rate=10") as broker:
        all_of_them = clients(broker, 20)
        broker.process.signal(signal.SIGTERM)
        broker.log.wait_for(r"telling clients to go.*connections=20.*within=2s")
        for client in all_of_them:
            told(client)
        broker.log.wait_for(r'still draining connections=')
        broker.log.wait_for(r"drained took=(1\.|2)")
        equal(broker.process.wait(), 0, "exit status")


@case("SIGTERM: as long as drain.delay goes on clients may come, and /readyz says they should not")
def _():
    with Broker("--set", "drain.delay=1h") as broker:
        equal(broker.get("/readyz"), (200, "ready\n"), "/readyz")
        broker.process.signal(signal.SIGTERM)
        broker.log.wait_for("draining connections=0")
        equal(broker.get("/readyz"), (503, "draining: 0 connections left\n"), "/readyz")
        equal(broker.metric("mqttd_draining"), 1, "mqttd_draining")
        clients(broker, 1)
        equal(broker.get("/healthz")[0], 200, "/healthz")
        broker.process.signal(signal.SIGTERM)
        equal(broker.process.wait(), 0, "exit status")


@case("a second SIGTERM ends it at once: everyone is told, nobody is waited for")
def _():
    with Broker(*SLOW, "--set", "broker.linger_timeout=1h", "--set", "broker.shutdown_timeout=1h") as broker:
        all_of_them = clients(broker, 20)
        broker.process.signal(signal.SIGTERM)
        broker.log.wait_for("telling clients to go")
        while not broker.metric("mqttd_drain_connections_left"):  # Until the shards have begun.
            holds(broker.process.running(), broker.log.text())
        broker.process.signal(signal.SIGTERM)
        equal(broker.process.wait(), 0, "exit status")
        for client in all_of_them:
            told(client)


@case("5.0 clients are told where to go, and whether for good")
def _():
    for move, code in (("for_now", 0x9C), ("for_good", 0x9D)):
        with Broker("--set", "drain.server_reference=b:1883", "--set", f"drain.move={move}") as broker:
            new, old = clients(broker, 1)[0], clients(broker, 1, version=4)[0]
            broker.process.signal(signal.SIGTERM)
            equal(told(new, code).properties["server_reference"], "b:1883", "Server Reference")
            equal(old.closed(), None, "DISCONNECT for 3.1.1")
            old.drop()
            equal(broker.process.wait(), 0, "exit status")


@case("mqttctl drain sends the clients away, says how far it is, and leaves the process to SIGTERM")
def _():
    with Broker("--set", "drain.rate=10") as broker:
        all_of_them = clients(broker, 5)
        drain = Process([MQTTCTL, "drain", "--pid", broker.pid, "--url", f"http://{broker.http}"])
        for client in all_of_them:
            told(client)
        equal(drain.wait(), 0, "exit status of mqttctl")
        holds(drain.out.text().endswith("drained"), drain.out.text())
        equal(broker.get("/readyz"), (503, "drained\n"), "/readyz")
        equal(broker.metric("mqttd_connections"), 0, "connections")
        with socket.socket() as late:
            holds(late.connect_ex(("127.0.0.1", broker.port)) != 0, "it accepts")
        equal(broker.terminate(), 0, "exit status")


@case("mqttctl drain does not signal what is not mqttd")
def _():
    bystander = Process(["sleep", "1000"])
    refused = run(MQTTCTL, "drain", "--pid", bystander.pid, status=1)
    equal(refused.err.text(), f"Error: process {bystander.pid} is sleep, not mqttd", "words")
    holds(bystander.running(), "it was signalled")
    bystander.kill()


@case("what was acknowledged is there after a drain that was cut short, and who is still there is served")
def _():
    with Broker(*SLOW) as broker:
        keeper = Client(broker.port, "keeper")
        keeper.subscribe("t", 2)
        keeper.drop()
        stored = []
        for number, cut_short in enumerate((broker.process.kill, lambda: broker.process.signal(signal.SIGTERM))):
            publishers = clients(broker, 20)
            broker.process.signal(signal.SIGTERM)
            broker.log.wait_for("telling clients to go")
            served = [f"{number}".encode() for publisher in publishers if is_served(publisher, f"{number}")]
            holds(served, "nobody who is not told yet is served")
            stored += served
            cut_short()
            broker.process.wait()
            broker.start()
        keeper = Client(broker.port, "keeper")
        holds(keeper.session_present, "the session")
        equal([keeper.message().payload for _ in stored], stored, "messages")
        keeper.nothing_comes()


def is_served(publisher, payload):
    try:
        return publisher.published("t", payload, qos=2) == 0
    except (AssertionError, Closed, OSError):
        return False


main()
