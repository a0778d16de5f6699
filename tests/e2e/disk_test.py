#!/usr/bin/env python3
"""Disks that are full, read-only or damaged: what is refused, what goes on, and that nothing is lost.

The small disk is a tmpfs; without the right to mount one (root), its cases are skipped.
"""

import contextlib
import errno
import glob
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import PATIENCE_S, Skip, case, equal, holds, main, scratch  # noqa: E402
from failing_disk import failing_disk  # noqa: E402
from killable_broker import Broker, StartFailed  # noqa: E402
from mqtt_wire import Client, Closed, Nothing, PUBACK, PUBCOMP, PUBREC, PUBREL  # noqa: E402

QUOTA_EXCEEDED = 0x97
SMALL = ("--set", "storage.state_memtable_bytes=2MiB", "--set", "storage.log_memtable_bytes=4MiB")

RESERVE = ("--set", "storage.min_free_disk_bytes=16MiB")
SLOW = 500  # Bytes of a message: what comes in the second between two looks at the disk must fit.
NO_RESERVE = ("--set", "storage.min_free_disk_bytes=off")


@contextlib.contextmanager
def small_disk(options="size=64m"):
    path = scratch("disk")
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)],
                             capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise Skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path, leave=0):
    """Takes all the room but so much."""
    with open(path / "filler", "wb", buffering=0) as filler:
        piece = b"\0" * (1 << 20)
        while piece and os.statvfs(path).f_bavail * os.statvfs(path).f_bsize > leave:
            try:
                filler.write(piece)
            except OSError:
                piece = piece[:len(piece) // 2]


class Publisher:
    """Numbered messages to a durable subscriber that is away."""

    def __init__(self, broker, size=10_000):
        self.size, self.broker, self.number, self.acknowledged, self.unanswered = size, broker, 0, [], set()
        subscriber = Client(broker.port, "keeps")
        subscriber.subscribe("disk/t", 1)
        subscriber.disconnect()
        self.client = Client(broker.port, "publishes")

    def come_back(self):
        """With a session of its own again, so that identifiers are free."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            client = Client(self.broker.port, "publishes", clean=True, expect=None)
            if client.connack.reasons[0] == 0:
                self.client = client
                return
            holds(time.monotonic() < deadline, "CONNECT is refused although there is room")

    def publish(self):
        """The reason code."""
        self.number += 1
        payload = f"{self.number} ".ljust(self.size, "x")
        if self.number % 2 == 0:
            reason = self.client.published("disk/t", payload, qos=1)
            if reason < 0x80:
                self.acknowledged.append(self.number)
            return reason
        id = self.client.publish("disk/t", payload, qos=2)
        reason = self.client.wait_for(PUBREC, id).reasons[0]
        if reason >= 0x80:
            return reason
        self.acknowledged.append(self.number)
        self.client.acknowledge(PUBREL, id)
        try:
            self.client.wait_for(PUBCOMP, id)
        except Closed:  # No code says that a PUBREL cannot be stored: the connection ends, and the client repeats it.
            goodbye = self.client.closed()
            holds(goodbye is not None, "closed without a DISCONNECT")
            return goodbye.reasons[0]
        return reason

    def publish_until(self, done, what):
        deadline = time.monotonic() + PATIENCE_S
        while not done(reason := self.publish()):
            holds(time.monotonic() < deadline, f"{what}; the last answer was {reason:#x}")
        return reason

    def audit(self):
        """All that was acknowledged arrives once, and of each QoS in order; of the rest some may."""
        client = Client(self.broker.port, "keeps", properties={"receive_maximum": 1000})
        holds(client.session_present, "the session is lost")
        publisher = Client(self.broker.port, "audits", clean=True)
        publisher.published("disk/t", "0 last", qos=1)
        numbers = []
        while not numbers or numbers[-1]:
            numbers.append(int(client.message().payload.split()[0]))
        equal(len(numbers), len(set(numbers)), "each once")
        for qos in (1, 2):  # Even numbers, and odd ones: a message of QoS 2 that is passed on again may come behind.
            of_qos = [number for number in numbers[:-1] if number % 2 == qos - 1]
            equal(of_qos, sorted(of_qos), f"order at QoS {qos}")
        missing = set(self.acknowledged) - set(numbers)
        holds(not missing, f"acknowledged and lost: {sorted(missing)[:10]} of {len(self.acknowledged)}")
        refused = set(numbers[:-1]) - set(self.acknowledged) - self.unanswered
        holds(not refused, f"refused and delivered: {sorted(refused)[:10]}")
        client.disconnect()


def what_needs_no_disk_goes_on(broker):
    online = Client(broker.port, "online", clean=True, expiry=0)
    online.subscribe("live/#", 2)
    for qos in (0, 1, 2):
        other = Client(broker.port, "other", clean=True, expiry=0)
        if qos:
            equal(other.published("live/t", str(qos), qos=qos), 0)
        else:
            other.publish("live/t", "0")
        equal(online.message().payload, str(qos).encode())
        other.disconnect()
    online.disconnect()


@case("a disk below its reserve: 0x97 to what must be stored, the rest goes on, nothing is lost")
def reserve():
    with small_disk() as disk, \
            Broker(scratch("broker"), *SMALL, *RESERVE, data_dir=disk / "data") as broker:
        broker.start()
        publisher = Publisher(broker, SLOW)
        for _ in range(20):
            equal(publisher.publish(), 0, "with room")
        fill(disk, leave=8 << 20)
        equal(publisher.publish_until(lambda reason: reason >= 0x80, "the disk is never full"),
              QUOTA_EXCEEDED)
        what_needs_no_disk_goes_on(broker)
        equal(publisher.client.published("kept/t", "x", qos=1, retain=True), QUOTA_EXCEEDED)
        os.remove(disk / "filler")
        publisher.publish_until(lambda reason: reason == 0, "room does not help")
        for _ in range(5):
            equal(publisher.publish(), 0, "with room again")
        broker.restart()
        publisher.audit()
        equal(broker.stop(), 0, "exit status")
        broker.start()


def publish_until_full(publisher):
    """Whether the last one waits for its answer: it is in the log, and what follows is not possible."""
    publisher.client.timeout = 2.0
    try:
        reason = publisher.publish_until(lambda reason: reason >= 0x80, "the disk is never full")
        equal(reason, QUOTA_EXCEEDED)
        return False
    except Nothing:
        publisher.unanswered.add(publisher.number)
        return True
    finally:
        publisher.client.drop()


@case("a disk with no room at all: nothing is acknowledged, the rest goes on, with room all does")
def full():
    for durability in ("sync", "none"):
        with small_disk() as disk, \
                Broker(scratch("broker"), *SMALL, *NO_RESERVE, "--set", f"durability={durability}",
                       data_dir=disk / "data") as broker:
            broker.start()
            publisher = Publisher(broker)
            for _ in range(20):
                equal(publisher.publish(), 0, "with room")
            fill(disk)
            publish_until_full(publisher)
            what_needs_no_disk_goes_on(broker)
            os.remove(disk / "filler")
            publisher.come_back()
            publisher.publish_until(lambda reason: reason == 0, "room does not help")
            for _ in range(5):
                equal(publisher.publish(), 0, "with room again")
            broker.restart()
            publisher.audit()
            equal(broker.stop(), 0, "exit status")
            broker.start()


@case("kill -9 while the disk is full loses nothing, once there is room to start")
def killed_while_full():
    with small_disk() as disk, \
            Broker(scratch("broker"), *SMALL, *NO_RESERVE, data_dir=disk / "data") as broker:
        broker.start()
        publisher = Publisher(broker)
        for _ in range(500):
            equal(publisher.publish(), 0, "with room")
        fill(disk)
        publish_until_full(publisher)
        broker.kill()
        try:
            broker.start()
            broker.kill()
        except StartFailed as failure:
            equal(failure.status, 1, "exit status")
            holds("space" in str(failure), f"it does not say why: {failure}")
        os.remove(disk / "filler")
        broker.start()
        publisher.audit()


@case("a 3.1.1 client is not told that a message is stored when it is not")
def full_311():
    with small_disk() as disk, \
            Broker(scratch("broker"), *SMALL, *RESERVE, data_dir=disk / "data") as broker:
        broker.start()
        publisher = Publisher(broker, SLOW)
        equal(publisher.publish(), 0)
        fill(disk, leave=8 << 20)
        publisher.publish_until(lambda reason: reason >= 0x80, "the disk is never full")
        old = Client(broker.port, "old", version=4, clean=True)
        old.publish("disk/t", "999999", qos=1)
        try:
            packet = old.receive()
            holds(packet.kind != PUBACK, "PUBACK for what was not stored")
        except Closed:
            pass
        os.remove(disk / "filler")
        publisher.publish_until(lambda reason: reason == 0, "room does not help")
        publisher.audit()


def refuses_to_start(broker, *words):
    """Exit status 1, and an error that says so."""
    try:
        broker.start()
    except StartFailed as failure:
        equal(failure.status, 1, "exit status")
        text = [line for line in broker.log_tail().splitlines() if " error " in line]
        holds(text, f"no error in {broker.log_tail()}")
        for word in words:
            holds(word in text[-1], f"{word!r} is not in: {text[-1]}")
        return
    raise AssertionError("it started")


@case("a read-only data directory: an error that names it, exit status 1")
def read_only():
    with small_disk() as disk:
        with Broker(scratch("broker"), data_dir=disk / "data") as broker:
            broker.start()
            equal(broker.stop(), 0, "exit status")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            refuses_to_start(broker, str(disk / "data"), "ead-only")
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            broker.start()


@case("a data directory in use: an error that names it, exit status 1, and the owner goes on")
def in_use():
    with Broker(scratch("broker")) as owner:
        owner.start()
        with Broker(scratch("other"), data_dir=owner.data_dir) as other:
            refuses_to_start(other, owner.data_dir, "in use")
        Client(owner.port, "c").disconnect()


@case("a damaged log: an error that names the file, exit status 1; salvage keeps what stands before")
def damaged_log():
    with Broker(scratch("broker")) as broker:
        broker.start()
        publisher = Publisher(broker)
        for _ in range(100):
            equal(publisher.publish(), 0)
        broker.kill()
        logs = glob.glob(os.path.join(broker.data_dir, "log", "*.log"))
        largest = max(logs, key=os.path.getsize)
        holds(os.path.getsize(largest) > 900_000, f"{largest} is small")
        with open(largest, "r+b") as log:
            log.seek(500_000)
            log.write(b"damaged!")
        for _ in range(2):  # Trying makes nothing worse.
            refuses_to_start(broker, broker.data_dir, "salvage")
        broker.arguments += ["--set", "storage.log_recovery=salvage"]
        broker.start()
        client = Client(broker.port, "keeps")
        holds(client.session_present, "the session is lost")
        first = [int(client.message().payload.split()[0]) for _ in range(20)]
        equal(first, list(range(1, 21)))


@case("a log file that is cut short or deleted after kill -9: an error that says so, exit status 1")
def missing_end():
    for deleted in (False, True):
        with Broker(scratch("broker")) as broker:
            broker.start()
            publisher = Publisher(broker)
            for _ in range(50):
                equal(publisher.publish(), 0)
            broker.kill()
            largest = max(glob.glob(os.path.join(broker.data_dir, "log", "*.log")), key=os.path.getsize)
            if deleted:
                os.remove(largest)
            else:
                os.truncate(largest, os.path.getsize(largest) // 2)
            for _ in range(2):  # Trying makes nothing worse.
                refuses_to_start(broker, broker.data_dir, "had been written", "salvage")
            broker.arguments += ["--set", "storage.log_recovery=salvage"]
            broker.start()


@case("a record cut short at the end of the log is no damage")
def torn_log():
    with Broker(scratch("broker")) as broker:
        broker.start()
        publisher = Publisher(broker)
        for _ in range(10):
            equal(publisher.publish(), 0)
        broker.kill()
        logs = glob.glob(os.path.join(broker.data_dir, "log", "*.log"))
        largest = max(logs, key=os.path.getsize)
        with open(largest, "ab") as log:  # As of a write that the machine's death cut off.
            log.write(b"\x12\x34\x56\x78\xff\x7f\x01half of a record")
        broker.start()
        publisher.audit()


class Load(threading.Thread):
    """A publisher of numbered messages, each after the answer to the one before."""

    def __init__(self, broker, qos):
        super().__init__(daemon=True)
        self.broker, self.qos, self.go_on = broker, qos, True
        self.acknowledged, self.refused, self.sent = [], set(), 0
        self.sent_by = {}  # Number -> connection, each of which is a client of its own.
        self.start()

    def run(self):
        connections = 0
        while self.go_on:
            try:
                connections += 1
                client = Client(self.broker.port, f"load{self.qos}-{connections}", clean=True,
                                timeout=PATIENCE_S)
                while self.go_on:
                    self.sent += 1
                    number = self.sent
                    self.sent_by[number] = connections
                    payload = f"{self.qos} {number} ".ljust(5000, "x")
                    if client.published("disk/t", payload, qos=self.qos) < 0x80:
                        self.acknowledged.append(number)
                    else:
                        self.refused.add(number)
            except (AssertionError, Closed, Nothing, OSError):
                pass  # Refused, or closed without an answer.

    def wait(self, more):
        """Until so many more are acknowledged; how long it took."""
        begun, wanted = time.monotonic(), len(self.acknowledged) + more
        while len(self.acknowledged) < wanted:
            holds(time.monotonic() < begun + PATIENCE_S, f"QoS {self.qos}: no acknowledgement")
            threading.Event().wait(0.01)
        return time.monotonic() - begun


@contextlib.contextmanager
def memory_disk():
    """A directory in memory, if there is such: the machine's own disk may stand still for seconds, too."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield pathlib.Path(path)


def readiness(broker):
    try:
        with urllib.request.urlopen(f"http://{broker.http}/readyz", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def fails_for_a_second(library, place, error, directory):
    control = scratch("control")
    small = ("--set", "storage.state_memtable_bytes=1MiB", "--set", "storage.log_memtable_bytes=4MiB",
             "--set", "storage.state_pending_bytes=256KiB", "--set", "storage.queue_bytes_max=unlimited")
    with Broker(directory, *small, *NO_RESERVE, http="127.0.0.1:0",
                env={"LD_PRELOAD": library, "FAILING_DISK": str(control)}) as broker:
        broker.start()
        subscriber = Client(broker.port, "keeps")
        subscriber.subscribe("disk/t", 2)
        subscriber.disconnect()
        loads = [Load(broker, 1), Load(broker, 2)]
        for load in loads:
            load.wait(50)
        part = f"{broker.data_dir}/{place}"
        control.write_text(f"{error} {part}")
        begun, said = time.monotonic(), None
        while time.monotonic() < begun + 1 or said is None:
            status, text = readiness(broker)
            if status == 503:
                said = text
            holds(time.monotonic() < begun + PATIENCE_S, "readiness never says that the disk fails")
            threading.Event().wait(0.02)
        holds("cannot be written" in said, said)
        control.unlink()
        took = max(load.wait(20) for load in loads)
        holds(took < 5, f"durable work went on only {took:.1f} s after the disk worked again")
        while readiness(broker)[0] != 200:
            holds(time.monotonic() < begun + PATIENCE_S, "it is never ready again")
        Client(broker.port, "new").disconnect()
        for load in loads:
            load.go_on = False
        for load in loads:
            load.join()
        equal(broker.stop(), 0, "exit status")
        broker.start()
        subscriber = Client(broker.port, "keeps", properties={"receive_maximum": 1000})
        Client(broker.port, "last", clean=True).published("disk/t", "0 0 last", qos=1)
        got = {1: [], 2: []}
        while True:
            qos, number = map(int, subscriber.message().payload.split()[:2])
            if qos == 0:
                break
            got[qos].append(number)
        for load in loads:
            numbers = got[load.qos]
            lost = set(load.acknowledged) - set(numbers)
            holds(not lost, f"QoS {load.qos}: {len(lost)} of {len(load.acknowledged)} acknowledged lost")
            undead = load.refused & set(numbers)
            holds(not undead, f"QoS {load.qos}: refused and delivered: {sorted(undead)[:10]}")
            for client in set(load.sent_by.values()):
                of_client = [number for number in numbers if load.sent_by[number] == client]
                equal(of_client, sorted(of_client), f"order of client {client} at QoS {load.qos}")
        equal(len(got[2]), len(set(got[2])), "QoS 2 messages, each once")
        print(f"# {place or 'both'}, {errno.errorcode[error]}: went on after {took:.2f} s, "
              f"{sum(len(load.acknowledged) for load in loads)} acknowledged, "
              f"{sum(len(load.refused) for load in loads)} refused", flush=True)


@case("a disk that fails for a second: durable work goes on by itself, nothing is lost, nothing refused comes")
def fails_and_heals():
    library = failing_disk()
    places, errors = ("state/", "log/", ""), (errno.EIO, errno.ENOSPC, errno.EROFS)
    every = os.environ.get("MQTTD_TEST_LONG") == "1"
    for i, place in enumerate(places):
        for k, error in enumerate(errors):
            if every or i == k:
                with memory_disk() as directory:
                    fails_for_a_second(library, place, error, directory)


if __name__ == "__main__":
    main()
