#!/usr/bin/env python3
"""The load generator over every transport: what it measures there is MQTT, and its counts are right."""

import base64
import hashlib
import json
import os
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import PATIENCE_S, Broker, Certificates, case, equal, holds, main, run

MQLOAD_BIN = os.environ.get("MQLOAD_BIN", "build/release/bin/mqload")
TRANSPORTS = ("tcp", "tls", "ws", "wss")

certificates = Certificates()
broker = Broker("--set", f"tls.cert_file={certificates.server}", "--set", f"tls.key_file={certificates.server_key}",
                listen=("mqtt://127.0.0.1:0", "mqtts://127.0.0.1:0", "ws://127.0.0.1:0/mqtt", "wss://127.0.0.1:0/mqtt"))


def mqload(*arguments, transport="tcp", status=0, trusting=True):
    """The JSON lines of a run against the broker's listener of that transport."""
    url = broker.urls[TRANSPORTS.index(transport)]
    trust = ["--ca", certificates.ca] if trusting else []
    return results(*arguments, "--url", url, *trust, "--pid", broker.pid, status=status)


def results(*arguments, status=0):
    process = run(MQLOAD_BIN, *arguments, "--json", status=status)
    return [json.loads(line) for line in process.out.all()], process.err.text()


def over_each_transport(name):
    """A case for each transport; the function gets its name."""
    def add(function):
        for transport in TRANSPORTS:
            case(f"{transport}: {name}")(lambda transport=transport: function(transport))
        return function
    return add


@over_each_transport("all that is published at QoS 0, 1 and 2 arrives once, in either version")
def _(transport):
    for version in (4, 5):
        for qos in (0, 1, 2):
            (result,), _ = mqload("pubsub", "--pubs", 5, "--qos", qos, "--version", version, "--seconds", 0.1, "--warmup",
                                  0.05, "--expect-no-loss", transport=transport)
            equal(result["transport"], transport, "transport")
            holds(result["delivered"] > 0, "nothing was delivered")
            for count in ("lost", "duplicated", "out_of_order", "disconnects", "misrouted", "bad_acks"):
                equal(result[count], 0, count)


@over_each_transport("messages larger than a frame, a record and the socket's buffer arrive whole")
def _(transport):
    (result,), _ = mqload("pubsub", "--pubs", 2, "--qos", 1, "--size", 300_000, "--seconds", 0.1, "--warmup", 0,
                          "--expect-no-loss", transport=transport)
    holds(result["delivered"] > 0, "nothing was delivered")
    equal(result["misrouted"], 0, "misrouted")


@over_each_transport("held connections stay, subscribe and hear what they say")
def _(transport):
    (result,), errors = mqload("connect", "--mode", "hold", "--clients", 100, "--subscribe", "--speak", "--settle", 0.05,
                               "--seconds", 0.05, transport=transport)
    equal((result["connections"], result["failures"], result["lost"]), (100, 0, 0), "connections, failures, lost")
    holds("rss_bytes_per_connection_spoken" in result, "memory after having spoken is missing")
    equal(errors, "", "complaints")


@over_each_transport("connections come and go; durable sessions are found again")
def _(transport):
    (result,), _ = mqload("connect", "--mode", "churn", "--concurrency", 8, "--seconds", 0.2, "--warmup", 0,
                          transport=transport)
    equal(result["failures"], 0, "failures")
    holds(result["connects"] > 0, "nobody connected")
    (result,), _ = mqload("connect", "--mode", "hold", "--clients", 50, "--resume", "--subscribe", "--settle", 0.05,
                          "--seconds", 0.05, transport=transport)
    equal((result["connections"], result["resumed"]), (50, 50), "connections, resumed")


@over_each_transport("durable sessions drain what was queued; the ledger's account is closed")
def _(transport):
    (result,), _ = mqload("sessions", "--clients", 20, "--messages", 10, transport=transport)
    equal((result["delivered"], result["lost"], result["duplicated"]), (200, 0, 0), "delivered, lost, duplicated")
    (result,), _ = mqload("ledger", "--pubs", 3, "--qos", 2, "--seconds", 0.3, "--out", "none", transport=transport)
    equal((result["ok"], result["lost"], result["unresolved"]), (True, 0, 0), "ok, lost, unresolved")


