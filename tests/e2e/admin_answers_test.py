#!/usr/bin/env python3
"""What verbs that change something answer to programs, as it is kept in golden/admin; and that no verb's answer is kept nowhere."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import GOLDEN, MQTTCTL, Admin, golden, mqtt_client  # noqa: E402
from admin_examples import verbs  # noqa: E402
from e2e import Broker, Certificates, Process, case, equal, holds, main, publish_packet, run, scratch  # noqa: E402

# No JSON: what a shell reads, and password files, which are changed without a word.
WITHOUT = {"completion", "passwd"}

authority = Certificates()
broker = Broker(config=f"""
listeners:
  - url: mqtt://127.0.0.1:0
    name: front
  - url: mqtts://127.0.0.1:0
    name: cellar
tls: {{cert_file: {authority.server}, key_file: {authority.server_key}}}
data_dir: "{{data}}"
auth: {{allow_anonymous: true}}
""")
admin = Admin(broker)


def told(name, *arguments, stdin=None, volatile=(), env=None):
    """Its answer is the one that is kept."""
    answer = json.loads(admin.ctl(*arguments, "-o", "json", stdin=stdin, env=env).out.text())
    golden(name, answer, volatile)
    return answer


@case("bans")
def _():
    told("ban_add", "ban", "add", "--client", "golden-1", "--for", "24h", "--reason", "floods")
    told("ban_remove", "ban", "remove", "--client", "golden-1")


@case("users and rules")
def _():
    told("user_add", "user", "add", "alice", stdin=b"secret\n")
    told("user_passwd", "user", "passwd", "alice", stdin=b"better\n")
    told("acl_add", "acl", "add", "--user", "alice", "readwrite", "house/#")
    told("acl_remove", "acl", "remove", "--user", "alice", "readwrite", "house/#")
    told("acl_default", "acl", "default", "allow")
    told("user_remove", "user", "remove", "alice", "--yes")


@case("the configuration, the log's level")
def _():
    admin.ctl("config", "set", "mqtt.receive_maximum", "50")
    told("config_reset", "config", "reset", "mqtt.receive_maximum")
    told("log_set", "log", "set", "debug")
    told("log_reset", "log", "reset")


@case("certificates and listeners")
def _():
    told("cert_reload", "cert", "reload", volatile=("file", "expires", "used_by", "warning"))
    told("listener_stop", "listener", "stop", "cellar", "--disconnect", "--yes")
    told("listener_start", "listener", "start", "cellar", volatile=("url",))


@case("retained messages")
def _():
    told("retained_set", "retained", "set", "golden/door", "-m", "open", "-q", "1")
    file = scratch("retained.jsonl")
    told("retained_export", "retained", "export", file, "--filter", "golden/#", volatile=("file",))
    told("retained_import", "retained", "import", file)


def while_publishing(*arguments):
    """The answer of a verb that counts messages for a while."""
    publisher = mqtt_client(broker, "golden-publisher")
    process = Process([MQTTCTL, "--endpoint", broker.admin, *arguments, "-o", "json"])
    while process.running():
        publisher.send(publish_packet("golden/busy", b"12345", qos=1, packet_id=1))
        publisher.packet()
    publisher.close()
    equal(process.wait(), 0, process.err.text())
    return json.loads(process.out.text())


@case("the busiest topics, and all that goes on")
def _():
    counted = ("messages", "bytes", "period")
    golden("topic_busiest", while_publishing("topic", "busiest", "--seconds", "1"), counted)
    everything = while_publishing("top", "--seconds", "1")
    everything["slow_sessions"] = []  # For whom something waits just now.
    golden("top", everything, (*counted, "clients_connected", "sessions", "subscriptions", "retained_messages"))


@case("events")
def _():
    process = Process([MQTTCTL, "--endpoint", broker.admin, "events", "--clients", "--client", "golden-e*", "--count", "2", "-o", "json"])
    process.out.wait_for("started")
    client = mqtt_client(broker, "golden-event")
    admin.text("client", "kick", "golden-event")
    equal(process.wait(), 0, process.err.text())
    golden("events", [json.loads(line) for line in process.out.text().splitlines()], ("at",))
    client.close()


@case("contexts")
def _():
    env = {"HOME": str(scratch("home")), "XDG_CONFIG_HOME": "", "MQTTCTL_CONTEXTS": ""}
    for name, arguments in (("context_set", ("set", "lab", "--endpoint", "127.0.0.1:9884")), ("context_use", ("use", "lab")),
                            ("context_list", ("list",)), ("context_delete", ("delete", "lab"))):
        answer = run(MQTTCTL, "context", *arguments, "-o", "json", env=env).out.text()
        golden(name, json.loads(answer), ("file",))


@case("versions")
def _():
    told("version", "version", volatile=("mqttctl",))
    alone = run(MQTTCTL, "version", "--client", "-o", "json")
    equal(json.loads(alone.out.text())["nodes"], [], "nobody is asked")
    nobody = run(MQTTCTL, "--endpoint", "127.0.0.1:1", "version", "-o", "jsonpath={.mqttctl}")
    holds(nobody.out.text() and "Warning: no answer from 127.0.0.1:1: " in nobody.err.text(), nobody.err.text())
    for wrong in (("--context", "nowhere"), ("--token-file", "/nowhere")):
        equal(run(MQTTCTL, *wrong, "version", "--client").err.text(), "", "nobody is looked for")
        holds("nowhere" in run(MQTTCTL, *wrong, "version").err.text(), "who cannot be found is said, and no more")
    table = admin.text("version")
    holds(table.startswith("mqttctl ") and "NODE" in table and "VERSION" in table, table)
    holds("NODE" not in run(MQTTCTL, "version", "--client").out.text(), "of mqttctl alone")
    holds('mqttctl: "' in admin.text("version", "-o", "yaml"), "yaml")


@case("each verb's answer is kept, or it has none")
def _():
    missing = []
    for words, _ in verbs():
        name = "_".join(words)
        if name in WITHOUT:
            holds(not list(GOLDEN.glob(f"{name}*.json")), f"{name} has one")
        elif not list(GOLDEN.glob(f"{name}.json")) and not list(GOLDEN.glob(f"{name}_*.json")):
            missing.append(name)
    equal(missing, [], "verbs whose answer nothing keeps")


main()
