#!/usr/bin/env python3
"""More than the broker can take, or may: what happens at the bounds, to whom, and where it is counted."""

import os
import socket
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import e2e  # noqa: E402
from e2e import (Broker, Wire, case, connect_packet, equal, holds, main, publish_packet, run,  # noqa: E402
                 scratch, subscribe_packet, write)

SUBSCRIBERS = 500
MESSAGES = 400
PAYLOAD = b"x" * 4096


def client(broker, client_id, **rest):
    wire = Wire(broker.port)
    wire.send(connect_packet(client_id, **rest))
    first, body = wire.packet()
    equal((first, body[1]), (0x20, 0), f"CONNACK of {client_id}")
    return wire


def subscribed(broker, client_id, topic, qos=1):
    wire = client(broker, client_id)
    wire.send(subscribe_packet(1, topic, qos))
    equal(wire.packet()[1][-1], qos, "SUBACK")
    return wire


def acknowledge(wire, body):
    """PUBACK for a PUBLISH of QoS 1 to topic "t"."""
    wire.send(b"\x40\x02" + body[3:5])


def published(wire, packet_id):
    wire.send(publish_packet("t", PAYLOAD, qos=1, packet_id=packet_id))
    first, body = wire.packet()
    equal((first, body[:2]), (0x40, packet_id.to_bytes(2, "big")), "PUBACK")


@case("one of 500 subscribers never reads: the others get everything, and its share is bounded and counted")
def deaf_subscriber():
    bounds = ["--set", "mqtt.output_bytes_max=64KiB", "--set", "mqtt.queue_messages_max=50"]
    with Broker(*bounds) as broker:
        deaf = client(broker, "deaf")
        deaf.socket.setsockopt(e2e.socket.SOL_SOCKET, e2e.socket.SO_RCVBUF, 4096)
        deaf.send(subscribe_packet(1, "t", 1))
        readers = [subscribed(broker, f"reader-{i}", "t") for i in range(SUBSCRIBERS - 1)]
        publisher = client(broker, "publisher")
        published_count = 0
        dropped = 'mqttd_messages_dropped_total{cause="queue_full"}'
        # Until it is plainly full, whatever the kernel holds for it.
        while published_count < MESSAGES or broker.metric(dropped) < 20:
            holds(published_count < 100 * MESSAGES, "too little is ever dropped")
            batch = readers if published_count < MESSAGES else readers[:0]
            published(publisher, published_count % 65535 + 1)
            published_count += 1
            for reader in batch:
                first, body = reader.packet()
                equal((first & 0x36, body[6:]), (0x32, PAYLOAD), "PUBLISH")
                acknowledge(reader, body)
            if published_count == MESSAGES:
                for reader in readers:
                    reader.close()
        queued = broker.metric("mqttd_queued_messages")
        holds(queued <= 50, f"{queued} messages are queued")
        output = broker.metric("mqttd_output_bytes")
        holds(output <= 64 * 1024 + 2 * len(PAYLOAD), f"{output} bytes wait to be written")
        deaf.close()
        publisher.close()


@case("a user has only so many clients, on whatever listener and shard; one that takes over its own session is let in")
def user_connections():
    passwords = scratch("passwords")
    run("mosquitto_passwd", "-c", "-b", passwords, "alice", "wonderland")
    run("mosquitto_passwd", "-b", passwords, "bob", "builder")
    alice, bob = {"user": "alice", "password": "wonderland"}, {"user": "bob", "password": "builder"}

    def refused(client_id, version, code):
        with Wire(broker.port) as wire:
            wire.send(connect_packet(client_id, version=version, **alice))
            first, body = wire.packet()
            equal((first, body[1]), (0x20, code), f"CONNACK of {client_id}")
            equal(wire.packet(), None, "after it")

    with Broker("--set", f"auth.password_file={passwords}", "--set", "auth.allow_anonymous=true",
                "--set", "mqtt.user_connections_max=4", "--set", "broker.shards=2") as broker:
        wires = [client(broker, f"client-{i}", **alice) for i in range(4)]
        refused("one too many", 5, 0x97)
        refused("one too many", 4, 3)
        equal(broker.metric('mqttd_connections_refused_total{cause="user_connections_max"}'), 2)
        for number in range(4):  # Each takes over its own session, on another shard perhaps.
            again = client(broker, f"client-{number}", **alice)
            equal(wires[number].packet()[0], 0xE0, "DISCONNECT of the one before")
            wires[number].close()
            wires[number] = again
        others = [client(broker, f"other-{i}") for i in range(6)] + [client(broker, "bob", **bob)]
        refused("still too many", 5, 0x97)
        wires.pop().close()
        while broker.metric("mqttd_connections") >= 11:
            pass
        wires.append(client(broker, "in its place", **alice))
        refused("full again", 5, 0x97)
        for wire in wires + others:
            wire.close()


