"""How each kind of figure is taken: functions that make do(server, options) for a Measure.

Rates and latencies are mqload's; CPU is the server's processor time, user and system, of all its threads.
"""

import os
import tempfile
import time
from pathlib import Path

from targets import file_limit

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


CONNECTS_PER_S = 25_000  # About what a storm comes with.


def _behind():
    """A storm comes from other machines: its generator has only what the traffic leaves of its processors."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def laps_of(traffic, names):
    """{name: lap} of a led `pubsub`, which is ended; laps beyond the names are left out."""
    laps = dict(zip(names, traffic.end().get("laps", [])))
    return {name: laps.get(name, {}) for name in names}


def latencies(laps, columns):
    """The rows p99 and p50 of laps, in these columns."""
    return {(quantile, column): laps[name].get("latency_us", {}).get(quantile)
            for quantile in ("p99", "p50") for name, column in columns.items()}


def expect(server, answer, count, field="connections"):
    if answer.get(field) != count:
        server.fault(f"{answer.get(field)} of {count} {field}")


def storm(count, arguments, transport, prefix=""):
    """Latency of paced traffic, first alone and then exactly while `count` clients come, which stay.

    One run of the traffic for both; a message counts where it was due. The quiet lap is as long as the storm was
    last time, or should be: a pause of some milliseconds that the machine makes is in the 99th percentile of a
    short lap and not of a long one.
    """
    lasted = {}

    def do(server, options):
        weather = server.led(f"connect --mode hold --clients {count} --settle 0 {arguments}", transport, prepare=_behind)
        traffic = server.led(TRAFFIC)
        traffic.cue()
        time.sleep(lasted.get(server.name, count / CONNECTS_PER_S))
        traffic.cue()
        begun = time.monotonic()
        weather.cue()
        result = weather.answer()
        traffic.cue()
        if result.get("connections") == count:
            lasted[server.name] = time.monotonic() - begun
        laps = laps_of(traffic, ("quiet", "storm"))
        weather.end()
        expect(server, result, count)
        if "--resume" in arguments:
            expect(server, result, count, "resumed")
        return {**latencies(laps, {"quiet": f"{prefix}quiet", "storm": f"{prefix}in the storm"}),
                ("rate", f"{prefix}in the storm"): result.get("connects_per_s")}
    return do


def crowd_size(server, options):
    """As many connections as wanted, or as descriptors allow beside those that a server keeps for files and traffic."""
    count = min(options.crowd, file_limit() - 2000)
    if count < options.crowd:
        server.remark(f"{count:,} connections: a process may have {file_limit():,} descriptors here, "
                      f"of which mqttd keeps 1,500 for the store")
    return count


def crowd(prefix=""):
    """Paced traffic of 100 connections: alone, while many come and subscribe, and among them."""
    def do(server, options):
        count = crowd_size(server, options)
        many = server.led(f"connect --mode hold --clients {count} --subscribe --settle 1", prepare=_behind)
        traffic = server.led(TRAFFIC)
        traffic.cue()
        time.sleep(options.seconds)
        traffic.cue()
        many.cue()
        result = many.answer()
        traffic.cue()
        time.sleep(options.seconds)
        laps = laps_of(traffic, ("alone", "coming", "among"))
        many.end()
        expect(server, result, count)
        few, among = f"{prefix}few", f"{prefix}among many"
        return {**latencies(laps, {"alone": few, "coming": f"{prefix}while they come", "among": among}),
                ("cpu", few): laps["alone"].get("broker_cpu_us_per_msg"),
                ("cpu", among): laps["among"].get("broker_cpu_us_per_msg"),
                ("bytes", among): result.get("rss_bytes_per_connection"),
                ("seconds", f"{prefix}while they come"): result.get("connect_seconds")}
    return do


def restart(server, options):
    """Many durable sessions, each connected; the server is stopped and started, and all come back beside traffic."""
    count = crowd_size(server, options)
    many = server.led(f"connect --mode hold --clients {count} --resume --subscribe --settle 0", prepare=_behind)
    many.cue()
    first = many.answer()
    expect(server, first, count)
    down = server.restart()
    traffic = server.led(TRAFFIC)
    traffic.cue()
    time.sleep(first.get("connect_seconds") or options.seconds)  # Of about the same length, as in a storm.
    traffic.cue()
    many.cue()
    result = many.answer()
    traffic.cue()
    laps = laps_of(traffic, ("quiet", "returning"))
    many.end()
    expect(server, result, count)
    expect(server, result, count, "resumed")
    return {**latencies(laps, {"quiet": "quiet", "returning": "while they return"}),
            ("down", "while they return"): down, ("seconds", "while they return"): result.get("connect_seconds"),
            ("rate", "while they return"): result.get("connects_per_s")}


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
