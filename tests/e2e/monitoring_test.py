#!/usr/bin/env python3
"""deploy/monitoring: alerts that fire when they should and not before, a dashboard of what exists.

What a real broker shows in /metrics is what promtool's rule tests are fed with: 20 minutes of a broker
that is well, then an hour of trouble. Trouble is made in real brokers where that is quick, else by other
values of series that a real broker has. No metric or label can be misspelt without a failure here.
"""

import json
import re
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
MONITORING = Path(__file__).resolve().parent.parent.parent / "deploy" / "monitoring"
sys.path.insert(0, str(MONITORING))
sys.dont_write_bytecode = True
from e2e import PATIENCE_S, Broker, Certificates, Skip, case, equal, holds, main, run, write  # noqa: E402
from local_cluster import free_ports  # noqa: E402
from mqtt_wire import Client, Closed  # noqa: E402
import make_dashboard  # noqa: E402

RULES = MONITORING / "mqttd.rules.yaml"
TARGET = 'job="mqttd",instance="b:1"'
ALL_FIRING = 'group by (alertname) (max_over_time(ALERTS{alertstate="firing"}[2h]))'
USED = set(re.findall(r"\bmqttd_\w+|\bup\b", RULES.read_text()))  # What the rules look at, and some more.
ANYWHERE = "auth: {allow_anonymous: true}\n"


def scrape(broker):
    """{series: value} of /metrics. Moments are seconds from now: promtool's clock begins at 0."""
    found = {f"up{{{TARGET}}}": 1.0}
    for line in broker.get("/metrics")[1].splitlines():
        if match := re.match(r"(mqttd_\w+)(?:\{(.*)\})? (\S+)$", line):
            name, labels, value = match[1], match[2], float(match[3])
            if name.endswith(("_timestamp_seconds", "start_time_seconds")):
                value -= time.time()
            found[f"{name}{{{labels + ',' if labels else ''}{TARGET}}}"] = value
    return found


def group(name, before, trouble, fires, expressions=()):
    """One test of promtool's. trouble: {series: value, or a notation such as "0+5x60"}."""
    unknown = set(trouble) - set(before)
    holds(not unknown, f"{name}: no broker has {unknown}")
    inputs = [{"series": series, "values": f"{value!r}+0x19 " + (
        trouble[series] if isinstance(trouble.get(series), str) else f"{float(trouble.get(series, value))!r}+0x60")}
        for series, value in before.items() if expressions or series.split("{")[0] in USED]
    wanted = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(fires)]
    return {"name": name, "interval": "1m", "input_series": inputs, "promql_expr_test": [
        {"expr": f"{ALL_FIRING} # {name}", "eval_time": "80m", "exp_samples": wanted}, *(
            {"expr": f"group({expression})", "eval_time": "80m", "exp_samples": [{"labels": "{}", "value": 1}]}
            for expression in expressions)]}


def promtool(*groups):
    if not shutil.which("promtool"):
        raise Skip("promtool is missing (Debian's prometheus): ./dev setup")
    tests = write("rules.test.yaml", json.dumps(
        {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(groups)}))
    run("promtool", "test", "rules", tests)


def alerts():
    """[(name, expression, the rest of it)], in the one style in which the file is written."""
    found = re.findall(r"- alert: (\w+)\n +expr: (.*)\n((?:(?! *- alert).*\n?)*)", RULES.read_text())
    holds(len(found) > 20, found)
    return found


def until(broker, name, wanted=1):
    """The scrape in which that series has at least that value."""
    deadline = time.monotonic() + PATIENCE_S
    while broker.metric(name) < wanted:
        holds(time.monotonic() < deadline, f"{name} is not {wanted}")
    return scrape(broker)