@case("subscribers that never read are kept apart from those that count")
def _():
    (result,), _ = mqload("pubsub", "--topology", "fanout", "--subs", 10, "--deaf", 2, "--qos", 1, "--seconds", 0.2,
                          "--warmup", 0, "--expect-no-loss")
    equal((result["deaf"], result["lost"], result["disconnects"]), (2, 0, 0), "deaf, lost, disconnects")


@case("publishing to a few hot topics among many subscriptions hits the subscriber meant")
def _():
    lines, _ = mqload("subscribe", "--steps", "200,1000", "--clients", 10, "--wildcards", 0.1, "--match", 1, "--hot", 20,
                      "--seconds", 0.1, "--warmup", 0, "--unsubscribe", 0)
    equal([(line["subscriptions"], line["lost"], line["misrouted"]) for line in lines], [(200, 0, 0), (1000, 0, 0)],
          "subscriptions, lost, misrouted")


@case("a certificate that no known authority signed is refused, unless --insecure")
def _():
    _, errors = mqload("pubsub", "--pubs", 1, "--seconds", 0.05, transport="tls", trusting=False, status=2)
    holds("certificate" in errors, f"no word about the certificate: {errors}")
    (result,), _ = mqload("pubsub", "--pubs", 1, "--seconds", 0.05, "--warmup", 0, "--insecure", transport="tls",
                          trusting=False)
    equal(result["lost"], 0, "lost")


@case("a URL that names no broker is an error at once")
def _():
    for url in ("http://127.0.0.1:1883", "mqtt://", "mqtt://127.0.0.1:1883/path"):
        _, errors = results("pubsub", "--url", url, status=2)
        holds(url in errors, f"{url}: {errors}")


