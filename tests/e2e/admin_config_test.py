#!/usr/bin/env python3
"""What the admin API shows and sets of a node itself: configuration, log, certificates, listeners; and answers as programs read them."""

import json
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin, durable, golden, mqtt_client  # noqa: E402
from e2e import MQTTD_BIN, PATIENCE_S, Broker, Certificates, case, equal, holds, main, run, scratch, subscribe_packet, write  # noqa: E402

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


@case("who may call, set at run time, is asked of everybody after a restart too")
def _():
    broker = Broker()
    admin = Admin(broker)
    token = "0123456789abcdef-admin"
    access = write("access-set", f"token root admin {token}\n")
    bearer = {"Authorization": f"Bearer {token}"}
    admin.ctl("config", "set", "admin.access_file", access)
    for when in ("at once", "after a restart"):
        equal(admin.post("Cluster/Status")[0], 401, f"by HTTP, {when}")
        admin.ctl("cluster", "status", status=4)
        equal(admin.post("Cluster/Status", headers=bearer)[0], 200, when)
        broker.terminate()
        broker.start()
    broker.terminate()


@case("who signs callers' certificates can be set at run time: from then on they are asked for")
def _():
    authority = Certificates()
    broker = Broker("--set", f"admin.cert_file={authority.server}", "--set", f"admin.key_file={authority.server_key}")
    admin = Admin(broker)
    where = ("--ca-file", authority.ca, "--server-name", "localhost")
    certificate, key = authority.issue("ops")
    mine = (*where, "--cert-file", certificate, "--key-file", key)
    admin.ctl(*where, "config", "set", "admin.ca_file", authority.ca)
    admin.ctl(*where, "cluster", "status", status=4)
    admin.ctl(*mine, "cluster", "status")
    admin.ctl(*mine, "config", "reset", "admin.ca_file")
    admin.ctl(*where, "cluster", "status")
    broker.terminate()


@case("the files of the admin API are checked as all others are, before a start, at one, and by validate")
def _():
    missing, wrong = scratch("missing"), write("access-wrong", "token root king 0123456789abcdef-admin\n")
    for key in ("access_file", "cert_file"):
        more = ("--set", f"admin.key_file={missing}") if key == "cert_file" else ()
        for command in (("--check-config",), ("--data-dir", scratch("data"), "--listen", "mqtt://127.0.0.1:0", "--http", "off", "--admin", "127.0.0.1:0")):
            said = run(MQTTD_BIN, *command, "--set", f"admin.{key}={missing}", *more, status=2).err.text()
            holds(str(missing) in said, said)
    broker = Broker()
    answer = Admin(broker).post("Config/Validate", {"yaml": f"admin: {{access_file: {wrong}}}"})[1]
    holds(f"{wrong}:1: a role is viewer, operator or admin" in str(answer["errors"]), answer)
    broker.terminate()


@case("of what was set, only what does not hold any more is left out, by name, and can be reset")
def _():
    side = "  - url: mqtt://127.0.0.1:0\n    name: side\n"
    broker = Broker(config=CONFIG.replace("mqtt: {", side + "mqtt: {"))
    admin = Admin(broker)
    admin.ctl("config", "set", "auth.allow_anonymous", "false")
    admin.ctl("config", "set", "listeners.1.connections_max", "5")
    broker.terminate()
    Path(broker.config_file).write_text(Path(broker.config_file).read_text().replace(side, ""))
    broker.start()
    broker.log.wait_for(r"left out.*listeners\.1\.connections_max.*no such listener.*mqttctl config reset listeners\.1\.connections_max")
    equal(value(admin, "auth.allow_anonymous"), ("false", "run_time"), "the other one holds")
    shown = admin.ctl("config", "show", "--changed", "-o", "json")
    golden("config_show_left_out", [each for each in json.loads(shown.out.text()) if "left_out" in each])
    holds("Warning: listeners.1.connections_max was set at run time to 5, and does not hold (" in shown.err.text(), shown.err.text())
    equal(admin.ctl("config", "show", "mqtt.").err.text(), "", "only of those that were asked for")
    admin.ctl("config", "set", "mqtt.topic_alias_maximum", "9")
    Path(broker.config_file).write_text(Path(broker.config_file).read_text().replace("receive_maximum: 40", "receive_maximum: 41"))
    admin.ctl("config", "reload")
    equal(value(admin, "mqtt.receive_maximum"), ("41", "file"))
    holds("listeners.1.connections_max" in str(admin.post("Config/Validate")[1]["warnings"]), "said by validate")
    admin.ctl("config", "reset", "listeners.1.connections_max")
    holds("was not set" in admin.text("config", "reset", "listeners.1.connections_max", status=5), "it is gone")
    equal(admin.ctl("config", "show").err.text(), "", "nor is it shown")
    holds("connections_max" not in str(admin.post("Config/Validate")[1].get("warnings")), "nothing is left out")
    equal((value(admin, "auth.allow_anonymous"), value(admin, "mqtt.topic_alias_maximum")), (("false", "run_time"), ("9", "run_time")))
    broker.terminate()