@case("over WebSocket only pages of the named origins may connect, and what is no page")
def websocket_origins():
    def status(*headers):
        with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as page:
            lines = ["GET /mqtt HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
                     "Sec-WebSocket-Protocol: mqtt", *headers, "", ""]
            page.sendall("\r\n".join(lines).encode())
            return int(page.makefile("rb").readline().split()[1])

    with Broker(config="data_dir: {data}\nhttp: {listen: \"127.0.0.1:0\"}\nlisteners:\n  - url: ws://127.0.0.1:0/mqtt\n"
                       "    websocket_origins: https://app.example, https://other.example:8443\n") as broker:
        equal(status("Origin: https://app.example"), 101)
        equal(status("Origin: https://evil.example"), 403)
        equal(status(), 101)
        counted = [line for line in broker.get("/metrics")[1].splitlines() if 'cause="websocket_origins"' in line]
        holds(len(counted) == 1 and counted[0].endswith(" 1"), counted)


@case("the table of descriptors has its size from the start: to grow it, with threads, stops the one that accepts")
def descriptor_table():
    with Broker() as broker:
        allowed = broker.metric("mqttd_process_max_fds")
        with open(f"/proc/{broker.pid}/status", encoding="utf-8") as file:
            size = next(int(line.split()[1]) for line in file if line.startswith("FDSize:"))
        holds(size >= min(allowed, 65_536), f"table of {size} descriptors, of {allowed:.0f} allowed")


@case("connections never take the descriptors that the store needs")
def few_descriptors():
    wrapper = write("few", f'#!/bin/sh\nulimit -n 240\nexec "{os.path.abspath(e2e.MQTTD_BIN)}" "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    real, e2e.MQTTD_BIN = e2e.MQTTD_BIN, str(wrapper)
    try:
        broker = Broker()
    finally:
        e2e.MQTTD_BIN = real
    with broker:
        broker.log.wait_for(r"bounds.*connections_max=180")
        wires = [client(broker, f"client-{i}") for i in range(180)]
        refused = 'mqttd_connections_refused_total{cause="connections_max"}'
        for _ in range(50):
            with Wire(broker.port) as wire:
                wire.send(connect_packet("late"))
                equal(wire.packet(), None, "answer to a connection too many")
        equal(broker.metric(refused), 50)
        # Those who are in are served, the store included.
        wires[0].send(subscribe_packet(1, "t", 1))
        equal(wires[0].packet()[1][-1], 1, "SUBACK")
        wires[1].send(publish_packet("t", PAYLOAD, qos=1, packet_id=1, retain=True))
        equal(wires[1].packet()[1][:2], b"\0\1", "PUBACK of a retained message")
        equal(wires[0].packet()[1][6:], PAYLOAD)
        holds(broker.metric("mqttd_process_open_fds") < 240, "descriptors are left")
        wires.pop().close()
        while broker.metric("mqttd_connections") >= 180:
            pass
        client(broker, "next").close()
        for wire in wires:
            wire.close()


@case("above the memory mark clients are refused with 0x89, and /readyz, $SYS, the log and the metrics say so")
def memory_mark():
    # Less than any process needs: above the mark from the first look on.
    with Broker("--set", "broker.memory_high_bytes=1MiB", "--set", "broker.sys_interval=1s") as broker:
        broker.log.wait_for(r"memory is short.*high_bytes=1048576")
        while broker.metric("mqttd_memory_high") == 0:
            pass
        for version, code in ((5, 0x89), (4, 3)):
            with Wire(broker.port) as wire:
                wire.send(connect_packet("late", version=version))
                first, body = wire.packet()
                equal((first, body[1]), (0x20, code), f"CONNACK of version {version}")
                holds(wire.closed(), "the connection stays open")
        equal(broker.get("/readyz"), (503, "memory is short\n"))
        equal(broker.get("/healthz")[0], 200)
        equal(broker.metric("mqttd_memory_high_bytes"), 1048576)
        equal(broker.metric("mqttd_memory_high_total"), 1)
        equal(broker.metric('mqttd_connections_refused_total{cause="memory"}'), 2)


if __name__ == "__main__":
    main()
