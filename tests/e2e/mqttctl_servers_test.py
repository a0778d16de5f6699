#!/usr/bin/env python3
"""mqttctl before servers that do not what they should: what it says of them."""

import json
import os
import re
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, Wire, case, equal, frame, holds, main, publish_packet, run  # noqa: E402

MQTTCTL = os.environ.get("MQTTCTL_BIN") or str(Path(MQTTD_BIN).with_name("mqttctl"))
CONNACK, SUBACK, PUBACK = b"\x20\x02\x00\x00", 0x90, 0x40


class Peer(Wire):
    """The other end of an accepted connection."""

    def __init__(self, accepted):  # pylint: disable=super-init-not-called
        self.socket = accepted


class Server:
    """Answers packets of MQTT 3.1.1 as `answer(server, peer, first, body)` has it; it ends with this script."""

    def __init__(self, answer):
        self.answer, self.subscriber, self.published = answer, None, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._serve, args=(Peer(self.listener.accept()[0]),), daemon=True).start()

    def _serve(self, peer):
        try:
            while (packet := peer.packet()) is not None:
                self.answer(self, peer, *packet)
        except OSError:
            pass  # It has gone.

    def bench(self, *arguments):
        """What `bench` measures here, which is not well."""
        process = run(MQTTCTL, "bench", "-h", "127.0.0.1", "-p", self.port, "-q", "1", "--rate", "100", "--seconds", "1",
                      "--patience", "0.5", "--quiet", "--json", *arguments, status=1)
        return json.loads(process.out.text())


def says_hello(_, peer, first, __):
    if first == 0x10:
        peer.send(CONNACK)


@case("a server that says CONNACK and nothing else is not well")
def _():
    server = Server(says_hello)
    figures = server.bench("--publishers", "2", "--subscribers", "0")
    holds(0 < figures["published"] == figures["unanswered"], figures)
    equal((figures["acknowledged"], figures["failed"], figures["missing"]), (0, 0, 0), "the other figures")
    figures = server.bench("--publishers", "1", "--subscribers", "3")
    equal((figures["connected"], figures["subscribed"], figures["published"], figures["unanswered"]), (4, 0, 0, 3), "no SUBACK")


@case("a server that says nothing is not well, and the words say so")
def _():
    server = Server(lambda *_: None)
    said = run(MQTTCTL, "bench", "-h", "127.0.0.1", "-p", server.port, "--publishers", "2", "--subscribers", "0", "--patience", "0.5",
               "--quiet", status=1).out.text()
    holds(re.search(r"^unanswered +2$", said, re.MULTILINE), said)


def repeats(server, peer, first, body):
    """Delivers the first message twice, and the second one never; then one of somebody else."""
    says_hello(server, peer, first, body)
    if first == 0x82:
        server.subscriber = peer
        peer.send(frame(SUBACK, body[:2] + b"\x01"))
    if first & 0xF0 != 0x30:
        return
    topic_end = 2 + int.from_bytes(body[:2], "big")
    topic, packet_id, payload = body[2:topic_end].decode(), body[topic_end:topic_end + 2], body[topic_end + 2:]
    times = {0: 2, 1: 0}.get(server.published, 1)
    for _ in range(times):
        server.subscriber.send(publish_packet(topic, payload, version=4))
    if server.published == 2:
        server.subscriber.send(publish_packet(topic, b"of somebody else", version=4))
    server.published += 1
    peer.send(frame(PUBACK, packet_id))


@case("what comes twice makes up for nothing that is missing")
def _():
    figures = Server(repeats).bench("--publishers", "1", "--subscribers", "1")
    equal([figures[each] for each in ("missing", "repeated", "foreign", "unanswered", "failed")], [1, 1, 1, 0, 0], "figures")
    equal(figures["received"], figures["acknowledged"] - 1, "received")


@case("bench http ends at a server that never answers")
def _():
    listener = socket.create_server(("127.0.0.1", 0))
    process = run(MQTTCTL, "bench", "http", f"http://127.0.0.1:{listener.getsockname()[1]}/", "--connections", "2", "--seconds", "0.2",
                  "--timeout", "0.3", "--quiet", "--json", status=1)
    figures = json.loads(process.out.text())
    holds(figures["failed"] >= 2 and figures["requests"] == 0, figures)
    equal(figures["first_failure"], "no answer within 0.3 s", "the first failure")
    listener.close()


def takes_little(_, peer, first, __):
    """MQTT 5.0, with a Maximum Packet Size of 64."""
    if first == 0x10:
        peer.send(frame(0x20, b"\x00\x00\x05\x27\x00\x00\x00\x40"))


@case("pub -l that fails ends with its exit status, while lines go on coming")
def _():
    server = Server(takes_little)
    for _ in range(20):
        said = run("bash", "-c", f"(printf '%0100d\\n' 1; exec yes) | {MQTTCTL} pub -V 5 -h 127.0.0.1 -p {server.port} -t a -l; "
                                 "exit ${PIPESTATUS[1]}", status=1).err.text()
        holds("larger than the server's Maximum Packet Size of 64 bytes" in said, said)


main()