certificates = Certificates()
founder, joins = (f"127.0.0.1:{port}" for port in free_ports(2))
well = Broker(config=f"""\
data_dir: {{data}}
cluster: {{listen: {founder}, expected_size: 1}}
tls: {{cert_file: {certificates.server}, key_file: {certificates.server_key}}}
listeners: [mqtt://127.0.0.1:0, mqtts://127.0.0.1:0]
{ANYWHERE}""")
other = Broker(config=f"""\
data_dir: {{data}}
cluster: {{listen: {joins}, seeds: {founder}}}
listeners: [mqtt://127.0.0.1:0]
{ANYWHERE}""")
until(well, 'mqttd_cluster_link_up{node="2"}')
WELL = until(well, 'mqttd_cluster_members{state="live"}', 2)
# Certificates of tests are for two days; this is a broker with one for a year.
YEAR = {series: value + 365 * 86400 if "certificate_expiry" in series else value for series, value in WELL.items()}


def series(name, **labels):
    """Those of YEAR with that name and labels."""
    return [key for key in YEAR if key.startswith(name + "{") and all(f'{k}="{v}"' in key for k, v in labels.items())]


def values(value, name, **labels):
    found = series(name, **labels)
    holds(found, f"no broker has {name} {labels}")
    return {key: value for key in found}


def slow_syncs():
    """A log whose syncs all take more than half a second."""
    buckets = series("mqttd_log_sync_latency_seconds_bucket")
    return {key: "9+10x60" for key in buckets if float(re.search(r'le="([^"]+)"', key)[1]) > 0.6}


STEP = "5+0x60"  # A counter that rose once.
TABLE = (
    ("MqttdDown", values(0, "up")),
    ("MqttdNotReady", values(0, "mqttd_ready")),
    ("MqttdRestarts", values("9+100x60", "mqttd_start_time_seconds")),
    ("MqttdStalled", values(9, "mqttd_shard_stall_seconds")),
    ("MqttdLogUnhealthy", values(0, "mqttd_log_healthy")),
    ("MqttdStateUnhealthy", values(0, "mqttd_storage_state_healthy")),
    ("MqttdPartitionStopped", values(1, "mqttd_storage_partitions_stopped")),
    ("MqttdStorageDamaged", values(1, "mqttd_storage_damaged")),
    ("MqttdStorageDamaged", values(STEP, "mqttd_storage_damage_total")),
    ("MqttdLogEntriesLost", values(3, "mqttd_storage_log_entries_lost")),
    ("MqttdNodeOutrun", values(STEP, "mqttd_log_outrun_total")),
    ("MqttdWithoutMostNodes", values(0, "mqttd_cluster_lease")),
    ("MqttdPartitionsWithoutLeader", values(3, "mqttd_cluster_partitions_without_leader")),
    ("MqttdLinkBroken", values(0, "mqttd_cluster_link_up")),
    ("MqttdReplicasLost", values(16, "mqttd_cluster_replicas_lost")),
    ("MqttdNodeAway", values(1, "mqttd_cluster_members", state="gone")),
    ("MqttdNodeAway", {**values(1, "mqttd_cluster_members", state="gone"), **values(0, "mqttd_cluster_link_up")}),
    ("MqttdLogSyncSlow", slow_syncs()),
    ("MqttdMessagesDropped", values(STEP, "mqttd_messages_dropped_total", cause="output_full")),
    ("MqttdMessagesDropped", values(STEP, "mqttd_messages_dropped_total", cause="queue_full")),
    ("MqttdStoredMessagesDropped", values(STEP, "mqttd_storage_messages_dropped_total", cause="shared_full")),
    ("MqttdStoredMessagesDropped", values(STEP, "mqttd_storage_messages_dropped_total", cause="retained_full")),
    ("MqttdDescriptorsNearlyUsed", values(YEAR[series("mqttd_process_max_fds")[0]] * 0.9, "mqttd_process_open_fds")),
    ("MqttdAuthFailures", values("0+120x60", "mqttd_auth_failures_total")),
    ("MqttdLoginsRefused", values(STEP, "mqttd_password_hashes_refused_total")),
    ("MqttdClientsFight", values(STEP, "mqttd_takeovers_held_total")),
    ("MqttdProtocolViolations", values("0+60x60", "mqttd_protocol_violations_total", rule="other")),
    ("MqttdCertificateExpires", values(10 * 86400, "mqttd_listener_certificate_expiry_timestamp_seconds")),
)
# What is as the clients wanted it, or happens every day.
HARMLESS = {
    **values(STEP, "mqttd_messages_dropped_total", cause="expired"),
    **values(STEP, "mqttd_messages_dropped_total", cause="session_ended"),
    **values(STEP, "mqttd_connections_refused_total", cause="banned"),
    **values(STEP, "mqttd_storage_messages_dropped_total", cause="expired"),
    **values(STEP, "mqttd_connections_refused_total", cause="draining"),
    **values(STEP, "mqttd_auth_failures_total"), **values(STEP, "mqttd_protocol_violations_total"),
}
seen_to_fire = {alert for alert, _ in TABLE}


