#!/usr/bin/env python3
"""mosquitto as a bridge to the broker: its defaults, every direction, and kill -9 of either side."""

import collections
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Process, case, equal, holds, main, scratch, write  # noqa: E402
from killable_broker import Broker  # noqa: E402
from mqtt_wire import Client, Nothing  # noqa: E402

VERSIONS = ("mqttv31", "mqttv311", "mqttv50")
MESSAGES = 400  # Of each QoS, while the other side is down.


class Mosquitto:
    """mosquitto with one connection, to be killed and started again."""

    def __init__(self, name, broker, *lines):
        self.name = name
        # Bound and never listening: nobody else gets the port while mosquitto is not there.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self.port = self._reservation.getsockname()[1]
        home = scratch("mosquitto")
        home.mkdir()
        user = "user root\n" if os.getuid() == 0 else ""
        self.config = write("mosquitto.conf", f"""\
{user}listener {self.port} 127.0.0.1
allow_anonymous true
log_dest stderr
log_type all
persistence true
persistence_location {home}/
max_queued_messages 100000
max_inflight_messages 5000
connection {name}
remote_clientid {name}
address 127.0.0.1:{broker.port}
restart_timeout 1
""" + "".join(line + "\n" for line in lines))
        self.start()

    def start(self):
        self.process = Process(["mosquitto", "-c", self.config])
        self.process.err.wait_for(r"mosquitto version \S+ running")

    def wait_connected(self, after=0):
        self.process.err.wait_for(rf"Received CONNACK on connection (local\.)?\S*{self.name}", after=after)

    def save(self):
        """What it has to remember, on its disk."""
        seen = len(self.process.err)
        self.process.signal(signal.SIGUSR1)
        self.process.err.wait_for(r"Saving in-memory database to", after=seen)
        # It saves before it serves anybody again.
        Client(self.port, "after-save", version=4, clean=True).disconnect()

    def kill(self):
        self.process.signal(signal.SIGKILL)
        equal(self.process.wait(), -signal.SIGKILL, "mosquitto's exit status")

    def end(self):
        self.process.signal(signal.SIGTERM)
        self.process.wait()
        self._reservation.close()

    def client(self, client_id, **rest):
        return Client(self.port, client_id, version=4, **rest)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def come_through(sender, receiver, topic, qos=1):
    """Sends until messages are received (bridges subscribe when they please), and all that were sent came."""
    for number in range(300):
        sender.published(topic, f"{number}", qos=qos)
        try:
            receiver.message(timeout=0.2)
            break
        except Nothing:
            pass
    else:
        raise AssertionError(f"nothing comes through on {topic}")
    sender.published(topic, "last", qos=qos)
    while receiver.message().payload != b"last":
        pass


def drain(client):
    client.subscribe("fence")
    seen = []
    client.publish("fence", "")
    while True:
        packet = client.message()
        if packet.topic == "fence":
            return seen
        seen.append(packet)


_broker = None


def shared():
    global _broker
    if _broker is None:
        _broker = Broker(scratch("shared")).start()
    return _broker


for version in (None, *VERSIONS):
    title = version or "as by default"

    @case(f"{title}: a bridge connects, both directions and both at once work, and nothing comes twice")
    def _(version=version):
        broker = shared()
        name = f"way-{version}"
        lines = [f"bridge_protocol_version {version}"] if version else []
        with Mosquitto(name, broker, *lines, f"topic out/{name} out 1", f"topic in/{name} in 1",
                       f"topic both/{name} both 2") as mosquitto:
            far, near = Client(broker.port, f"{name}-far", clean=True), mosquitto.client("near", clean=True)
            for topic in (f"out/{name}", f"in/{name}", f"both/{name}"):
                far.subscribe(topic)
                near.subscribe(topic)
            come_through(near, far, f"out/{name}")
            come_through(far, near, f"in/{name}")
            drain(far), drain(near)
            # What went over the bridge must not come back over it.
            for sender, other, word in ((near, far, "from near"), (far, near, "from far")):
                sender.published(f"both/{name}", word, qos=2)
                equal(other.message().payload, word.encode(), "across")
                equal([packet.payload for packet in drain(sender)], [word.encode()], "at its sender")
                equal(drain(other), [], "once more")


