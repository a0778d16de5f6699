#!/usr/bin/env python3
"""Metrics by the admin API: those of the page for Prometheus, of one node and of three."""

import json
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, Admin, durable, golden, mqtt_client  # noqa: E402
from e2e import PATIENCE_S, Broker, Process, case, equal, holds, main, publish_packet, subscribe_packet, write  # noqa: E402
from local_cluster import LocalCluster  # noqa: E402

broker = Broker(env={"MQTTD_BROKER_SHARDS": "2"})
admin = Admin(broker)
kept = durable(broker, "metrics-1")
for sent in (subscribe_packet(1, "t", 1), publish_packet("t", b"x", qos=1, packet_id=1)):  # It comes back, and was stored.
    kept.send(sent)
    kept.packet()


def page(text):
    """{family: (help, type, {labels of its samples})} of a page for Prometheus; histograms by their sum."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"# HELP (\w+) (.*)", line):
            found[match[1]] = [match[2], "", set()]
        elif match := re.match(r"# TYPE (\w+) (\w+)", line):
            found[match[1]][1] = match[2]
        elif match := re.match(r"(\w+?)(_sum|)(?:\{(.*)\})? \S+$", line):
            if match[1] in found:
                labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[3] or "")
                found[match[1]][2].add(tuple(sorted(labels)))
    return {name: tuple(each) for name, each in found.items()}


def listed(families):
    """The same of what mqttctl says."""
    return {each["name"]: (each["help"], each["type"], {tuple(sorted(sample["labels"].items())) for sample in each["samples"]})
            for each in families}


@case("it says the same as the page for Prometheus: names, help, types, labels")
def _():
    answer = admin.json("metrics")
    equal(listed(answer["families"]), page(broker.get("/metrics")[1]), "families")
    names = [each["name"] for each in answer["families"]]
    equal(names, sorted(names), "order")
    equal([(each["number"], each["node"]) for each in answer["nodes"]],
          [(0, re.search(r"node=(\S+)", broker.ready_line).group(1))], "nodes")


@case("values and histograms are those of the page")
def _():
    client = mqtt_client(broker, "metrics-2", version=4)
    golden("metrics", admin.json("metrics", "publish_received_total"))
    value = admin.text("metrics", "mqttd_connects_total", "-o", "jsonpath={.families[0].samples[1].value}")
    equal(float(value), broker.metric('mqttd_connects_total{version="3.1.1"}'), "connects of 3.1.1")
    histogram = admin.json("metrics", "commit_latency_seconds")["families"][0]["samples"][0]["histogram"]
    equal(histogram["count"], broker.metric("mqttd_commit_latency_seconds_count"), "count")
    holds(histogram["count"] > 0, "something was stored")
    equal({each["bound"]: each["count"] for each in histogram["buckets"]},
          buckets("mqttd_commit_latency_seconds"), "buckets")
    client.close()


def buckets(name):
    """{bound: count} of the page, but for the infinite one."""
    found = re.findall(rf'^{name}_bucket\{{le="([^"]+)"\}} (\S+)$', broker.get("/metrics")[1], re.MULTILINE)
    return {float(bound): int(float(count)) for bound, count in found if bound != "+Inf"}


@case("names are patterns, with or without what all begin with; what is 0 can be left out")
def _():
    for pattern in ("mqttd_connections_*ed_total", "connections_*ed_total"):
        names = [each["name"] for each in admin.json("metrics", pattern)["families"]]
        equal(names, [f"mqttd_connections_{word}_total" for word in ("closed", "opened", "refused")], pattern)
    equal(admin.json("metrics", "nothing*")["families"], [], "no such name")
    some = admin.json("metrics", "packets_received_total", "--nonzero")["families"]
    holds(some[0]["samples"] and all(each["value"] > 0 for each in some[0]["samples"]), some)
    table = admin.text("metrics", "publish_received_total")
    holds(re.match(r"NAME +LABELS +VALUE\nmqttd_publish_received_total +qos=0 +0\nmqttd_publish_received_total +qos=1 +1\n", table), table)
    holds(re.search(r"^mqttd_commit_latency_seconds +- +n=\d+ mean=\S+ p50<=\S+ p99<=\S+$", admin.text("metrics", "commit*"), re.MULTILINE),
          admin.text("metrics", "commit*"))
    wide = admin.text("metrics", "publish_received_total", "-o", "wide")
    holds("NODE" in wide and "PUBLISH received." in wide, wide)
    holds('qos: "0"' in admin.text("metrics", "publish_received_total", "-o", "yaml"), "yaml")


@case("pages go on where the one before ended, by HTTP too, and a viewer may see them")
def _():
    access = write("access", "token watcher viewer 0123456789abcdef-viewer\n")
    with Broker("--set", f"admin.access_file={access}") as guarded:
        names, token = [], ""
        while True:
            status, answer = Admin(guarded).post("Metrics/List", {"page": {"size": 7, "token": token}},
                                                 headers={"Authorization": "Bearer 0123456789abcdef-viewer"})
            equal(status, 200, answer)
            holds(len(answer["families"]) <= 7, "a page has no more than were asked for")
            names += [each["name"] for each in answer["families"]]
            token = answer["page"]["next"]
            if not token:
                break
        equal(sorted(names), sorted(page(guarded.get("/metrics")[1])), "names")
        equal(len(set(names)), len(names), "each once")
        equal(Admin(guarded).post("Metrics/List")[0], 401, "no token")
    described = admin.post("openapi.json", verb="GET")[1]
    equal(described["components"]["schemas"]["MetricSample"]["properties"]["labels"]["additionalProperties"], {"type": "string"}, "a map")


@case("--watch shows them again and again")
def _():
    watch = Process([MQTTCTL, "--endpoint", broker.admin, "metrics", "uptime_seconds", "--watch", "0.1"])
    seen = 0
    for _ in range(3):
        watch.out.wait_for("^mqttd_uptime_seconds", after=seen)
        seen = len(watch.out)
    watch.kill()


def number_of(answer, uuid):
    return next(each["number"] for each in answer["nodes"] if each["node"] == uuid)


@case("of a cluster any node tells those of all, or of one, and who did not answer")
def _():
    cluster = LocalCluster(admin="127.0.0.1:0")
    admins = [Admin(node) for node in cluster.nodes]
    clients = [mqtt_client(node, f"of-{node.number}-{i}") for node in cluster.nodes for i in range(node.number + 1)]
    for asked in admins:
        answer = asked.json("metrics", "connects_total")
        equal([each["number"] for each in answer["nodes"]], [1, 2, 3], "nodes")
        equal([each["name"] for each in answer["families"]], ["mqttd_connects_total"], "families")
        samples = answer["families"][0]["samples"]
        equal([each["number"] for each in samples], [1, 1, 1, 2, 2, 2, 3, 3, 3], "by node")
        for node in cluster.nodes:
            number = number_of(answer, node.uuid)
            got = [each["value"] for each in samples if each["number"] == number and each["labels"] == {"version": "5.0"}]
            equal(got, [node.number + 1], f"of node {number}")
            for name in (node.uuid, number):
                one = asked.json("metrics", "connects_total", "--node", name)
                equal([each["node"] for each in one["nodes"]], [node.uuid], "of one")
                equal({each["number"] for each in one["families"][0]["samples"]}, {number}, "of one")
        asked.text("metrics", "--node", "nobody", status=5)
        table = asked.text("metrics", "connects_total")
        holds(re.search(r"^mqttd_connects_total +version=5\.0 +3 +\d$", table, re.MULTILINE), table)
    whole = listed(admins[0].json("metrics")["families"])
    for node in cluster.nodes:
        for name, (_, kind, labels) in page(node.get("/metrics")[1]).items():
            equal(whole[name][1], kind, name)
            if "link" in name or "forwarded" in name or "listener" in name:
                continue
            holds(labels <= whole[name][2] or name in ("mqttd_info", "mqttd_protocol_violations_total"), f"{name}: {labels - whole[name][2]}")
    names, token = [], ""
    for number in range(1000):  # Each page of another node.
        status, answer = admins[number % 3].post("Metrics/List", {"page": {"size": 5, "token": token}})
        equal((status, answer["page"]["missing"]), (200, []), "page")
        names += [each["name"] for each in answer["families"]]
        token = answer["page"]["next"]
        if not token:
            break
    equal(names, sorted(whole), "all, each once")

    dead = cluster[1].uuid
    cluster[1].kill()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        process = admins[2].ctl("metrics", "connects_total", "-o", "json")
        answer = json.loads(process.out.text())
        numbers = {each["number"] for each in answer["families"][0]["samples"]}
        if len(numbers) == 2:
            break
        holds(time.monotonic() < deadline, "the dead node answers")
    equal({each["node"] for each in answer["nodes"]}, {cluster[0].uuid, cluster[2].uuid}, "who answered")
    holds(f"Warning: no answer from {dead}: " in process.err.text(), process.err.text())
    for client in clients:
        client.close()


main()
