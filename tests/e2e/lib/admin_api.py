"""The admin API from outside: mqttctl, JSON over HTTP, and answers as they are kept in tests/e2e/golden/admin."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from e2e import MQTTD_BIN, PATIENCE_S, Wire, connect_packet, equal, run

MQTTCTL = os.environ.get("MQTTCTL_BIN") or str(Path(MQTTD_BIN).with_name("mqttctl"))
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "admin"

# What differs from run to run.
VOLATILE = {"node", "started", "uptime", "version", "listeners", "admin_address", "http_address", "shard", "shards", "port", "connected_at",
            "memory_used_bytes", "memory_high_bytes", "idle", "created", "disconnected", "ends", "published", "set", "partition"}


class Admin:
    """The verbs and methods of one broker."""

    def __init__(self, broker):
        self.broker = broker

    def ctl(self, *arguments, status=0, env=None, stdin=None):
        return run(MQTTCTL, "--endpoint", self.broker.admin, *arguments, status=status, env=env, stdin=stdin)

    def json(self, *arguments):
        return json.loads(self.ctl(*arguments, "-o", "json").out.text())

    def text(self, *arguments, status=0):
        process = self.ctl(*arguments, status=status)
        return process.out.text() if status == 0 else process.err.text()

    def request(self, method, body="{}", headers=None, verb="POST"):
        headers = {"Content-Type": "application/json", **(headers or {})}
        return urllib.request.Request(f"http://{self.broker.http}/api/v1/{method}", method=verb, headers=headers,
                                      data=body.encode() if verb == "POST" else None)

    def post(self, method, body=None, headers=None, verb="POST"):
        """(status, answer) of a method by HTTP."""
        text = body if isinstance(body, str) else json.dumps(body or {})
        try:
            with urllib.request.urlopen(self.request(method, text, headers, verb), timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def stream(self, method, body=None):
        """The events of a stream by HTTP, as they come: (kind, value)."""
        with urllib.request.urlopen(self.request(method, json.dumps(body or {})), timeout=PATIENCE_S) as answer:
            kind = "message"
            for line in answer:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    yield kind, json.loads(line[6:])
                    kind = "message"


def masked(value, volatile):
    if isinstance(value, dict):
        return {key: "…" if key in volatile and each not in ("", [], None) else masked(each, volatile) for key, each in value.items()}
    return [masked(each, volatile) for each in value] if isinstance(value, list) else value


def golden(name, value, volatile=()):
    """The value is the one that is kept, but for what differs from run to run; MQTTD_UPDATE_GOLDEN=1 keeps it anew."""
    text = json.dumps(masked(value, VOLATILE | set(volatile)), indent=2, ensure_ascii=False) + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("MQTTD_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    equal(text, file.read_text(), f"what {file.name} keeps")


def mqtt_client(broker, name, version=5, **more):
    connection = Wire(("127.0.0.1", broker.port))
    connection.send(connect_packet(name, version=version, **more))
    equal(connection.packet()[0], 0x20, "CONNACK")
    return connection


def durable(broker, name, **more):
    """A client of MQTT 5.0 whose session lasts an hour."""
    return mqtt_client(broker, name, properties=b"\x11\x00\x00\x0e\x10", **more)