for version in VERSIONS:
    @case(f"{version}: what is retained on one side is retained on the other, and RETAIN stays off otherwise")
    def _(version=version):
        broker = shared()
        name = f"retain-{version}"
        with Mosquitto(name, broker, f"bridge_protocol_version {version}", f"topic {name}/# both 1") as mosquitto:
            far, near = Client(broker.port, f"{name}-far", clean=True), mosquitto.client("near", clean=True)
            far.subscribe(f"{name}/#", 1)
            near.subscribe(f"{name}/#", 1)
            come_through(far, near, f"{name}/try")
            come_through(near, far, f"{name}/try")
            drain(far), drain(near)
            for sender, other, port, word in ((near, far, broker.port, "up"), (far, near, mosquitto.port, "down")):
                sender.published(f"{name}/{word}", "kept", retain=True)
                sender.published(f"{name}/{word}/passing", "gone")
                while (packet := other.message()).topic != f"{name}/{word}":
                    pass  # What it sent itself before, and fences.
                equal((packet.payload, other.message().payload), (b"kept", b"gone"), "live")
                late = Client(port, f"{name}-late", version=4, clean=True)
                late.subscribe(f"{name}/{word}/#", 1)
                packet = late.message()
                equal((packet.payload, packet.flags & 1), (b"kept", 1), "retained")
                equal(drain(late), [], "more")
                late.disconnect()


def state_of(broker, name, wanted):
    """Watches the bridge's state until it is that."""
    watcher = Client(broker.port, f"watch-{name}", clean=True)
    watcher.subscribe(f"$SYS/broker/connection/{name}/state", 1)
    while True:
        packet = watcher.message(timeout=60)
        if packet.payload == wanted:
            watcher.disconnect()
            return packet


for version in VERSIONS:
    for rules in (None, "topic readwrite t/#\n"):
        with_or_without = "with an access file that does not mention it" if rules else "without access rules"

        @case(f"{version}: notifications say 1 while the bridge is there and 0, by its will, after kill -9, "
              + with_or_without)
        def _(version=version, rules=rules):
            name = f"note-{version}" + ("-acl" if rules else "")
            arguments = []
            if rules:
                path = write("acl", rules + "topic read $SYS/broker/connection/#\n")
                arguments = [f"--set=auth.acl_file={path}"]
            with Broker(scratch(name), *arguments) as broker:
                broker.start()
                mosquitto = Mosquitto(name, broker, f"bridge_protocol_version {version}", "topic t/# out 1")
                state_of(broker, name, b"1")
                mosquitto.kill()
                state_of(broker, name, b"0")
                mosquitto.start()
                state_of(broker, name, b"1")
                mosquitto.end()


def takes_all(client, wanted):
    """Each at least once, and those of QoS 2 (their names say so) no more than that."""
    counts = collections.Counter()
    while not wanted <= set(counts):
        counts[client.message(timeout=60).payload] += 1
    for packet in drain(client):
        counts[packet.payload] += 1
    equal([word for word, count in counts.items() if count > 1 and word.startswith(b"2-")], [], "QoS 2 that came twice")


for version in ("mqttv311", "mqttv50"):
    @case(f"{version}: cleansession false over kill -9 of the broker and of mosquitto loses nothing either way")
    def _(version=version):
        name = f"kill-{version}"
        with Broker(scratch(name)) as broker:
            broker.start()
            far = Client(broker.port, "far")
            far.subscribe("up/#", 2)
            lines = (f"bridge_protocol_version {version}", "cleansession false", "topic up/1 out 1",
                     "topic up/2 out 2", "topic down/1 in 1", "topic down/2 in 2")
            with Mosquitto(name, broker, *lines) as mosquitto:
                near = mosquitto.client("near")
                near.subscribe("down/#", 2)
                come_through(near, far, "up/1")
                come_through(far, near, "down/1")
                drain(far), drain(near)

                wanted = {f"{qos}-{number}".encode() for number in range(MESSAGES) for qos in (1, 2)}
                broker.kill()  # Up: what the edge has, on its disk too, while the broker is away.
                for number in range(MESSAGES):
                    for qos in (1, 2):
                        near.published(f"up/{qos}", f"{qos}-{number}", qos=qos)
                near.disconnect()
                mosquitto.save()
                mosquitto.kill()
                broker.start()
                mosquitto.start()
                far = Client(broker.port, "far")
                holds(far.session_present, "far's session is gone")
                takes_all(far, wanted)
                near = mosquitto.client("near")
                holds(near.session_present, "near's session is gone")
                if version == "mqttv50":
                    return  # It asks for no Session Expiry Interval: its session ends with its connection.

                near.disconnect()  # Down: what the broker has, on its disk too, while the edge is away.
                mosquitto.save()
                mosquitto.kill()
                for number in range(MESSAGES):
                    for qos in (1, 2):
                        far.published(f"down/{qos}", f"{qos}-{number}", qos=qos)
                broker.kill()
                broker.start()
                mosquitto.start()
                near = mosquitto.client("near")
                holds(near.session_present, "near's session is gone")
                takes_all(near, wanted)


main()
