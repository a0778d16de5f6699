"""Commands about the admin API as help and documents print them, run on a broker that has what they speak of."""

import os
import re
from pathlib import Path

from admin_api import MQTTCTL, Admin, durable, mqtt_client
from e2e import Broker, Process, equal, holds, run, scratch, subscribe_packet


def made(name):
    directory = scratch(name)
    directory.mkdir()
    return directory


def subcommands(*command):
    """Of a command, as its help lists them."""
    text = run(MQTTCTL, *command, "--help").out.text().partition("Subcommands:")[2]
    return re.findall(r"^  (\w+) {2,}", text, re.MULTILINE)


def verbs():
    """All verbs of the admin API: (words, help)."""
    for noun in subcommands():
        if noun in ("pub", "sub", "bench", "health", "drain"):
            continue
        for verb in subcommands(noun) or [None]:
            words = [noun] + ([verb] if verb else [])
            yield words, run(MQTTCTL, *words, "--help").out.text()


class Examples:
    """One broker, and a shell in which it is the one that mqttctl finds."""

    def __init__(self):
        self.broker = Broker(config="""
listeners:
  - url: mqtt://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    name: lab
  - url: mqtt://127.0.0.1:0
    name: cellar
data_dir: "{data}"
auth: {allow_anonymous: true}
""")
        self.admin = Admin(self.broker)
        self.environment = {**os.environ, "MQTTCTL_ENDPOINT": self.broker.admin, "HOME": str(scratch("home")), "XDG_CONFIG_HOME": "",
                            "MQTTCTL_CONTEXTS": "", "PATH": f"{Path(MQTTCTL).resolve().parent}:{os.environ['PATH']}"}

    def prepare(self, directory):
        """What the examples speak of; the client sensor-7 is connected."""
        admin = self.admin
        (directory / "mqttd.yaml").write_text("mqtt:\n  receive_maximum: 50\n")
        (directory / "retained.jsonl").write_text('{"topic":"house/lamp","payload":"b24="}\n')
        if not (directory / "friday").exists():
            admin.text("backup", "create", directory / "friday")
        admin.text("retained", "set", "house/door", "-m", "open")
        admin.text("retained", "set", "house/old/x", "-m", "1")
        admin.text("ban", "add", "--user", "mallory")
        admin.post("Listeners/Start", {"name": "lab"})
        admin.post("Listeners/Stop", {"name": "cellar"})
        for user in ("alice", "bob"):  # Whatever an example before has made of them.
            admin.post("Users/Remove", {"name": user})
        admin.post("Users/Add", {"name": "bob", "password": {"text": "secret"}})
        admin.post("Acl/Remove", {"rule": {"userName": "alice", "access": "ACCESS_READ", "filter": "house/#"}})
        admin.post("Acl/Remove", {"rule": {"userName": "alice", "access": "ACCESS_READWRITE", "filter": "house/#"}})
        admin.post("Acl/Add", {"rule": {"everyone": True, "access": "ACCESS_DENY", "filter": "secret/#"}})
        run(MQTTCTL, "context", "set", "lab", "--endpoint", self.broker.admin, env=self.environment)
        client = durable(self.broker, "sensor-7")
        client.send(subscribe_packet(1, "house/#", 1))
        equal(client.packet()[0], 0x90, "SUBACK")
        return client

    def run_line(self, line, directory):
        """A command as it is printed, as a shell has it."""
        process = Process(["bash", "-o", "pipefail", "-c", line], env=self.environment, cwd=directory)
        if "topic watch" in line:  # It ends when ten have come.
            for number in range(2000):
                if not process.running():
                    break
                self.admin.text("topic", "publish", "house/watched", "-m", str(number), "-q", "1")
        if "mqttctl events" in line or "mqttctl trace" in line:  # They end when two have come.
            for number in range(20000):
                if not process.running():
                    break
                mqtt_client(self.broker, f"sensor-{number}-passes").close()
        status = process.wait()
        alone = "cluster forget" in line or "cluster join" in line  # Here is no cluster: that is said in words.
        equal(status, 6 if alone else 0, f"exit status of: {line}\n{process.err.text()}")

    def run_endless(self, line, directory):
        """One that goes on until it is told to stop: until it has said something."""
        process = Process(["bash", "-c", f"exec {line}"], env=self.environment, cwd=directory)
        for number in range(20000):
            if not process.running() or process.out.text().strip():
                break
            client = durable(self.broker, "sensor-7")
            client.send(subscribe_packet(1, "house/#", 1))
            self.admin.text("topic", "publish", "house/watched", "-m", str(number), "-q", "1")
            client.close()
        holds(process.running() and process.out.text().strip(), f"{line}\n{process.err.text()}")
        process.kill()
