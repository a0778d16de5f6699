#!/usr/bin/env python3
"""Brokers behind HAProxy, with the configuration of deploy/haproxy: who clients are, who gets them.

HAProxy listens on sockets that are opened here, so that the system chooses their ports. "two" has no
room on its disk, so it is not ready.
"""

import re
import shutil
import socket
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import (Broker, Certificates, Process, Skip, Wire, case, connect_packet, equal, holds, main,  # noqa: E402
                 run, scratch, write)
from mqtt_wire import Client, Closed  # noqa: E402

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy" / "haproxy"
SHIPPED = (DEPLOY / "haproxy.cfg").read_text()
CLIENT = "127.0.0.77"  # Where clients come from; HAProxy itself comes from 127.0.0.1.
NAMES = ("mqtt", "mqtts", "wss")

certificates = Certificates()
trusting = ssl.create_default_context(cafile=certificates.ca)
passwords = scratch("passwords")
run("mosquitto_passwd", "-c", "-b", passwords, "alice", "wonderland")


def broker_config(directory, ports, http, more):
    """deploy/haproxy/mqttd.yaml, with what is here."""
    config = (DEPLOY / "mqttd.yaml").read_text()
    for name, port, shipped in zip(NAMES, ports, (1883, 8883, 8084)):
        before, config = config, config.replace(f"{name}://10.0.0.11:{shipped}", f"{name}://127.0.0.1:{port}")
        holds(before != config, f"deploy/haproxy/mqttd.yaml has no {name} listener")
    config = config.replace("10.0.0.11:9883", f"127.0.0.1:{http}")
    config = config.replace("/var/lib/mqttd", str(directory)).replace("/etc/mqttd/passwords", str(passwords))
    config = config.replace("/etc/mqttd/server.crt", str(certificates.server))
    config = config.replace("/etc/mqttd/server.key", str(certificates.server_key))
    holds("10.0.0." not in config and "/etc/" not in config, config)
    return config + more


class BehindHaproxy(Broker):
    """A broker that has the same ports when it comes back."""

    def __init__(self, more=""):
        # Bound and never listening, these keep the ports from others while no broker runs.
        self._reserved = [socket.socket() for _ in (*NAMES, "http")]
        for each in self._reserved:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", 0))
        *ports, http = [each.getsockname()[1] for each in self._reserved]
        super().__init__("--http", f"127.0.0.1:{http}", config=broker_config(scratch("data"), ports, http, more))


class Haproxy:
    def __init__(self, one, two, header="send-proxy-v2"):
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
        self.ports = [each.getsockname()[1] for each in listening]
        config = SHIPPED.replace("send-proxy-v2", header).replace("inter 2s", "inter 200ms")
        for at, shipped in enumerate((1883, 8883, 8084)):
            config = config.replace(f"bind :{shipped}\n", f"bind fd@{listening[at].fileno()}\n")
            for address, broker in (("10.0.0.11", one), ("10.0.0.12", two)):
                config = config.replace(f"{address}:{shipped}\n",
                                        f"127.0.0.1:{broker.ports[at]} port {broker.http.rsplit(':', 1)[1]}\n")
        holds("10.0.0." not in config and "bind :" not in config, config)
        log = "global\n  log stderr format raw local0\n"
        self.process = Process(["haproxy", "-db", "-f", write("haproxy.cfg", log + config)],
                               pass_fds=[each.fileno() for each in listening])
        for each in listening:
            each.close()

    def wait_for(self, server, state, after=0):
        """Until it has seen that of the server, in all three backends."""
        for name in NAMES:
            self.process.err.wait_for(rf"Server {name}/{server} is {state}", after=after)


if not shutil.which("haproxy"):
    print("ok 1 - behind HAProxy # SKIP haproxy is missing: ./dev setup")
    sys.exit(0)

one = BehindHaproxy()
two = BehindHaproxy(more="storage: {min_free_disk_bytes: 1TiB}\n")
haproxy = Haproxy(one, two)


@case("the configuration is HAProxy's as it stands, and the broker's is mqttd's")
def _():
    run("haproxy", "-c", "-f", DEPLOY / "haproxy.cfg")


@case("a broker that is not ready gets no clients")
def _():
    equal(two.get("/readyz")[0], 503, "/readyz of the one without room")
    haproxy.wait_for("two", "DOWN.*code: 503")
    for _ in range(4):
        client = Wire(haproxy.ports[0])
        client.send(connect_packet("c", user="alice", password=b"wonderland"))
        equal(client.packet()[1][1], 0, "Reason Code")
        client.close()
    equal(two.metric("mqttd_connections_opened_total"), 0, "connections to it")


def address_seen(at, port):
    """What the broker's log has of a client with a wrong password that comes over that listener."""
    seen = len(one.log)
    with Wire(port, context=trusting if at else None, source=CLIENT) as wire:
        packet = connect_packet("c", user="alice", password=b"wrong")
        if at == 2:
            wire.become_websocket()
            wire.send_in_frame(packet)
        else:
            wire.send(packet)
        return one.log.wait_for(r"connection refused .*address=\"?([^ \"]+)", after=seen)[1].decode()


for number, transport in enumerate(("TCP", "TLS, passed through", "WebSocket in TLS")):
    @case(f"over {transport} the broker sees the client's address, by version 2 of the PROXY protocol")
    def _(at=number):
        equal(address_seen(at, haproxy.ports[at]), CLIENT, "address")


@case("and by version 1")
def _():
    other = Haproxy(one, two, header="send-proxy")
    other.wait_for("two", "DOWN")
    for at in range(3):
        equal(address_seen(at, other.ports[at]), CLIENT, NAMES[at])
    other.process.kill()


@case("health checks are no clients: they leave no mark in the broker's log or its counters")
def _():
    holds(b"PROXY" not in b"".join(one.log.all()), one.log.text())
    equal(one.metric('mqttd_connections_closed_total{cause="transport_error"}'), 0, "broken connections")


@case("a broker that is started again behind it gets its clients back, with their sessions")
def _():
    with_password = {"user": "alice", "password": "wonderland"}
    client = Client(haproxy.ports[0], "durable", **with_password)
    client.subscribe("house/#", 1)
    seen = len(haproxy.process.err)
    equal(one.terminate(), 0, "exit status")
    holds(client.closed() is not None, "the client is told")
    haproxy.wait_for("one", "DOWN", after=seen)
    try:
        Client(haproxy.ports[0], "meanwhile", **with_password)
    except (Closed, OSError):
        pass
    else:
        raise AssertionError("somebody answered")
    seen = len(haproxy.process.err)
    one.start()
    haproxy.wait_for("one", "UP", after=seen)
    client = Client(haproxy.ports[0], "durable", **with_password)
    holds(client.session_present, "the session")
    publisher = Client(haproxy.ports[0], "publisher", clean=True, **with_password)
    equal(publisher.published("house/door", "open", qos=1), 0, "PUBACK")
    equal(client.message().payload, b"open", "message")


main()