def scene(name, fires, broker, trouble, sign):
    """The test of a real broker: as it starts, and after trouble(broker)."""
    before = scrape(broker)
    if trouble:
        trouble(broker)
    after = until(broker, sign)
    if not trouble:  # It was so from the start.
        before = after
    broker.kill()
    seen_to_fire.update(fires)
    return group(name, before, {key: after[key] for key in before}, fires)


def publish_to_one_who_is_away(broker):
    away = Client(broker.port, "away")
    away.subscribe("t", 1)
    away.disconnect()
    client = Client(broker.port, "publishes", clean=True)
    for _ in range(12):
        client.published("t", "x", qos=1)


def go_beyond_bounds(broker):
    one = Client(broker.ports[0], "one", clean=True)
    equal(one.subscribe("a", 1), 1, "the first subscription")
    equal(one.subscribe("b", 1), 0x97, "the second")
    everywhere, single = broker.ports
    kept = [one, Client(single, "two", clean=True)]
    is_refused(single)
    kept.append(Client(everywhere, "three", clean=True))
    is_refused(everywhere)


def is_refused(port):
    try:
        Client(port, "one too many", clean=True)
    except (Closed, AssertionError, OSError):
        return
    raise AssertionError("one too many was let in")


@case("the rules are Prometheus' and each says how grave it is and what to do")
def _():
    if not shutil.which("promtool"):
        raise Skip("promtool is missing (Debian's prometheus): ./dev setup")
    run("promtool", "check", "rules", RULES)
    document = (MONITORING.parent.parent / "docs" / "monitoring.md").read_text()
    for name, _, rest in alerts():
        holds(f"`{name}`" in document, f"{name} is in no table of docs/monitoring.md")
        holds(re.search(r"severity: (critical|warning)\b", rest), f"{name}: severity")
        for text in ("summary", "description"):
            holds(re.search(rf'^ +{text}: ".+"$', rest, re.MULTILINE), f"{name}: {text}")


def labels_of(name):
    return {label for key in series(name) for label in re.findall(r'(\w+)="', key)}


