"""MQTT 3.1.1 and 5.0 packet by packet: a client that does nothing of its own accord.

Tests of what a broker keeps need a client that can leave a handshake unfinished, repeat a packet, or
fall silent; client libraries finish what they began.
"""

import collections
import contextlib
import select
import socket
import struct
import time

from e2e import SLOWDOWN

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14

NAMES = ["?", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
         "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"]

# Properties that the tests use: name -> (identifier, kind).
PROPERTIES = {
    "message_expiry_interval": (0x02, "u32"),
    "session_expiry_interval": (0x11, "u32"),
    "assigned_client_identifier": (0x12, "str"),
    "server_keep_alive": (0x13, "u16"),
    "will_delay_interval": (0x18, "u32"),
    "server_reference": (0x1C, "str"),
    "reason_string": (0x1F, "str"),
    "receive_maximum": (0x21, "u16"),
    "topic_alias_maximum": (0x22, "u16"),
    "topic_alias": (0x23, "u16"),
    "maximum_qos": (0x24, "u8"),
    "retain_available": (0x25, "u8"),
    "user_property": (0x26, "pair"),
    "maximum_packet_size": (0x27, "u32"),
    "wildcard_subscription_available": (0x28, "u8"),
    "subscription_identifier_available": (0x29, "u8"),
    "shared_subscription_available": (0x2A, "u8"),
}
PROPERTY_NAMES = {number: (name, kind) for name, (number, kind) in PROPERTIES.items()}
SIZES = {"u8": ">B", "u16": ">H", "u32": ">I"}


class Closed(Exception):
    """The broker closed the connection, or refused it."""


class Nothing(Exception):
    """Nothing came in time."""


Packet = collections.namedtuple(
    "Packet", "kind flags id topic payload reasons properties session_present")


def _string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">H", len(data)) + data


def _varint(number):
    out = bytearray()
    while True:
        number, digit = number >> 7, number & 0x7F
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _properties(values):
    body = b""
    for name, value in (values or {}).items():
        number, kind = PROPERTIES[name]
        body += bytes([number])
        body += _string(value) if kind == "str" else struct.pack(SIZES[kind], value)
    return _varint(len(body)) + body


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at:self.at + count]
        assert len(piece) == count, "packet ends early"
        self.at += count
        return piece

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self):
        return self.take(self.number(">H")).decode()

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def left(self):
        return len(self.data) - self.at

    def properties(self):
        end = self.varint() + self.at
        found = {}
        while self.at < end:
            name, kind = PROPERTY_NAMES[self.varint()]
            if kind == "pair":
                found.setdefault(name, []).append((self.string(), self.string()))
            else:
                found[name] = self.string() if kind == "str" else self.number(SIZES[kind])
        return found


