#!/usr/bin/env python3
"""PROXY protocol, versions 1 and 2: who a proxy says it speaks for, over TCP, TLS and WebSocket."""

import socket
import ssl
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import (Broker, Certificates, Wire, case, connect_packet, equal, holds, main, publish_packet,  # noqa: E402
                 run, scratch, subscribe_packet, write)

certificates = Certificates()
passwords = scratch("passwords")
run("mosquitto_passwd", "-c", "-b", passwords, "alice", "wonderland")
acl = write("acl", "user sensor-7\ntopic readwrite own/#\n")
broker = Broker(config=f"""\
data_dir: {{data}}
tls:
  cert_file: {certificates.server}
  key_file: {certificates.server_key}
auth:
  password_file: {passwords}
listeners:
  - url: mqtt://127.0.0.1:0
    proxy_protocol: true
  - url: mqtts://127.0.0.1:0
    proxy_protocol: true
  - url: ws://127.0.0.1:0/mqtt
    proxy_protocol: true
  - url: mqtt://127.0.0.1:0
    proxy_protocol: true
    use_identity_as_username: cn
    acl_file: {acl}
""")
PLAIN, SECURE, WEB, IDENTITY = broker.ports

trusting = ssl.create_default_context(cafile=certificates.ca)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version2(source="192.0.2.10", destination="198.51.100.1", source_port=56324, fields=b"", command=1):
    if source is None:
        family, addresses = 0x00, b""
    elif ":" in source:
        family = 0x21
        addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    else:
        family, addresses = 0x11, socket.inet_aton(source) + socket.inet_aton(destination)
    if addresses:
        addresses += struct.pack(">HH", source_port, 8883)
    body = addresses + fields
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


def field(kind, value):
    return bytes([kind]) + struct.pack(">H", len(value)) + value


def connack(port, header, user, password=b"x", context=None):
    """The Reason Code with which the broker answers behind that header; the connection is closed."""
    with Wire(port, context=context, prefix=header) as wire:
        wire.send(connect_packet("c", user=user, password=password))
        first, body = wire.packet()
        equal(first, 0x20, "packet type")
        return body[1]


def refused_address(port, header, context=None):
    """The address that the log has for a client with a wrong password."""
    seen = len(broker.log)
    equal(connack(port, header, "alice", b"wrong", context), 0x86, "Reason Code")
    return broker.log.wait_for(r"connection refused .*address=\"?([^ \"]+)", after=seen).group(1).decode()


HEADERS = (
    ("version 1, IPv4", b"PROXY TCP4 192.0.2.10 198.51.100.1 56324 8883\r\n", "192.0.2.10"),
    ("version 1, IPv6", b"PROXY TCP6 2001:db8::10 2001:db8::1 56324 8883\r\n", "2001:db8::10"),
    ("version 1, UNKNOWN", b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ("version 2, IPv4", version2(), "192.0.2.10"),
    ("version 2, IPv6", version2("2001:db8::10", "2001:db8::1"), "2001:db8::10"),
    ("version 2, LOCAL", version2(None, command=0), "127.0.0.1"),
    ("version 2 with fields", version2(fields=field(0x02, b"mqtt.example.org") + field(0x04, b"\0" * 40)),
     "192.0.2.10"),
)

for name_, header_, address_ in HEADERS:
    @case(f"{name_}: the client is who the header says, over TCP and inside of it TLS")
    def _(header=header_, address=address_):
        equal(refused_address(PLAIN, header), address, "address over TCP")
        equal(connack(PLAIN, header, "alice", b"wonderland"), 0, "right password over TCP")
        equal(refused_address(SECURE, header, trusting), address, "address over TLS")
        equal(connack(SECURE, header, "alice", b"wonderland", trusting), 0, "right password over TLS")


@case("a header that comes byte by byte, and one in the same segment as CONNECT, are both understood")
def _():
    hello = connect_packet("c", user="alice", password=b"wonderland")
    for header in (HEADERS[0][1], HEADERS[6][1]):
        with Wire(PLAIN) as wire:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + hello:
                wire.send(bytes([byte]))
            equal(wire.packet(), (0x20, wire_answer()), "CONNACK")
        with Wire(PLAIN) as wire:
            wire.send(header + hello + b"\xc0\0")
            equal(wire.packet()[0], 0x20, "packet type")
            equal(wire.packet()[0], 0xD0, "answer to PINGREQ")


def wire_answer():
    """The body of the CONNACK that this broker gives a client with the right password."""
    with Wire(PLAIN, prefix=HEADERS[0][1]) as wire:
        wire.send(connect_packet("c", user="alice", password=b"wonderland"))
        return wire.packet()[1]


@case("without a header, or with a broken one, the connection is closed and nothing is answered")
def _():
    hello = connect_packet("c", user="alice", password=b"wonderland")
    broken = SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12
    for start in (b"", b"PROXY TCP4 192.0.2.10 198.51.100.1 56324 99999\r\n", b"PROXY TCP4 192.0.2.10\r\n",
                  b"PROXY TCP4 192.0.2.999 198.51.100.1 1 2\r\n", b"proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
                  b"PROXY TCP4 " + b" " * 200 + b"\r\n", broken, SIGNATURE[:-1] + b"X" + broken[12:]):
        with Wire(PLAIN) as wire:
            wire.send(start + hello)
            equal(wire.packet(), None, f"answer behind {start!r}")
    equal(connack(PLAIN, HEADERS[0][1], "alice", b"wonderland"), 0, "the next client")


@case("over WebSocket the header stands before the upgrade")
def _():
    seen = len(broker.log)
    with Wire(WEB, prefix=version2("203.0.113.9")) as wire:
        wire.become_websocket()
        wire.send_in_frame(connect_packet("c", user="alice", password=b"wrong"))
        broker.log.wait_for(r"connection refused .*address=203\.0\.113\.9 ", after=seen)


@case("a common name that the proxy has verified is the user name; one it has not is not")
def _():
    def ssl_field(client, verify, name):
        return field(0x20, bytes([client]) + struct.pack(">I", verify) + field(0x21, b"TLSv1.3") + field(0x22, name))

    with Wire(IDENTITY, prefix=version2(fields=ssl_field(0b111, 0, b"sensor-7"))) as wire:
        wire.send(connect_packet("s7"))
        equal(wire.packet()[1][1], 0, "Reason Code")
        wire.send(subscribe_packet(1, "own/#", 1))
        equal(wire.packet()[1][-1], 1, "granted by the rules of sensor-7")
        wire.send(subscribe_packet(2, "other/#", 1))
        equal(wire.packet()[1][-1], 0x87, "not granted")
        wire.send(publish_packet("own/x", b"mine", 0))
        holds(wire.packet()[1].endswith(b"mine"), "own message")
    for header in (version2(fields=ssl_field(0b111, 1, b"sensor-7")), version2(fields=ssl_field(0b001, 0, b"sensor-7")),
                   version2(), b"PROXY TCP4 192.0.2.10 198.51.100.1 56324 8883\r\n"):
        holds(connack(IDENTITY, header, None, None) in (0x86, 0x87), f"let in behind {header!r}")


main()
