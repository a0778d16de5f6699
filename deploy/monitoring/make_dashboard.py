#!/usr/bin/env python3
"""Makes mqttd.dashboard.json beside it: change a panel here, not there. tests/e2e/monitoring_test.py
compares the two, and each expression with what a broker has."""

import json
import sys
from pathlib import Path

OF = '{job="$job", instance=~"$instance"}'


def of(labels):
    """OF with more labels."""
    return OF[:-1] + ", " + labels + "}"


def rate(name, by="", where=""):
    inner = f"rate({name}{of(where) if where else OF}[$__rate_interval])"
    return f"sum by ({'instance, ' + by if by else 'instance'}) ({inner})"


def quantile(q, name):
    return f"histogram_quantile({q}, sum by (instance, le) (rate({name}_bucket{OF}[$__rate_interval])))"


def latency(name):
    return [(quantile(q, name), f"{{{{instance}}}} {word}") for q, word in ((0.5, "half"), (0.99, "99 of 100"))]


# Row: panels of (title, unit, [(expression, legend)], what it says).
BY_INSTANCE = "{{instance}}"
ROWS = [
    ("At a glance", [
        ("Ready", "bool_yes_no", [(f"mqttd_ready{OF}", BY_INSTANCE)], "As /readyz says."),
        ("Clients", "short", [(f"mqttd_clients_connected{OF}", BY_INSTANCE)], "CONNACK with success was sent."),
        ("Received", "msg/s", [(rate("mqttd_publish_received_total"), BY_INSTANCE)], "PUBLISH from clients."),
        ("Sent", "msg/s", [(rate("mqttd_publish_sent_total"), BY_INSTANCE)], "PUBLISH to clients."),
        ("Dropped", "msg/s", [
            (rate("mqttd_messages_dropped_total"), BY_INSTANCE),
            (rate("mqttd_storage_messages_dropped_total"), BY_INSTANCE + " durable")], "For whatever cause; see below."),
        ("Up since", "dateTimeFromNow", [(f"mqttd_start_time_seconds{OF} * 1000", BY_INSTANCE)], ""),
    ]),
    ("Messages", [
        ("Received, by QoS", "msg/s", [(rate("mqttd_publish_received_total", "qos"), "{{instance}} QoS {{qos}}")], ""),
        ("Sent, by QoS", "msg/s", [(rate("mqttd_publish_sent_total", "qos"), "{{instance}} QoS {{qos}}")], ""),
        ("Bytes", "Bps", [
            (rate("mqttd_bytes_received_total"), "{{instance}} received"), (rate("mqttd_bytes_sent_total"), "{{instance}} sent")],
         "Whole packets, without TLS and WebSocket."),
        ("Dropped, by cause", "msg/s", [
            (rate("mqttd_messages_dropped_total", "cause"), "{{instance}} {{cause}}"),
            (rate("mqttd_storage_messages_dropped_total", "cause"), "{{instance}} durable: {{cause}}"),
            (rate("mqttd_storage_messages_refused_total", "cause"), "{{instance}} refused: {{cause}}")],
         "expired and session_ended are as the clients wanted it; the others are bounds."),
        ("Delivery", "s", latency("mqttd_delivery_latency_seconds"), "From reading a PUBLISH to a subscriber's socket."),
        ("Commit", "s", latency("mqttd_commit_latency_seconds"), "From asking for storage until it is durable."),
    ]),
    ("Clients", [
        ("Connections", "short", [
            (f"mqttd_connections{OF}", "{{instance}} all"), (f"mqttd_connections_tls{OF}", "{{instance}} TLS"),
            (f"mqttd_connections_websocket{OF}", "{{instance}} WebSocket")], "Before CONNECT too."),
        ("By listener", "short", [(f"mqttd_listener_connections{OF}", "{{instance}} {{listener}}")], ""),
        ("Connects, by version", "cps", [(rate("mqttd_connects_total", "version"), "{{instance}} {{version}}")], ""),
        ("Ended, by cause", "cps", [(rate("mqttd_connections_closed_total", "cause"), "{{instance}} {{cause}}")], ""),
        ("Refused, by cause", "cps", [
            (rate("mqttd_connections_refused_total", "cause"), "{{instance}} {{cause}}"),
            (rate("mqttd_listener_refused_total", "listener, cause"), "{{instance}} {{listener}} {{cause}}"),
            (rate("mqttd_auth_failures_total"), "{{instance}} who it is")], ""),
        ("Rules broken", "cps", [(rate("mqttd_protocol_violations_total", "rule"), "{{instance}} {{rule}}")],
         "By the rule's number in the specification."),
        ("Certificates run out in", "s", [
            (f"mqttd_listener_certificate_expiry_timestamp_seconds{OF} - time()", "{{instance}} {{listener}}")], ""),
    ]),
    ("Sessions and what they hold", [
        ("Sessions", "short", [
            (f"mqttd_sessions{OF}", "{{instance}} {{kind}}"),
            (f"mqttd_sessions_durable_connected{OF}", "{{instance}} durable, connected")], ""),
        ("Subscriptions", "short", [(f"mqttd_subscriptions{OF}", "{{instance}} {{kind}}")], ""),
        ("Queued messages", "short", [(f"mqttd_queued_messages{OF}", "{{instance}} {{kind}}")], ""),
        ("Queued bytes", "bytes", [(f"mqttd_queued_bytes{OF}", "{{instance}} {{kind}}")], ""),
        ("Queues nearly full", "short", [(f"mqttd_queues_nearly_full{OF}", "{{instance}} {{kind}}")],
         "Above 80 % of their bound. The log names them."),
        ("Retained", "short", [(f"mqttd_retained_messages{OF}", BY_INSTANCE)], ""),
    ]),
    ("Storage", [
        ("Healthy", "bool_yes_no", [
            (f"mqttd_log_healthy{OF}", "{{instance}} log"), (f"mqttd_storage_state_healthy{OF}", "{{instance}} state"),
            (f"1 - mqttd_disk_low{OF}", "{{instance}} room on the disk")], ""),
        ("Log sync", "s", latency("mqttd_log_sync_latency_seconds"), "One group commit, write and sync."),
        ("Syncs", "iops", [(rate("mqttd_log_fsyncs_total"), BY_INSTANCE)], ""),
        ("Log", "Bps", [(rate("mqttd_log_bytes_total"), BY_INSTANCE)], ""),
        ("Messages in a sync", "short", [
            (f'{rate("mqttd_log_entries_total")} / {rate("mqttd_log_batches_total")}', BY_INSTANCE)],
         "Group commit: the more wait, the more share one."),
        ("Not yet in the state", "bytes", [(f"mqttd_storage_state_pending_bytes{OF}", BY_INSTANCE)], ""),
    ]),
    ("Cluster", [  # Of a broker that is alone there is nothing.
        ("Nodes", "short", [(f"mqttd_cluster_members{OF}", "{{instance}} {{state}}")], "As each of them sees it."),
        ("Reaches most nodes", "bool_yes_no", [(f"mqttd_cluster_lease{OF}", BY_INSTANCE)],
         "It holds its lease. Without it no sessions are served that are kept."),
        ("Partitions", "short", [
            (f"mqttd_cluster_partitions_led{OF}", "{{instance}} leads"),
            (f"mqttd_cluster_partitions_without_leader{OF}", "{{instance}} knows of nobody who leads")], ""),
        ("Forwarded", "msg/s", [(rate("mqttd_cluster_forwarded_total", "direction"), "{{instance}} {{direction}}")],
         "Messages between the nodes, for clients that are connected there."),
        ("Publishers waited", "ops", [(rate("mqttd_cluster_forward_waits_total"), BY_INSTANCE)],
         "A node was behind with what it is sent."),
        ("Logs outrun", "short", [(f"mqttd_log_outrun_total{OF}", BY_INSTANCE)],
         "A node was away for so long that it cannot catch up."),
    ]),
    ("Machine", [
        ("Processor", "percentunit", [(rate("mqttd_process_cpu_seconds_total"), BY_INSTANCE)], "100 % is one core."),
        ("Memory", "bytes", [
            (f"mqttd_process_resident_memory_bytes{OF}", "{{instance}} resident"),
            (f"mqttd_memory_high_bytes{OF}", "{{instance}} mark")], "Above the mark new clients are refused."),
        ("Memory, by use", "bytes", [(f"mqttd_memory_account_bytes{OF}", "{{instance}} {{use}}")], ""),
        ("Descriptors", "short", [
            (f"mqttd_process_open_fds{OF}", "{{instance}} open"), (f"mqttd_process_max_fds{OF}", "{{instance}} limit")], ""),
        ("Turns of shards", "ops", [(rate("mqttd_shard_turns_total", "shard"), "{{instance}} {{shard}}")],
         "One much busier than the others: few connections do all the work."),
        ("Slowed down", "ops", [
            (rate("mqttd_reads_paused_total"), "{{instance}} not read from"),
            (rate("mqttd_publish_throttled_total", "cause"), "{{instance}} {{cause}}")], "Publishers that had to wait."),
    ]),
]
COLUMNS, HEIGHT, SMALL_HEIGHT = 3, 8, 4
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(number, place, title, unit, targets, text, small):
    return {
        "id": number, "type": "stat" if small else "timeseries", "title": title, "description": text,
        "datasource": SOURCE, "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {"colorMode": "none"} if small else {"legend": {"displayMode": "list", "placement": "bottom"},
                                                        "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [{"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
                    for at, (expression, legend) in enumerate(targets)],
    }


def variable(name, label, query, several):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2,
            "sort": 1, "multi": several, "includeAll": several,
            **({"current": {"text": "All", "value": "$__all"}} if several else {})}


def dashboard():
    panels, y = [], 0
    for title, contents in ROWS:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        small = title == ROWS[0][0]
        columns, height = (len(contents), SMALL_HEIGHT) if small else (COLUMNS, HEIGHT)
        for at, (name, unit, targets, text) in enumerate(contents):
            place = {"x": at % columns * (24 // columns), "y": y + at // columns * height, "w": 24 // columns, "h": height}
            panels.append(panel(len(panels) + 1, place, name, unit, targets, text, small))
        y += -(-len(contents) // columns) * height
    return {
        "uid": "mqttd", "title": "mqttd", "tags": ["mqtt", "mqttd"], "schemaVersion": 38, "version": 1,
        "editable": True, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser", "annotations": {"list": []},
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            variable("job", "Job", "label_values(mqttd_info, job)", False),
            variable("instance", "Broker", 'label_values(mqttd_info{job="$job"}, instance)', True)]},
        "panels": panels,
    }


def text():
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("mqttd.dashboard.json")).write_text(text())
