#!/usr/bin/env python3
"""Backups by the admin API: taken while messages come, verified, restored on an empty node."""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, durable, mqtt_client
from e2e import MQTTD_BIN, Broker, case, equal, holds, main, publish_packet, run, scratch, subscribe_packet

broker = Broker()
admin = Admin(broker)
backups = scratch("backups")


class Load:
    """A publisher of QoS 1 that counts what was acknowledged, on a thread of its own."""

    def __init__(self, topic):
        self.topic, self.acknowledged, self._ends = topic, 0, threading.Event()
        self._moved = threading.Condition()
        self._client = mqtt_client(broker, "load")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ends.is_set():
            self._client.send(publish_packet(self.topic, str(self.acknowledged + 1).encode(), qos=1, packet_id=1))
            equal(self._client.packet()[0], 0x40, "PUBACK")
            with self._moved:
                self.acknowledged += 1
                self._moved.notify_all()

    def wait_for(self, more):
        with self._moved:
            wanted = self.acknowledged + more
            holds(self._moved.wait_for(lambda: self.acknowledged >= wanted, 30), "the load goes on")
            return self.acknowledged

    def end(self):
        self._ends.set()
        self._thread.join()
        self._client.close()
        return self.acknowledged


def restored(directory, *arguments):
    data = scratch("restored") / "data"
    said = run(MQTTD_BIN, "--restore", directory, "--data-dir", data)
    holds(f"restored {directory} into {data}" in said.out.text(), said.out.text())
    return Broker(*arguments, data_dir=data)


@case("a backup under load has all that was acknowledged before it, each message once, and restores on an empty node")
def _():
    keeper = durable(broker, "keeper")
    keeper.send(subscribe_packet(1, "load/#", 1))
    equal(keeper.packet()[0], 0x90, "SUBACK")
    keeper.send(b"\xe0\x00")
    holds(keeper.closed(), "closed")
    admin.text("retained", "set", "kept/1", "-m", "before", "-q", "1")
    admin.text("log", "set", "warning")
    load = Load("load/1")
    before = load.wait_for(50)
    backup = backups / "one"
    holds("verified" in admin.text("backup", "create", backup), "created")
    admin.text("retained", "set", "kept/1", "-m", "after", "-q", "1")
    load.wait_for(50)
    after = load.end()
    holds(not (broker.data_dir / "checkpoint").exists(), "nothing is left beside the store")
    again = restored(backup)
    there = Admin(again)
    queue = [int(each["message"]["payload"]) for each in there.json("session", "queue", "keeper")]
    equal(queue, list(range(1, len(queue) + 1)), "one cut of the queue, in order")
    holds(before <= len(queue) <= after, f"{len(queue)} of {before} … {after}")
    equal(there.json("retained", "get", "kept/1")["payload"], "before", "as of that moment")
    equal(there.json("cluster", "status")["node"], admin.json("cluster", "status")["node"], "the same node")
    equal(there.json("log", "level")["level"], "warning", "what the API had set")
    client = durable(again, "keeper", clean=False)
    equal(client.packet()[1][-1:], b"1", "the first message")
    equal(again.terminate(), 0, "exit status")
    again.start()
    equal(len(Admin(again).json("session", "queue", "keeper")), len(queue), "after another restart")
    again.terminate()
    admin.text("log", "reset")


@case("a damaged backup is noticed, and not restored")
def _():
    backup = backups / "two"
    admin.text("backup", "create", backup)
    holds("verified" in admin.text("backup", "verify", backup), "verified")
    tables = sorted((backup / "state").glob("*.sst"), key=lambda path: path.stat().st_size) or sorted((backup / "log").glob("*.sst"))
    if tables:
        data = bytearray(tables[-1].read_bytes())
        data[len(data) // 3] ^= 0xFF
        tables[-1].write_bytes(data)
    else:
        (backup / "state" / "CURRENT").write_text("MANIFEST-999999\n")
    admin.text("backup", "verify", backup, status=1)
    data = scratch("damaged") / "data"
    run(MQTTD_BIN, "--restore", backup, "--data-dir", data, status=1)
    holds(not data.exists(), "nothing was made")


@case("what cannot be is refused in words")
def _():
    holds("absolute path" in admin.text("backup", "create", "relative", status=1), "a relative path")
    holds("is there already" in admin.text("backup", "create", backups / "one", status=6), "it is there")
    holds("is no backup" in admin.text("backup", "verify", backups, status=5), "no backup")
    holds("cannot" in admin.text("backup", "create", "/proc/backup", status=3), "nowhere")
    said = run(MQTTD_BIN, "--restore", backups / "one", "--data-dir", broker.data_dir, status=1).err.text()
    holds("is not empty" in said, said)


main()
