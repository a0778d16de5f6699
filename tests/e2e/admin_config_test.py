#!/usr/bin/env python3
"""What the admin API shows and sets of a node itself: configuration, log, certificates, listeners; and answers as programs read them."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, durable, golden, mqtt_client  # noqa: E402
from e2e import PATIENCE_S, Broker, Certificates, case, equal, holds, main, scratch, subscribe_packet, write  # noqa: E402

CONFIG = """
listeners:
  - url: mqtt://127.0.0.1:0
    name: front
mqtt: {receive_maximum: 40}
data_dir: "{data}"
auth: {allow_anonymous: true}
"""


def value(admin, path):
    """(value, source) of a key."""
    found = admin.json("config", "show", path)
    return next((each["value"], each["source"]) for each in found if each["path"] == path)


@case("a key that is set holds at once, after a restart and after kill -9, until it is reset")
def _():
    broker = Broker(config=CONFIG)
    admin = Admin(broker)
    equal(value(admin, "mqtt.receive_maximum"), ("40", "file"))
    changed = admin.json("config", "set", "mqtt.receive_maximum", "50")
    equal([(each["path"], each["before"], each["after"], each["needs_restart"]) for each in changed],
          [("mqtt.receive_maximum", "40", "50", False)])
    golden("config_set", changed)
    equal(value(admin, "mqtt.receive_maximum"), ("50", "run_time"))
    broker.log.wait_for(r"admin who=local role=admin .*what=Config/Set request=.*mqtt\.receive_maximum.* outcome=done")
    Path(broker.config_file).write_text(Path(broker.config_file).read_text().replace("receive_maximum: 40", "receive_maximum: 41"))
    equal(admin.json("config", "reload"), [], "what is set goes before the file")
    broker.terminate()
    broker.start()
    equal(value(admin, "mqtt.receive_maximum"), ("50", "run_time"), "after a restart")
    admin.ctl("config", "set", "mqtt.receive_maximum", "60")
    broker.kill()
    broker.start()
    equal(value(admin, "mqtt.receive_maximum"), ("60", "run_time"), "after kill -9")
    equal([(each["before"], each["after"]) for each in admin.json("config", "reset", "mqtt.receive_maximum")], [("60", "41")])
    equal(value(admin, "mqtt.receive_maximum"), ("41", "file"))
    broker.terminate()
    broker.start()
    equal(value(admin, "mqtt.receive_maximum"), ("41", "file"), "after a restart")


@case("what cannot be set is refused in words, and nothing changes")
def _():
    broker = Broker("--set", "mqtt.topic_alias_maximum=7")
    admin = Admin(broker)
    holds("no such key" in admin.text("config", "set", "mqtt.recieve_maximum", "50", status=1), "no such key")
    holds("mqtt.receive_maximum" in admin.text("config", "set", "mqtt.receive_maximum", "many", status=1), "no such value")
    holds("needs a restart" in admin.text("config", "set", "storage.partitions", "4", status=6), "a restart")
    holds("by Log/SetLevel" in admin.text("config", "set", "log.level", "debug", status=1), "the log's level")
    holds("was not set at run time" in admin.text("config", "reset", "mqtt.receive_maximum", status=5), "not set")
    equal(admin.json("config", "set", "mqtt.topic_alias_maximum", "9")[0]["after"], "9", "in place of --set")
    equal(value(admin, "mqtt.topic_alias_maximum"), ("9", "run_time"))
    admin.ctl("config", "reset", "mqtt.topic_alias_maximum")
    equal(value(admin, "mqtt.topic_alias_maximum"), ("7", "flag"))
    broker.terminate()


@case("the configuration is shown with its sources, checked, and read again")
def _():
    broker = Broker(config=CONFIG)
    admin = Admin(broker)
    golden("config_show", admin.json("config", "show", "mqtt.receive"), ("where",))
    changed = [each["path"] for each in admin.json("config", "show", "--changed")]
    holds("mqtt.receive_maximum" in changed and "mqtt.topic_alias_maximum" not in changed, changed)
    text = Path(broker.config_file).read_text()
    right = write("right.yaml", text.replace("receive_maximum: 40", "receive_maximum: 30"))
    checked = admin.json("config", "validate", right)
    equal((checked["errors"], [each["path"] for each in checked["changes"] if each["path"].startswith("mqtt")]), ([], ["mqtt.receive_maximum"]))
    golden("config_validate", {**checked, "changes": [each for each in checked["changes"] if each["path"].startswith("mqtt")]})
    said = admin.ctl("config", "validate", write("wrong.yaml", "mqtt: {nothing: 1}\n"), status=1)
    holds("no such key" in said.out.text() and "not right" in said.err.text(), said.out.text())
    Path(broker.config_file).write_text(text.replace("receive_maximum: 40", "receive_maximum: 30"))
    golden("config_reload", admin.json("config", "reload"))
    equal(value(admin, "mqtt.receive_maximum"), ("30", "file"))
    Path(broker.config_file).write_text("mqtt: {nothing: 1}\n")
    holds("nothing" in admin.text("config", "reload", status=1), "a mistake")
    equal(value(admin, "mqtt.receive_maximum"), ("30", "file"), "nothing changed")
    broker.terminate()


@case("the log's level is set at once and after a restart, until it is reset")
def _():
    broker = Broker()
    admin = Admin(broker)
    golden("log_level", admin.json("log", "level"))
    admin.ctl("log", "set", "debug")
    equal(admin.json("log", "level")["level"], "debug")
    broker.terminate()
    broker.start()
    equal((admin.json("log", "level")["level"], admin.json("log", "level")["run_time"]), ("debug", True), "after a restart")
    admin.ctl("log", "reset")
    equal(admin.json("log", "level"), {"level": "info", "configured": "info", "run_time": False})
    broker.terminate()


@case("certificates are shown with their end, and read again")
def _():
    authority = Certificates()
    first, key = authority.issue("localhost")
    second, second_key = authority.issue("localhost", days=20)
    directory = scratch("tls")
    directory.mkdir()
    here, here_key = directory / "crt", directory / "key"
    here.write_bytes(Path(first).read_bytes())
    here_key.write_bytes(Path(key).read_bytes())
    broker = Broker("--set", f"tls.cert_file={here}", "--set", f"tls.key_file={here_key}", listen=("mqtts://127.0.0.1:0",))
    admin = Admin(broker)
    listed = admin.json("cert", "list")
    equal(len(listed), 1, listed)
    golden("cert_list", listed, ("file", "expires", "used_by", "warning"))
    here.write_bytes(Path(second).read_bytes())
    here_key.write_bytes(Path(second_key).read_bytes())
    admin.ctl("cert", "reload")
    holds(admin.json("cert", "list") != listed, "another one")
    broker.terminate()


@case("a client certificate that has expired is refused and audited")
def _():
    ours = Certificates()
    cert, key = ours.issue("localhost")
    access = write("access-expired", "certificate ops.example.org operator\n")
    guarded = Broker(*(part for name, each in (("cert_file", cert), ("key_file", key), ("ca_file", ours.ca), ("access_file", access))
                       for part in ("--set", f"admin.{name}={each}")))
    admin = Admin(guarded)

    def as_(days, status):
        cert, key = ours.issue("ops.example.org", days=days)
        return admin.ctl("cluster", "status", "--ca-file", ours.ca, "--cert-file", cert, "--key-file", key, "--server-name", "localhost",
                         status=status).err.text()
    as_(2, 0)
    holds("expired" in as_(-1, 4), "the caller hears why")
    guarded.log.wait_for(r"admin who=unknown .*expired")
    guarded.terminate()


@case("answers as programs read them")
def _():
    broker = Broker(config=CONFIG)
    admin = Admin(broker)
    connected = mqtt_client(broker, "golden-1")
    away = durable(broker, "golden-2")
    away.send(subscribe_packet(1, "golden/#", 1))
    away.packet()
    away.close()
    admin.ctl("retained", "set", "golden/r", "-m", "x")
    deadline = time.monotonic() + PATIENCE_S
    while admin.json("session", "show", "golden-2")["connected"]:  # Each look is a round trip.
        holds(time.monotonic() < deadline, "its client is away: never")
    golden("topic_publish", admin.json("topic", "publish", "golden/x", "-m", "1", "-q", "1"))
    golden("cluster_status", admin.json("cluster", "status"), ("clients_connected", "subscriptions", "queued_messages"))
    golden("cluster_members", admin.json("cluster", "members"), ("clients_connected",))
    golden("client_list", admin.json("client", "list"), ("connected",))
    golden("client_show", admin.json("client", "show", "golden-1"), ("connected",))
    golden("session_list", admin.json("session", "list", "--client", "golden-2"), ("queued_bytes",))
    golden("session_slow", admin.json("session", "slow"), ("queued_bytes",))
    golden("retained_list", admin.json("retained", "list"))
    golden("listener_list", admin.json("listener", "list"), ("url",))
    golden("explain_owner", admin.json("explain", "owner", "golden-2"), ("shard", "client_node", "words"))
    golden("explain_loss", admin.json("explain", "loss"))
    golden("acl_check", admin.json("acl", "check", "golden/x", "--user", "alice"))
    backup = scratch("backup")
    golden("backup_create", admin.json("backup", "create", backup), ("directory", "bytes", "took", "log_index", "files", "created", "duration", "bytes_total", "bytes_free"))
    golden("backup_verify", admin.json("backup", "verify", backup), ("directory", "bytes", "took", "log_index", "files", "created", "duration", "bytes_total", "bytes_free"))
    golden("retained_delete", admin.json("retained", "delete", "golden/#", "--yes"))
    golden("client_kick", admin.json("client", "kick", "golden-1"))
    holds(connected.closed() is not None, "DISCONNECT")
    broker.terminate()


main()