class OddServer(threading.Thread):
    """A WebSocket server that sends CONNACK byte by byte in fragments, a Ping between them, and keeps the first frames."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.frames = []
        self.start()

    def run(self):
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE_S)
        stream = connection.makefile("rb")
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += stream.readline()
        key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: " + accept
                           + b"\r\nsec-websocket-protocol: mqtt\r\n\r\n")
        self.frames.append(self.read_frame(stream))
        for byte in (b"\x02\x01\x20", b"\x00\x01\x02", b"\x89\x03abc", b"\x00\x00", b"\x80\x02\x00\x00"):
            for part in byte:
                connection.sendall(bytes([part]))
        self.frames.append(self.read_frame(stream))
        self.frames.append(self.read_frame(stream))
        connection.close()

    @staticmethod
    def read_frame(stream):
        first, second = stream.read(2)
        length = second & 127
        if length == 126:
            length = int.from_bytes(stream.read(2), "big")
        mask = stream.read(4) if second & 128 else None
        payload = stream.read(length)
        if mask:
            payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
        return first, mask is not None, payload


class BadBroker:
    """A server of MQTT 3.1.1 at QoS 1 that keeps no promise. `deliver(number, topic, payload)`: what becomes of the PUBLISH
    of that number, as a list of (topic, payload); `acknowledges(client)`: whose it acknowledges."""

    def __init__(self, deliver=lambda number, topic, payload: [(topic, payload)], acknowledges=lambda client: True):
        self.deliver, self.acknowledges = deliver, acknowledges
        self.subscribers = {}  # By topic.
        self.count = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, connection):
        stream, client = connection.makefile("rb"), None
        while first := stream.read(1):
            length = shift = 0
            while (byte := stream.read(1)[0]) & 128:
                length |= (byte & 127) << shift
                shift += 7
            body = stream.read(length | byte << shift)
            kind = first[0] >> 4
            if kind == 1:
                client = body[12:12 + int.from_bytes(body[10:12], "big")].decode()
                connection.sendall(b"\x20\x02\x00\x00")
            elif kind == 8:
                with self.lock:
                    self.subscribers[body[4:4 + int.from_bytes(body[2:4], "big")]] = connection
                connection.sendall(b"\x90\x03" + body[:2] + b"\x01")
            elif kind == 12:
                connection.sendall(b"\xd0\x00")
            elif kind == 3:
                end = 2 + int.from_bytes(body[:2], "big")
                if self.acknowledges(client):
                    connection.sendall(b"\x40\x02" + body[end:end + 2])
                self.publish(body[2:end], body[end + 2:])

    def publish(self, topic, payload):
        with self.lock:
            self.count += 1
            to = self.subscribers[topic]
            for topic, payload in self.deliver(self.count, topic, payload):
                body = len(topic).to_bytes(2, "big") + topic + self.count.to_bytes(2, "big") + payload
                to.sendall(b"\x32" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body)

    def ledger(self, *arguments, status):
        (result,), _ = results("ledger", "--url", self.url, "--qos", 1, "--out", "none", "--size", 200, *arguments, status=status)
        return result


@case("the ledger sees whatever a broker may do to a message")
def _():
    swapped = []

    def swap(number, topic, payload):
        if number == 5:
            swapped.append((topic, payload))
            return []
        return [(topic, payload), *swapped] if number == 6 else [(topic, payload)]

    def only_5(change):
        return lambda number, topic, payload: change(topic, payload) if number == 5 else [(topic, payload)]

    bad = {
        "nothing": (lambda number, topic, payload: [(topic, payload)], {}),
        "lost": (only_5(lambda topic, payload: []), {"lost": 1}),
        "cut": (only_5(lambda topic, payload: [(topic, payload[:150])]), {"damaged": 1, "lost": 1}),
        "changed": (only_5(lambda topic, payload: [(topic, payload[:-1] + b"x")]), {"damaged": 1, "lost": 1}),
        "renamed": (only_5(lambda topic, payload: [(topic[:-1] + b"9", payload)]), {"damaged": 1, "lost": 1}),
        "another's": (only_5(lambda topic, payload: [(topic, b"y" * 200)]), {"foreign": 1, "lost": 1}),
        "swapped": (swap, {"out_of_order": 1}),
    }
    for name, (deliver, faults) in bad.items():
        result = BadBroker(deliver).ledger("--pubs", 1, "--copies", 1, "--rate", 100, "--seconds", 0.2, "--drain", 1,
                                           status=3 if faults else 0)
        seen = {key: result[key] for key in ("lost", "damaged", "foreign", "unknown", "duplicated", "out_of_order") if result[key]}
        equal((seen, result["ok"]), (faults, not faults), name)


@case("the ledger's longest gap is that of the client that waits, and an account of nothing is not in order")
def _():
    result = BadBroker(acknowledges=lambda client: client.endswith("1")).ledger("--pubs", 2, "--seconds", 1.5, "--drain", 0.1,
                                                                                status=0)
    holds(1400 <= result["longest_ack_gap_ms"], f"a publisher waited all the time: {result['longest_ack_gap_ms']} ms")
    result = BadBroker(acknowledges=lambda client: False).ledger("--seconds", 0.2, "--drain", 0.1, status=3)
    equal((result["acked"], result["ok"]), (0, False), "acknowledged, ok")


@case("WebSocket: frames are masked, fragments are joined, a Ping is answered between them")
def _():
    server = OddServer()
    run(MQLOAD_BIN, "connect", "--mode", "hold", "--clients", 1, "--subscribe", "--settle", 0, "--seconds", 0, "--url",
        f"ws://127.0.0.1:{server.port}/mqtt", status=None)
    server.join(PATIENCE_S)
    connect, pong, subscribe = server.frames
    equal(connect[:2], (0x82, True), "first frame: binary, masked")
    equal(connect[2][:8], b"\x10" + connect[2][1:2] + b"\x00\x04MQTT", "CONNECT")
    equal(pong, (0x8A, True, b"abc"), "answer to the Ping")
    equal((subscribe[:2], subscribe[2][0]), ((0x82, True), 0x82), "SUBSCRIBE, after CONNACK was read")


if __name__ == "__main__":
    main()