class Client:
    """One network connection. `receive` waits; sending does not."""

    def __init__(self, port, client_id, *, version=5, clean=False, expiry=3600, keep_alive=600,
                 will=None, properties=None, user=None, password=None, timeout=10.0 * SLOWDOWN, expect=0,
                 host="127.0.0.1"):
        self.version, self.timeout = version, timeout
        self._buffer = bytearray()
        self._gathered = None
        self._waiting = collections.deque()
        self._next_id = 0
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        flags = 0x02 if clean else 0
        body = _string(client_id)
        if will:
            flags |= 0x04 | will.get("qos", 0) << 3 | (0x20 if will.get("retain") else 0)
            if version == 5:
                body += _properties(will.get("properties"))
            body += _string(will["topic"]) + _string(will["payload"])
        if user is not None:
            flags |= 0x80
            body += _string(user)
        if password is not None:
            flags |= 0x40
            body += _string(password)
        head = _string("MQTT") + bytes([version, flags]) + struct.pack(">H", keep_alive)
        if version == 5:
            wanted = {"session_expiry_interval": expiry} if expiry else {}
            head += _properties({**wanted, **(properties or {})})
        self._send(CONNECT << 4, head + body)
        try:
            self.connack = self.receive(CONNACK)
        except Exception:
            self.drop()  # Nobody has it.
            raise
        self.session_present = self.connack.session_present
        if expect is not None:
            got = self.connack.reasons[0]
            assert got == expect, f"CONNACK {got:#x}, not {expect:#x}"

    # ---- sending

    def new_id(self):
        self._next_id = self._next_id % 0xffff + 1
        return self._next_id

    def _send(self, first, body):
        packet = bytes([first]) + _varint(len(body)) + body
        if self._gathered is not None:
            self._gathered += packet
        else:
            self.socket.sendall(packet)

    @contextlib.contextmanager
    def one_segment(self):
        """What is sent inside leaves at once, at the end."""
        self._gathered = b""
        yield
        gathered, self._gathered = self._gathered, None
        self.socket.sendall(gathered)

    def publish(self, topic, payload, *, qos=0, id=None, dup=False, retain=False, properties=None):
        """The packet identifier used."""
        if qos and id is None:
            id = self.new_id()
        body = _string(topic) + (struct.pack(">H", id) if qos else b"")
        if self.version == 5:
            body += _properties(properties)
        payload = payload.encode() if isinstance(payload, str) else payload
        first = PUBLISH << 4 | (8 if dup else 0) | qos << 1 | (1 if retain else 0)
        self._send(first, body + payload)
        return id

    def acknowledge(self, kind, id):
        self._send(kind << 4 | (2 if kind == PUBREL else 0), struct.pack(">H", id))

    def send_subscribe(self, topic_filter, qos=2):
        """The packet identifier used."""
        id = self.new_id()
        body = struct.pack(">H", id) + (b"\0" if self.version == 5 else b"")
        self._send(SUBSCRIBE << 4 | 2, body + _string(topic_filter) + bytes([qos]))
        return id

    def subscribe(self, topic_filter, qos=2):
        """The SUBACK's reason code."""
        return self.wait_for(SUBACK, self.send_subscribe(topic_filter, qos)).reasons[0]

    def send_unsubscribe(self, topic_filter):
        """The packet identifier used."""
        id = self.new_id()
        body = struct.pack(">H", id) + (b"\0" if self.version == 5 else b"")
        self._send(UNSUBSCRIBE << 4 | 2, body + _string(topic_filter))
        return id

    def unsubscribe(self, topic_filter):
        """The UNSUBACK's reason code; 0 in 3.1.1, which has none."""
        reasons = self.wait_for(UNSUBACK, self.send_unsubscribe(topic_filter)).reasons
        return reasons[0] if reasons else 0

    def ping(self):
        self._send(PINGREQ << 4, b"")

    def published(self, topic, payload, *, qos=1, **rest):
        """Publishes and finishes the handshake; the reason code of its first answer."""
        id = self.publish(topic, payload, qos=qos, **rest)
        answer = self.wait_for(PUBACK if qos == 1 else PUBREC, id)
        if qos == 2 and answer.reasons[0] < 0x80:
            self.acknowledge(PUBREL, id)
            self.wait_for(PUBCOMP, id)
        return answer.reasons[0]

    def disconnect(self):
        try:
            self._send(DISCONNECT << 4, b"")
        except OSError:
            pass
        self.drop()

    def drop(self):
        self.socket.close()

    # ---- receiving

    def receive(self, kind=None, timeout=None):
        """The next packet, which must be of that kind."""
        packet = self._waiting.popleft() if self._waiting else self._read(timeout)
        assert kind is None or packet.kind == kind, \
            f"{describe(packet)} came, not {NAMES[kind]}"
        return packet

    def wait_for(self, kind, id):
        """That packet; what comes before it is kept for `receive`."""
        for packet in list(self._waiting):
            if packet.kind == kind and packet.id == id:
                self._waiting.remove(packet)
                return packet
        while True:
            packet = self._read(None)
            if packet.kind == kind and packet.id == id:
                return packet
            self._waiting.append(packet)

    def message(self, timeout=None):
        """The next PUBLISH, acknowledged as its QoS asks."""
        while True:
            packet = self.receive(timeout=timeout)
            if packet.kind == PUBREL:
                self.acknowledge(PUBCOMP, packet.id)
            elif packet.kind == PUBLISH:
                qos = packet.flags >> 1 & 3
                if qos:
                    self.acknowledge(PUBACK if qos == 1 else PUBREC, packet.id)
                if qos == 2:
                    self.wait_for(PUBREL, packet.id)
                    self.acknowledge(PUBCOMP, packet.id)
                return packet

    def nothing_comes(self):
        """Whatever the broker had for us before it answers a PINGREQ would have come by then."""
        self.ping()
        while True:
            packet = self.receive()
            if packet.kind == PINGRESP:
                return
            raise AssertionError(f"{describe(packet)} came, where nothing should")

    def closed(self):
        """Reads until the broker closes; the DISCONNECT before that, if one came."""
        last = None
        try:
            while True:
                packet = self.receive()
                if packet.kind == DISCONNECT:
                    last = packet
        except Closed:
            return last

    def _read(self, timeout):
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            packet = self._parse()
            if packet:
                return packet
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise Nothing(f"nothing came in {self.timeout if timeout is None else timeout} s")
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                raise Closed(str(error)) from None
            if not data:
                raise Closed("closed by the broker")
            self._buffer += data

    def _parse(self):
        size = shift = 0
        at = 1
        while True:
            if at >= len(self._buffer):
                return None
            byte = self._buffer[at]
            size |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if not byte & 0x80:
                break
        if len(self._buffer) < at + size:
            return None
        first, body = self._buffer[0], bytes(self._buffer[at:at + size])
        del self._buffer[:at + size]
        return self._decode(first >> 4, first & 0x0F, _Reader(body))

    def _decode(self, kind, flags, body):
        five = self.version == 5
        id = topic = None
        payload, reasons, properties, present = b"", [], {}, False
        if kind == CONNACK:
            present = bool(body.take(1)[0] & 1)
            reasons = [body.take(1)[0]]
            properties = body.properties() if five else {}
        elif kind == PUBLISH:
            topic = body.string()
            id = body.number(">H") if flags & 6 else None
            properties = body.properties() if five else {}
            payload = body.take(body.left())
        elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            id = body.number(">H")
            reasons = [body.take(1)[0] if body.left() else 0]
            properties = body.properties() if body.left() else {}
        elif kind in (SUBACK, UNSUBACK):
            id = body.number(">H")
            properties = body.properties() if five else {}
            reasons = list(body.take(body.left()))
        elif kind == DISCONNECT:
            reasons = [body.take(1)[0] if body.left() else 0]
            properties = body.properties() if body.left() else {}
        return Packet(kind, flags, id, topic, payload, reasons, properties, present)


def dup(packet):
    return bool(packet.flags & 8)


def describe(packet):
    parts = [NAMES[packet.kind]]
    if packet.id is not None:
        parts.append(f"id={packet.id}")
    if packet.kind == PUBLISH:
        parts.append(f"topic={packet.topic} payload={packet.payload[:40]!r} flags={packet.flags:#x}")
    if packet.reasons:
        parts.append(f"reasons={[hex(reason) for reason in packet.reasons]}")
    return " ".join(parts)