@case("a setting that says who is let in is not left out: a reload is refused without it, and so is a start")
def _():
    authority = Certificates()
    asks = f"ca_file: {authority.ca}, "
    broker = Broker(config=f"""
tls: {{{asks}cert_file: {authority.server}, key_file: {authority.server_key}}}
listeners: [mqtts://127.0.0.1:0]
data_dir: "{{data}}"
auth: {{allow_anonymous: true}}
""")
    admin = Admin(broker)
    config = Path(broker.config_file)
    right = config.read_text()
    admin.ctl("config", "set", "tls.client_certificate", "required")
    config.write_text(right.replace(asks, ""))
    words = r"tls\.client_certificate was set at run time and does not hold \(.*needs ca_file.*says who is let in"
    for command in (("reload",), ("set", "mqtt.receive_maximum", "50")):
        said = admin.text("config", *command, status=6)
        holds(re.search(words, said), said)
    equal(value(admin, "tls.client_certificate"), ("required", "run_time"), "nothing has changed")
    broker.terminate()
    said = run(*broker._command, status=2).err.text()
    holds(re.search(words, said), said)
    config.write_text(right)
    broker.start()
    config.write_text(right.replace(asks, ""))
    admin.ctl("config", "reset", "tls.client_certificate")
    admin.ctl("config", "reload")
    equal(value(admin, "tls.client_certificate"), ("off", "default"))
    broker.terminate()
    broker.start()
    broker.terminate()


@case("what says who is let in is not left out because its listener has another number now")
def _():
    first = "  - url: mqtt://127.0.0.1:0\n    name: first\n"
    broker = Broker(config=f"""
listeners:
{first}  - url: mqtt://127.0.0.1:0
    name: second
data_dir: "{{data}}"
auth: {{allow_anonymous: true}}
""")
    admin = Admin(broker)
    config = Path(broker.config_file)
    admin.ctl("config", "set", "listeners.1.allow_anonymous", "false")
    config.write_text(config.read_text().replace(first, ""))
    words = r"listeners\.1\.allow_anonymous was set at run time and does not hold \(.*no such listener"
    said = admin.text("config", "reload", status=6)
    holds(re.search(words, said), said)
    broker.terminate()
    said = run(*broker._command, status=2).err.text()
    holds(re.search(words, said), said)


@case("a file of settings that cannot be read, or is damaged, ends the start in words")
def _():
    broker = Broker()
    admin = Admin(broker)
    admin.ctl("config", "set", "mqtt.receive_maximum", "50")
    broker.terminate()
    kept = Path(broker.data_dir) / "admin" / "config"
    right = kept.read_text()

    def refuses(status, *words):
        said = run(*broker._command, status=status).err.text()
        holds(all(word in said for word in (str(kept), "Mend it, or remove it", *words)), said)
    kept.write_text(right + "nonsense\n")
    refuses(2, "config:2 is not KEY=VALUE")
    kept.unlink()
    kept.mkdir()
    refuses(1, "cannot read")
    kept.rmdir()
    kept.write_text(right)
    broker.start()
    equal(value(admin, "mqtt.receive_maximum"), ("50", "run_time"))
    broker.terminate()


@case("a key is the same key in every spelling, and one that needs a restart is refused whatever its value")
def _():
    broker = Broker(config=CONFIG)
    admin = Admin(broker)
    for key, same in (("storage.partitions", "16"), ("storage.minFreeDiskBytes", "1MiB"), ("data_dir", broker.data_dir), ("cluster.listen", ""),
                      ("listeners.0.url", "mqtt://127.0.0.1:1899"), ("listeners", "mqtt://127.0.0.1:1899")):
        holds("needs a restart" in admin.text("config", "set", key, str(same), status=6), key)
    for spelling in ("log.Level", "LOG.level"):
        holds("by Log/SetLevel" in admin.text("config", "set", spelling, "debug", status=1), spelling)
    admin.ctl("config", "set", "mqtt.receiveMaximum", "50")
    equal(value(admin, "mqtt.receive_maximum"), ("50", "run_time"))
    admin.ctl("config", "set", "listeners.00.connectionsMax", "7")
    equal(value(admin, "listeners.0.connections_max"), ("7", "run_time"))
    admin.ctl("config", "reset", "mqtt.receive_maximum")
    admin.ctl("config", "reset", "listeners.0.connectionsMax")
    equal((value(admin, "mqtt.receive_maximum"), value(admin, "listeners.0.connections_max")[1]), (("40", "file"), "default"))
    broker.terminate()


@case("what an earlier release let be set is left out at a start, in whatever spelling it was kept")
def _():
    broker = Broker(config=CONFIG)
    admin = Admin(broker)
    broker.terminate()
    kept = Path(broker.data_dir) / "admin" / "config"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("log.Level=debug\nmqtt.receiveMaximum=50\nno.such=1\nstorage.partitions=16\n")
    broker.start()
    equal(value(admin, "mqtt.receive_maximum"), ("50", "run_time"))
    for key in ("log.level", "no.such", "storage.partitions"):
        broker.log.wait_for(rf"left out.*key={key.replace('.', '[.]')}")
        admin.ctl("config", "reset", key)
    equal(kept.read_text(), "mqtt.receive_maximum=50\n")
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


@case("the log's level of the file is learnt by setting another key, too")
def _():
    broker = Broker(config=CONFIG + "log: {level: info}\n")
    admin = Admin(broker)
    Path(broker.config_file).write_text(Path(broker.config_file).read_text().replace("level: info", "level: warning"))
    admin.ctl("config", "set", "mqtt.receive_maximum", "50")
    admin.ctl("log", "set", "debug")
    admin.ctl("log", "reset")
    equal(admin.json("log", "level"), {"level": "warning", "configured": "warning", "run_time": False})
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
    guarded.log.wait_for(r"admin refused .*expired")
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
