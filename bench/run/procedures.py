"""How each kind of figure is taken: functions that make do(server, options) for a Measure.

Rates and latencies are mqload's; CPU is the server's processor time, user and system, of all its threads.
"""

import os
import tempfile
import time
from pathlib import Path

TRAFFIC = "pubsub --topology pairs --pubs 50 --size 256 --qos 1 --rate 5000 --warmup 0.5"


def pubsub(arguments, transport="tcp"):
    """CPU per delivered message, and the rate, of a closed loop."""
    def do(server, options):
        result = server.load_one(f"pubsub {arguments} --warmup 0.5", transport, seconds=options.seconds)
        return {"cpu": result.get("broker_cpu_us_per_msg"), "rate": result.get("delivered_per_s")}
    return do


def paced(arguments):
    """CPU per delivered message and latency at a fixed rate, measured from when each message was due."""
    def do(server, options):
        result = server.load_one(f"pubsub {arguments} --warmup 0.5", seconds=options.seconds)
        latency = result.get("latency_us", {})
        return {"cpu": result.get("broker_cpu_us_per_msg"), "p99": latency.get("p99"), "p50": latency.get("p50")}
    return do


def idle_connections(transport):
    """Growth of a fresh process per connection. A few hundred come and go before, so that code is not counted."""
    def do(server, options):
        hold = "connect --mode hold --subscribe --speak --settle 0.5"
        server.load_one(f"{hold} --clients 200", transport, seconds=0.1)
        result = server.load_one(f"{hold} --clients {options.many}", transport, seconds=0.5)
        return {"idle": result.get("rss_bytes_per_connection"), "spoken": result.get("rss_bytes_per_connection_spoken")}
    return do


def among_subscriptions(steps, hot):
    """CPU per publish as other subscriptions grow, each message to one subscriber; bytes per subscription so far."""
    def do(server, options):
        wanted = {name: count for name, count in steps.items() if count <= options.subscriptions_max}
        listed = ",".join(str(count) for count in wanted.values())
        lines = server.load(f"subscribe --clients 100 --wildcards 0.1 --match 1 --hot {hot} --steps {listed} "
                            f"--warmup 0.5 --unsubscribe 0", seconds=options.seconds)
        figures = {}
        for name, line in zip(wanted, lines or []):
            figures["cpu", name] = line.get("broker_cpu_us_per_published")
            figures["bytes", name] = line.get("rss_bytes_per_subscription_so_far")
        return figures
    return do


def queue_and_drain(arguments):
    def do(server, _):
        result = server.load_one(f"sessions {arguments}")
        queued, drained = result.get("broker_cpu_us_per_queued"), result.get("broker_cpu_us_per_drained")
        both = queued + drained if queued is not None and drained is not None else None
        return {"both": both, "queue": queued, "drain": drained}
    return do


def commits(publishers):
    """Messages per second when each publisher waits for its PUBACK, and how many one fsync carries."""
    def do(server, options):
        before = server.metrics()
        result = server.load_one(f"pubsub --topology pairs --pubs {publishers} --size 256 --qos 1 --window 1 "
                                 f"--e2e-window 64 --persistent --warmup 0.5", seconds=options.seconds)
        after = server.metrics()
        syncs = after["mqttd_log_fsyncs_total"] - before["mqttd_log_fsyncs_total"]
        # Of the whole run: acknowledgements of subscribers are commits too, and share the same fsyncs.
        per_sync = result.get("published", 0) / syncs if syncs else None
        latency = result.get("latency_us", {}).get("p99")
        return {"rate": result.get("published_per_s"), "per fsync": per_sync, "cpu": result.get("broker_cpu_us_per_msg"),
                "p99": latency / 1000 if latency is not None else None}
    return do


def bare_syncs(_, options):
    """How often this disk can write 300 bytes and sync them, one after the other: the limit for one publisher."""
    with tempfile.TemporaryDirectory(prefix="mqttd-sync-") as directory:
        file = os.open(Path(directory) / "log", os.O_CREAT | os.O_WRONLY)
        count, start = 0, time.monotonic()
        while time.monotonic() - start < min(options.seconds, 2):
            os.write(file, b"x" * 300)
            os.fdatasync(file)
            count += 1
        taken = time.monotonic() - start
        os.close(file)
    return {"rate": count / taken}


def connects(arguments):
    """CPU per connection of many that come and stay."""
    def do(server, options):
        result = server.load_one(f"connect --mode hold --clients {options.many} --settle 0.2 {arguments}", seconds=0.1)
        return {"cpu": result.get("broker_cpu_us_per_connect"), "rate": result.get("connects_per_s")}
    return do


def handshakes(server, options):
    result = server.load_one("connect --mode churn --concurrency 64 --clients 1000", "tls", seconds=options.seconds)
    return {"cpu": result.get("broker_cpu_us_per_connect"), "rate": result.get("connects_per_s")}


def _behind():
    """The storm's generator comes last: it is the broker's latency that is asked for, not that of the machine."""
    os.nice(5)


def storm(arguments, transport, prefix=""):
    """Latency of paced traffic, first alone and then while clients connect and leave as fast as they can."""
    def do(server, options):
        def traffic():
            return server.load_one(TRAFFIC, seconds=options.seconds).get("latency_us", {})

        quiet = traffic()
        weather = server.begin(f"connect --mode churn --concurrency 64 {arguments}", transport,
                               seconds=options.seconds + 4, preexec_fn=_behind)
        if "--persistent" in arguments:
            await_sessions(server, options)
        wild = traffic()
        result = (server.end(weather) or [{}])[0]
        return {("p99", f"{prefix}quiet"): quiet.get("p99"), ("p99", f"{prefix}in the storm"): wild.get("p99"),
                ("p50", f"{prefix}quiet"): quiet.get("p50"), ("p50", f"{prefix}in the storm"): wild.get("p50"),
                ("rate", f"{prefix}in the storm"): result.get("connects_per_s")}
    return do


def await_sessions(server, options):
    """Until the storm has made its sessions and goes on to resuming them; other servers do not say, so wait."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        if server.http is None:
            time.sleep(3)
            return
        if server.metrics().get('mqttd_sessions{kind="durable"}', 0) >= options.many:
            return
        time.sleep(0.2)


def deaf_fanout(arguments):
    """Deliveries per second, memory and drops while one subscriber may be deaf."""
    def do(server, options):
        before, resident = server.metrics(), server.resident_bytes()
        result = server.load_one(f"pubsub {arguments} --warmup 1", seconds=max(options.seconds, 4))
        after, grown = server.metrics(), server.resident_bytes() - resident
        dropped = {name: after[name] - before.get(name, 0) for name in after
                   if name.startswith("mqttd_messages_dropped_total") and after[name] > before.get(name, 0)}
        for name, count in dropped.items():
            server.remark(f"{name} grew by {count:.0f}")
        return {"rate": result.get("delivered_per_s"), "cpu": result.get("broker_cpu_us_per_msg"),
                "memory": grown / 2**20, "dropped": sum(dropped.values())}
    return do