def check_names(where, expression, texts=""):
    """Metrics and labels of an expression, and of the texts about it, are some that a broker has."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    metrics = set(re.findall(r"\bmqttd_\w+|\bup\b", plain))
    holds(metrics, f"{where}: no metric in {expression}")
    for metric in metrics:
        holds(series(metric), f"{where}: no broker has {metric}")
    known = set.union(*(labels_of(metric) for metric in metrics))
    for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            holds(label in labels_of(metric), f"{where}: {metric} has no label {label}")
            for one in value.split("|"):
                holds(one.startswith("$") or series(metric, **{label: one}), f"{where}: {metric} has no {label}={one}")
    used = {label for names in re.findall(r"\bby \(([^)]*)\)", plain) for label in re.split(r",\s*", names)}
    grouped = set(re.findall(r"\bby \(([^)]*)\)", plain)[0].split(", ")) if used else known
    holds(used <= known, f"{where}: {used - known} are no labels of {metrics}")
    shown = set(re.findall(r"\$labels\.(\w+)", texts))
    holds(shown <= grouped, f"{where}: the text shows {shown - grouped}")


@case("every metric and label of rules and dashboard is one that a broker has")
def _():
    for name, expression, rest in alerts():
        check_names(name, expression, rest)
    for panel in make_dashboard.dashboard()["panels"]:
        for target in panel.get("targets", ()):
            check_names(panel["title"], target["expr"])
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                holds(any(label in labels_of(metric) for metric in re.findall(r"mqttd_\w+", target["expr"])),
                      f"{panel['title']}: {label}")


@case("the dashboard's file is what make_dashboard.py makes, and a dashboard")
def _():
    equal((MONITORING / "mqttd.dashboard.json").read_text(), make_dashboard.text(),
          "mqttd.dashboard.json; run deploy/monitoring/make_dashboard.py")
    dashboard = make_dashboard.dashboard()
    numbers = [panel["id"] for panel in dashboard["panels"]]
    equal(sorted(set(numbers)), sorted(numbers), "panels' numbers")
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        holds(place["x"] + place["w"] <= 24 and not cells & taken, f"{panel['title']} lies on another")
        taken |= cells
        holds(panel["type"] == "row" or panel["targets"], panel["title"])


@case("nothing fires on a broker that is well, and every panel shows something")
def _():
    expressions = [target["expr"].replace("$job", "mqttd").replace("$instance", "b:1").replace("$__rate_interval", "5m")
                   for panel in make_dashboard.dashboard()["panels"] for target in panel.get("targets", ())]
    promtool(group("well", YEAR, {}, (), expressions), group("harmless", YEAR, HARMLESS, ()))


@case("each alert fires on its trouble, and no other with it")
def _():
    promtool(*(group(f"{alert}: {next(iter(trouble))}", YEAR, trouble, [alert]) for alert, trouble in TABLE))


@case("alerts fire on brokers that are in trouble")
def _():
    one = "data_dir: {data}\nlisteners: [mqtt://127.0.0.1:0]\n" + ANYWHERE
    small = one + "storage: {queue_messages_max: 10, queue_full: %s}\n"
    promtool(
        scene("a client is away", ["MqttdQueueNearlyFull", "MqttdStoredMessagesDropped"],
              Broker(config=small % "drop_oldest"), publish_to_one_who_is_away,
              'mqttd_storage_messages_dropped_total{cause="queue_full"}'),
        scene("a client is away, publishers are refused",
              ["MqttdQueueNearlyFull", "MqttdMessagesRefused", "MqttdMessagesDropped"],
              Broker(config=small % "refuse"), publish_to_one_who_is_away,
              'mqttd_storage_messages_refused_total{cause="queue_full"}'),
        scene("the disk is nearly full", ["MqttdDiskNearlyFull", "MqttdNotReady"],
              Broker(config=one + "storage: {min_free_disk_bytes: 1TiB}\n"), None, "mqttd_disk_low"),
        scene("memory is short", ["MqttdMemoryHigh", "MqttdNotReady"],
              Broker(config=one + "broker: {memory_high_bytes: 1MiB}\n"), None, "mqttd_memory_high"),
        scene("bounds", ["MqttdConnectionsRefused", "MqttdListenerRefuses", "MqttdSubscriptionsRefused"],
              Broker(config="data_dir: {data}\nlisteners:\n  - mqtt://127.0.0.1:0\n"
                     "  - {url: 'mqtt://127.0.0.1:0', connections_max: 1}\n" + ANYWHERE
                     + "broker: {connections_max: 3}\nmqtt: {subscriptions_max: 1}\n"), go_beyond_bounds,
              'mqttd_connections_refused_total{cause="connections_max"}'),
        group("a certificate for two days", WELL, {}, ["MqttdCertificateExpires", "MqttdCertificateExpiresSoon"]))
    seen_to_fire.add("MqttdCertificateExpiresSoon")
    never = {name for name, _, _ in alerts()} - seen_to_fire
    holds(not never, f"no test makes these fire: {never}")


main()
