#!/usr/bin/env python3
"""What leaves a line in the log: who was turned away, where, and why, in words, and not too often."""

import re
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import (MQTTD_BIN, Broker, Certificates, Wire, case, connect_packet, equal, holds, main,  # noqa: E402
                 publish_packet, run, scratch, subscribe_packet, write)

certificates = Certificates()
passwords = scratch("passwords")
run("mosquitto_passwd", "-c", "-b", passwords, "alice", "wonderland")
acl = write("acl", "user alice\ntopic readwrite open/#\n")
broker = Broker(config=f"""\
data_dir: {{data}}
log: {{level: debug}}
mqtt: {{subscriptions_max: 2, output_bytes_max: 4KiB}}
tls: {{cert_file: {certificates.server}, key_file: {certificates.server_key}}}
listeners:
  - {{url: 'mqtt://127.0.0.1:0', name: users, password_file: {passwords}, acl_file: {acl}}}
  - {{url: 'mqtts://127.0.0.1:0', name: secure, allow_anonymous: true}}
  - {{url: 'ws://127.0.0.1:0/mqtt', name: web, allow_anonymous: true}}
  - {{url: 'mqtt://127.0.0.1:0', name: narrow, allow_anonymous: true, connections_max: 1}}
  - {{url: 'mqtt://127.0.0.1:0', name: open, allow_anonymous: true}}
""")
USERS, SECURE, WEB, NARROW, OPEN = broker.ports


def alice(client_id, **rest):
    wire = Wire(USERS)
    wire.send(connect_packet(client_id, user="alice", password="wonderland", **rest))
    equal(wire.packet()[1][1], 0, "CONNACK")
    return wire


class Watched:
    """The lines of the log since it began."""

    def __init__(self):
        self.seen = len(broker.log)

    def line(self, event, wire=None, **fields):
        """The next info line of that event, which has these fields and, if a wire is given, its address."""
        if wire is not None:
            fields.update(address="127.0.0.1", port=wire.socket.getsockname()[1])
        words = "".join(rf'(?=.*\b{key}="?{re.escape(str(value))}' + (r"(?!\d))" if isinstance(value, int) else ")")
                        for key, value in fields.items())
        return self.pattern(rf" info {event} {words}.*")

    def pattern(self, pattern):
        return broker.log.wait_for(pattern, after=self.seen).string.decode()


@case("a wrong password, a missing one, a will and a bound of the listener are told, with who, where and why")
def _():
    log = Watched()
    with Wire(USERS) as wire:
        wire.send(connect_packet("guesser", user="alice", password="guess"))
        equal(wire.packet()[1][1], 0x86, "CONNACK")
        log.line("connection refused", wire, reason="bad user name or password", client="guesser", user="alice",
                 listener="users")
    with Wire(USERS) as wire:
        wire.send(connect_packet("nobody", version=4))
        equal(wire.packet()[1][1], 5, "CONNACK")
        log.line("connection refused", wire, reason="anonymous clients are not allowed", client="nobody")
    with Wire(NARROW) as first:
        first.send(connect_packet("first"))
        equal(first.packet()[1][1], 0, "CONNACK")
        with Wire(NARROW) as second:
            holds(second.closed(), "let in")
            log.line("connection refused", second, reason="the listener has connections_max", listener="mqtt://")


@case("a CONNECT that breaks a rule, and a packet that does later, are told with the rule")
def _():
    log = Watched()
    with Wire(OPEN) as wire:
        wire.send(b"\x10\x0d\0\4MQTT\x05\x03\0\0\0\0\0")  # The reserved flag.
        holds(wire.closed(), "open")
        log.line("connection refused", wire, rule="MQTT-3.1.2-3")
    with Wire(OPEN) as wire:
        wire.send(connect_packet("breaker"))
        wire.packet()
        wire.send(b"\x30\x00")
        holds(wire.closed(), "open")
        log.line("connection closed", wire, client="breaker", reason="it broke a rule of MQTT", rule="MQTT",
                 listener="open")


@case("a PUBLISH and a SUBSCRIBE that the rules or a bound refuse are told with their topic")
def _():
    log = Watched()
    wire = alice("worker")
    wire.send(publish_packet("closed/x", b"", qos=1, packet_id=1))
    equal(wire.packet()[1][2], 0x87, "PUBACK")
    log.line("publish refused", wire, reason="the access rules", topic="closed/x", client="worker", user="alice")
    wire.send(publish_packet("$SYS/x", b"y", qos=1, packet_id=1))
    log.line("publish refused", wire, reason="$SYS", topic="$SYS/x")
    for number, (topic, code) in enumerate((("closed/#", 0x87), ("open/1", 0), ("open/2", 0), ("open/3", 0x97)), 1):
        wire.send(subscribe_packet(number, topic, 0))
        while (packet := wire.packet())[0] != 0x90:
            pass
        equal(packet[1][-1], code, topic)
    log.line("subscription refused", wire, reason="the access rules", filter="closed/#", client="worker")
    log.line("subscription refused", wire, reason="its session has subscriptions_max", filter="open/3")


@case("a takeover is told: whose, and where it was connected")
def _():
    log = Watched()
    first = alice("twice")
    alice("twice").close()
    log.line("connection closed", first, reason="its Client Identifier connected again", client="twice", user="alice")


@case("failures of TLS, WebSocket and HTTP are told with their address")
def _():
    log = Watched()
    with Wire(SECURE) as wire:
        wire.send(connect_packet("plain"))
        holds(wire.closed(), "open")
        log.line("connection failed", wire, listener="secure", error="")
    wire = Wire(SECURE)
    port = wire.socket.getsockname()[1]
    try:  # A client that does not know our authority says so.
        ssl.create_default_context().wrap_socket(wire.socket, server_hostname="localhost")
        raise AssertionError("trusted")
    except ssl.SSLError:
        pass
    log.line("connection failed", listener="secure", port=port, address="127.0.0.1", error="")
    with Wire(WEB) as wire:
        wire.send(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.read_exactly(12)
        log.line("connection failed", wire, listener="web", error="")
    host, port = broker.http.rsplit(":", 1)
    with Wire((host, int(port))) as wire:
        wire.send(b"nonsense\r\n\r\n")
        wire.read_exactly(12)
        own = wire.socket.getsockname()[1]
        log.pattern(rf' info http request refused reason="this is not HTTP" address=127\.0\.0\.1:{own}$')


@case("a long identifier or user name is cut")
def _():
    log = Watched()
    with Wire(USERS) as wire:
        wire.send(connect_packet("i" * 60000, user="alice", password="guess"))
        wire.packet()
        line = log.line("connection refused", wire)
        holds(len(line) < 1000 and ("bytes)" in line or "rule=" in line), line)
    with Wire(USERS) as wire:
        wire.send(connect_packet("i" * 300, user="u" * 5001, password="guess"))
        wire.packet()
        line = log.line("connection refused", wire)
        holds(len(line) < 1000 and "(300 bytes)" in line and "(5001 bytes)" in line, line)


@case("of many alike only some are written, and the others counted: none is lost, others are still told")
def _():
    log = Watched()
    for _ in range(300):
        with Wire(USERS) as wire:
            wire.send(connect_packet("storm", user="alice", password="guess"))
            wire.packet()
    with Wire(OPEN) as wire:
        wire.send(b"\x10\x0d\0\4MQTT\x05\x03\0\0\0\0\0")
        holds(wire.closed(), "open")
        log.line("connection refused", wire, rule="MQTT-3.1.2-3")

    def counted(lines):
        alike = [line for line in lines[log.seen:] if b'reason="bad user name or password"' in line]
        told = sum(b"client=storm" in line for line in alike)
        left_out = sum(int(match.group(1)) for line in alike if (match := re.search(rb"left_out=(\d+)", line)))
        return told + left_out >= 300 and told

    holds(broker.log.wait(counted, "all 300 in lines and counts") < 150, "too many lines")


@case("at debug a message that is dropped is named, with its cause and whose it was")
def _():
    log = Watched()
    slow = Wire(OPEN)
    slow.send(connect_packet("slow"))
    slow.packet()
    slow.send(subscribe_packet(1, "flood", 0))
    slow.packet()
    with Wire(OPEN) as fast:
        fast.send(connect_packet("fast"))
        fast.packet()
        while not broker.metric('mqttd_messages_dropped_total{cause="output_full"}'):
            for _ in range(50):
                fast.send(publish_packet("flood", b"x" * 60000))
    log.pattern(" debug message dropped reason=output_full client=slow topic=flood$")
    slow.close()


@case("what a person reads has no names of codes")
def _():
    said = run(MQTTD_BIN, "--listen", f"mqtt://127.0.0.1:{OPEN}", "--data-dir", scratch("data"), "--http", "off",
               status=1).err.text()
    holds("another process listens there" in said, said)
    for text in (said, broker.log.text()):
        found = re.search(r"\b(ALREADY_EXISTS|INVALID_ARGUMENT|NOT_FOUND|UNAVAILABLE|RESOURCE_EXHAUSTED|DATA_LOSS|"
                          r"FAILED_PRECONDITION|PERMISSION_DENIED|INTERNAL|ABORTED): ", text)
        holds(found is None, found and found.group())


main()
