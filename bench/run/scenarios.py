"""What is measured, in which columns, and what it must keep to.

A scenario has measures, each of which runs something against a server and returns figures; one round is all of
them in turn. A figure belongs to a row (what is shown: CPU, latency, bytes) and a column (for whom).
"""

import dataclasses
from collections.abc import Callable

import checklist
import procedures
from procedures import paced, pubsub
from stats import Goal

MQTTD, FLOOR, MOSQUITTO = "mqttd", "floor", "mosquitto"
CPU = "CPU µs per delivered message"
SHOWN_ROUNDS = 3  # Of what is shown and not judged.


@dataclasses.dataclass(frozen=True)
class Measure:
    """do(server, options) -> {row: figure} or {(row, column): figure}; a row alone is column `label`."""
    label: str
    target: str
    do: Callable
    settings: tuple = ()
    fresh: bool = False
    apart: bool = False  # Server and generators on different processors: for latency, and for what waking costs.
    beside_s: float = 0.7  # About what it takes besides the measured seconds, for the estimate of what is left.


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    unit: str
    goals: tuple = ()


@dataclasses.dataclass(frozen=True)
class Scenario:
    id: str
    group: str
    title: str
    rows: tuple
    measures: tuple
    rounds_max: int = 1000
    rounds_times: int = 1  # For what the scheduler places now this way, now that.
    tool: str = ""  # That must be installed for it.

    def rounds(self, options):
        return min(options.rounds * self.rounds_times, self.rounds_max)

    def seconds(self, options):
        """About what it takes."""
        return self.rounds(options) * sum(options.seconds + measure.beside_s for measure in self.measures)


GROUPS = {
    "cost": "CPU per message against a bare relay",
    "version": "MQTT 5.0 against 3.1.1",
    "transport": "TLS and WebSocket",
    "paced": "At a fixed rate",
    "memory": "Memory of idle connections",
    "subscriptions": "Publishing among other subscriptions",
    "durable": "Durable sessions",
    "fsync": "Commits under more publishers",
    "connect": "Connections that come",
    "storm": "Storms while traffic runs",
    "crowd": "Twenty thousand connections",
    "slow": "A subscriber that never reads",
    "growth": "How cost grows",
    "shards": "Shards",
    "checklist": "Inside the broker",
}


def against_floor(ident, title, arguments, limit, *, mosquitto=True, group="cost", goal=True):
    """CPU per delivered message of the three, mqttd at most `limit` times the floor."""
    measures = [Measure(MQTTD, MQTTD, pubsub(arguments)), Measure(FLOOR, FLOOR, pubsub(arguments))]
    if mosquitto:
        measures.append(Measure(MOSQUITTO, MOSQUITTO, pubsub(arguments)))
    goals = (Goal(MQTTD, limit, FLOOR),) if goal else ()
    return Scenario(ident, group, title, (Row("cpu", CPU, goals),), tuple(measures), rounds_max=1000 if goal else SHOWN_ROUNDS)


def cost():
    pairs = "--topology pairs --pubs 50 --size 256 --window 16 --qos"
    yield against_floor("pairs-qos0", "50 pairs, QoS 0, window 16", f"{pairs} 0", 1.3)
    yield against_floor("pairs-qos1", "50 pairs, QoS 1, window 16", f"{pairs} 1", 1.3)
    yield against_floor("pairs-qos2", "50 pairs, QoS 2, window 16", f"{pairs} 2", 1.3)
    yield against_floor("fanin-qos1", "fan-in 200 → 1, QoS 1",
                        "--topology fanin --pubs 200 --subs 1 --topics 1 --size 256 --window 16 --qos 1", 1.3)
    for subscribers in (100, 1000):
        for qos in (0, 1):
            yield against_floor(f"fanout{subscribers}-qos{qos}", f"fan-out 1 → {subscribers}, QoS {qos}",
                                f"--topology fanout --pubs 1 --subs {subscribers} --size 256 --window 16 --qos {qos}", 1.3)
    yield against_floor("pairs-4k", "50 pairs, QoS 0, 4 KiB",
                        "--topology pairs --pubs 50 --size 4096 --window 16 --qos 0", 1.3)
    one = "--topology pairs --pubs 50 --size 256 --window 1 --qos"
    yield against_floor("one-qos0", "50 pairs, QoS 0, one in flight", f"{one} 0", 1.1)
    yield against_floor("one-qos1", "50 pairs, QoS 1, one in flight", f"{one} 1", 1.1)


def versions():
    shapes = {f"pairs-qos{qos}": (f"50 pairs, QoS {qos}, window 16",
                                  f"--topology pairs --pubs 50 --size 256 --window 16 --qos {qos}") for qos in (0, 1, 2)}
    shapes["fanout1000-qos0"] = ("fan-out 1 → 1000, QoS 0",
                                 "--topology fanout --pubs 1 --subs 1000 --size 256 --window 16 --qos 0")
    for ident, (title, arguments) in shapes.items():
        yield Scenario(f"v5-{ident}", "version", title, (Row("cpu", CPU, (Goal("5.0", 1.1, "3.1.1"),)),),
                       (Measure("5.0", MQTTD, pubsub(f"{arguments} --version 5")),
                        Measure("3.1.1", MQTTD, pubsub(f"{arguments} --version 4"))))


def transports():
    shapes = {"50 pairs, QoS 0, window 16": "--topology pairs --pubs 50 --size 256 --window 16 --qos 0",
              "fan-out 1 → 100, QoS 0": "--topology fanout --pubs 1 --subs 100 --size 256 --window 16 --qos 0"}
    for ident, (title, arguments) in zip(("pairs", "fanout"), shapes.items()):
        yield Scenario(f"transport-{ident}", "transport", title, (Row("cpu", CPU),),
                       (*(Measure(transport, MQTTD, pubsub(arguments, transport)) for transport in ("tcp", "ws", "tls", "wss")),
                        Measure("mosquitto tls", MOSQUITTO, pubsub(arguments, "tls"))), rounds_max=SHOWN_ROUNDS)


def at_fixed_rate():
    for qos in (0, 1):
        title, load = f"50 pairs, QoS {qos}, 20,000 msg/s", paced(f"--topology pairs --pubs 50 --size 256 --rate 20000 --qos {qos}")
        yield Scenario(f"paced-qos{qos}", "paced", title,
                       (Row("cpu", CPU, (Goal(MQTTD, 1.1, FLOOR),)),
                        Row("p99", "latency, 99th percentile, µs", (Goal(MQTTD, to=MOSQUITTO, kind="not above"),)),
                        Row("p50", "latency, median, µs", (Goal(MQTTD, 1.1, MOSQUITTO),))),
                       tuple(Measure(name, name, load, apart=True) for name in (MQTTD, FLOOR, MOSQUITTO)), rounds_times=3)
        yield Scenario(f"paced-shared-qos{qos}", "paced", f"{title}, processors shared with the clients",
                       (Row("cpu", CPU), Row("p99", "latency, 99th percentile, µs"), Row("p50", "latency, median, µs")),
                       tuple(Measure(name, name, load) for name in (MQTTD, FLOOR, MOSQUITTO)), rounds_max=SHOWN_ROUNDS)


def memory():
    transports = ("tcp", "ws", "tls", "wss")
    goals = (Goal("tcp", 900, kind="at most"), Goal("tls", 16384, kind="at most"),
             Goal("ws", 200, "tcp", kind="difference"))
    measures = [Measure(transport, MQTTD, procedures.idle_connections(transport), fresh=True,
                        beside_s=16 if transport in ("tls", "wss") else 4) for transport in transports]
    measures.append(Measure(MOSQUITTO, MOSQUITTO, procedures.idle_connections("tcp"), fresh=True, beside_s=4))
    yield Scenario("idle", "memory", "10,000 connections with session, keep alive and one subscription",
                   (Row("idle", "bytes per connection", goals), Row("spoken", "bytes, after each has spoken once", goals)),
                   tuple(measures), rounds_max=3)


def subscriptions():
    steps = {"10³": 1000, "10⁴": 10_000, "10⁵": 100_000, "10⁶": 1_000_000}
    wide = ("mqtt.subscriptions_max=1000000",)
    for ident, title, hot in (("hot", "1,000 hot topics", 1000), ("random", "random topics", 0)):
        goals = (Goal("10⁶", 1.5, "10³"),) if hot else ()
        yield Scenario(f"subscriptions-{ident}", "subscriptions",
                       f"publish to {title} among N subscriptions, 10 % with wildcards",
                       (Row("cpu", "CPU µs per publish", goals),
                        Row("bytes", "bytes per subscription", (Goal("10⁶", 150, kind="at most"),))),
                       (Measure(MQTTD, MQTTD, procedures.among_subscriptions(steps, hot), wide, fresh=True, beside_s=25),),
                       rounds_max=3)
    few = {name: count for name, count in steps.items() if count <= 100_000}
    yield Scenario("subscriptions-mosquitto", "subscriptions", "the same, hot topics, mosquitto",
                   (Row("cpu", "CPU µs per publish"), Row("bytes", "bytes per subscription")),
                   (Measure(MOSQUITTO, MOSQUITTO, procedures.among_subscriptions(few, 1000), fresh=True, beside_s=8),),
                   rounds_max=1)


def durable():
    pairs = pubsub("--topology pairs --pubs 50 --size 256 --window 16 --qos 1 --persistent")
    yield Scenario("durable-pairs", "durable", "50 pairs, QoS 1, durable sessions",
                   (Row("cpu", CPU, (Goal("sync", 1.0, "mosquitto, not durable"),)),
                    Row("rate", "messages per second")),
                   (Measure("sync", MQTTD, pairs, ("durability=sync",)),
                    Measure("mosquitto, not durable", MOSQUITTO, pairs),
                    Measure("interval", MQTTD, pairs, ("durability=interval",)),
                    Measure("none", MQTTD, pairs, ("durability=none",))))
    queue = procedures.queue_and_drain("--clients 1000 --messages 100 --size 256 --qos 1 --pubs 4")
    yield Scenario("queue-drain", "durable", "queue and drain, 1,000 sessions × 100 messages, QoS 1",
                   (Row("both", "CPU µs per message, both together", (Goal("sync", 8, kind="at most"),)),
                    Row("queue", "CPU µs per message queued"), Row("drain", "CPU µs per message drained")),
                   (Measure("sync", MQTTD, queue, ("durability=sync",)),
                    Measure("none", MQTTD, queue, ("durability=none",)),
                    Measure("mosquitto, not durable", MOSQUITTO, queue)), rounds_max=3)


def fsync_curve():
    publishers = (1, 16, 64, 1000)
    yield Scenario("fsync", "fsync", "publishers with one message in flight each, to durable sessions, durability: sync",
                   (Row("rate", "messages per second"), Row("per fsync", "messages per fsync"),
                    Row("cpu", CPU), Row("p99", "from publishing to delivery, 99th percentile, ms")),
                   tuple(Measure(f"{count:,}", MQTTD, procedures.commits(count), ("durability=sync",)) for count in publishers)
                   + (Measure("bare write + fdatasync", FLOOR, procedures.bare_syncs),), rounds_max=3)


def connects():
    clean = procedures.connects("")
    yield Scenario("connect-clean", "connect", "10,000 clean sessions",
                   (Row("cpu", "CPU µs per connect", (Goal(MQTTD, 1.0, MOSQUITTO),)), Row("rate", "connects per second")),
                   (Measure(MQTTD, MQTTD, clean), Measure(MOSQUITTO, MOSQUITTO, clean)), rounds_max=3)
    yield Scenario("connect-resume", "connect", "10,000 durable sessions resume",
                   (Row("cpu", "CPU µs per connect", (Goal("resume", 3.0, "mosquitto, clean"),)),
                    Row("rate", "connects per second")),
                   (Measure("resume", MQTTD, procedures.connects("--resume --subscribe")),
                    Measure("mosquitto, clean", MOSQUITTO, clean),
                    Measure("mosquitto, resume", MOSQUITTO, procedures.connects("--resume --subscribe"))), rounds_max=3)
    handshakes = procedures.handshakes
    yield Scenario("connect-tls", "connect", "TLS handshakes, 64 at a time",
                   (Row("cpu", "CPU µs per connect"), Row("rate", "connects per second")),
                   (Measure(MQTTD, MQTTD, handshakes), Measure(MOSQUITTO, MOSQUITTO, handshakes)), rounds_max=SHOWN_ROUNDS)


STORM_RATE_MAX = 2000  # What an operator may set for the sake of what stands behind the broker.


def storms():
    # A handshake costs twenty times a CONNECT, most of it in the generator: a thousand last as long as the others.
    kinds = (("clean", "{:,} clean sessions connect", 10_000, "", "tcp", (FLOOR, MOSQUITTO)),
             ("resume", "{:,} durable sessions resume", 10_000, "--resume --subscribe", "tcp", (MOSQUITTO,)),
             ("tls", "{:,} TLS connections", 1000, "", "tls", (MOSQUITTO,)))
    unit = "latency at 5,000 msg/s, 99th percentile, µs"
    shown = (Row("p50", "median, µs"), Row("rate", "connects per second"))
    for ident, title, count, arguments, transport, others in kinds:
        doubled = (Goal("in the storm", 2.0, "quiet"),) if transport == "tcp" else ()
        yield Scenario(f"storm-{ident}", "storm", f"{title.format(count)}, 64 at a time, as fast as they can",
                       (Row("p99", unit, (*doubled, Goal("in the storm", 1.0, "mosquitto in the storm"))), *shown),
                       (Measure("mqttd", MQTTD, procedures.storm(count, arguments, transport), apart=True, beside_s=2),
                        *(Measure(other, other, procedures.storm(count, arguments, transport, prefix=f"{other} "),
                                  apart=True, beside_s=2) for other in others)), rounds_times=2 if doubled else 1)
    for ident, title, count, arguments, transport, _ in kinds[:2]:
        yield Scenario(f"storm-{ident}-limited", "storm", f"{title.format(count)}, connection_rate_max: {STORM_RATE_MAX}",
                       (Row("p99", unit), *shown),
                       (Measure("mqttd", MQTTD, procedures.storm(count, arguments, transport),
                                settings=(f"listeners.0.connection_rate_max={STORM_RATE_MAX}",), apart=True,
                                beside_s=2 + 2 * count / STORM_RATE_MAX),), rounds_max=SHOWN_ROUNDS)


def crowds():
    latency = "latency at 5,000 msg/s, 99th percentile, µs"
    yield Scenario("crowd", "crowd", "20,000 more connections with session, keep alive and one subscription",
                   (Row("p99", latency, (Goal("among many", 1.5, "few"),)), Row("p50", "median, µs"),
                    Row("cpu", CPU, (Goal("among many", 1.5, "few"),)),
                    Row("bytes", "bytes per connection", (Goal("among many", 900, kind="at most"),)),
                    Row("seconds", "seconds until all are connected")),
                   (Measure(MQTTD, MQTTD, procedures.crowd(), fresh=True, apart=True, beside_s=8),
                    Measure(MOSQUITTO, MOSQUITTO, procedures.crowd("mosquitto "), fresh=True, apart=True, beside_s=8)), rounds_max=3)
    yield Scenario("crowd-restart", "crowd", "20,000 durable sessions return after a restart",
                   (Row("p99", latency, (Goal("while they return", 2.0, "quiet"),)), Row("p50", "median, µs"),
                    Row("down", "seconds from SIGTERM until it accepts connections"),
                    Row("seconds", "seconds until all are connected"), Row("rate", "connects per second")),
                   (Measure(MQTTD, MQTTD, procedures.restart, fresh=True, apart=True, beside_s=19),), rounds_max=3)


def slow_subscriber():
    arguments = "--topology fanout --pubs 1 --subs 10000 --size 256 --window 4 --qos 1 --version 5 --receive-max 5"
    limits = ("mqtt.queue_messages_max=5",)  # So that a few seconds fill it.
    yield Scenario("deaf", "slow", "fan-out 1 → 10,000, QoS 1, one more subscriber never reads",
                   (Row("rate", "deliveries per second to the others", (Goal("one never reads", 0.9, "all read", "ratio at least"),)),
                    Row("cpu", CPU),
                    Row("memory", "growth of the process, MiB", (Goal("one never reads", 64, kind="at most"),)),
                    Row("dropped", "messages dropped, counted with their cause", (Goal("one never reads", 1, kind="at least"),))),
                   (Measure("all read", MQTTD, procedures.deaf_fanout(arguments), limits, beside_s=5),
                    Measure("one never reads", MQTTD, procedures.deaf_fanout(f"{arguments} --deaf 1"), limits, beside_s=5)), rounds_max=3)


def growth():
    for size in (64, 1024, 16384, 65536):
        yield against_floor(f"payload-{size}", f"50 pairs, QoS 0, {size:,} bytes",
                            f"--topology pairs --pubs 50 --size {size} --window 16 --qos 0", 0, group="growth",
                            mosquitto=False, goal=False)
    for count in (1, 10, 200, 1000):
        yield against_floor(f"pairs-{count}", f"{count:,} pairs, QoS 1",
                            f"--topology pairs --pubs {count} --size 256 --window 16 --qos 1", 0, group="growth",
                            mosquitto=False, goal=False)
    for count in (1, 10, 10000):
        yield against_floor(f"fanout-{count}", f"fan-out 1 → {count:,}, QoS 0",
                            f"--topology fanout --pubs 1 --subs {count} --size 256 --window 16 --qos 0", 0, group="growth",
                            mosquitto=False, goal=False)
    for topics in (50, 5000, 50000):
        yield against_floor(f"topics-{topics}", f"50 pairs, QoS 0, {topics:,} topics in turn",
                            f"--topology pairs --pubs 50 --topics {topics} --size 256 --window 16 --qos 0", 0,
                            group="growth", mosquitto=False, goal=False)


def shards():
    goals = (Goal("2 shards", 1.5, "floor, 2 threads"),)  # 1.3, and what a message pays that changes its thread.
    for qos in (0, 1):
        load = pubsub(f"--topology pairs --pubs 50 --size 256 --window 16 --qos {qos}")
        yield Scenario(f"shards-qos{qos}", "shards", f"50 pairs, QoS {qos}, window 16", (Row("cpu", CPU, goals),),
                       on_threads(load))
    load = paced("--topology pairs --pubs 50 --size 256 --rate 20000 --qos 1")
    yield Scenario("shards-paced", "shards", "50 pairs, QoS 1, 20,000 msg/s",
                   (Row("cpu", CPU), Row("p99", "latency, 99th percentile, µs")), on_threads(load), rounds_max=SHOWN_ROUNDS)


def on_threads(load):
    return (Measure("1 shard", MQTTD, load, ("broker.shards=1",)), Measure("floor, 1 thread", FLOOR, load),
            Measure("2 shards", MQTTD, load, ("broker.shards=2",)), Measure("floor, 2 threads", FLOOR, load, ("--threads", "2")))


def inside():
    loads = {"pairs-qos0": ("pairs, QoS 0, window 16", "--topology pairs --pubs 50 --size 256 --window 16 --qos 0"),
             "pairs-qos1": ("pairs, QoS 1, window 16", "--topology pairs --pubs 50 --size 256 --window 16 --qos 1"),
             "fanout100": ("fan-out 1 → 100, QoS 0", "--topology fanout --pubs 1 --subs 100 --size 256 --window 16 --qos 0")}
    for ident, (title, load) in loads.items():
        calls = checklist.system_calls(load)
        yield Scenario(f"calls-{ident}", "checklist", title, (Row("calls", "system calls per message", (Goal(MQTTD, 1.1, FLOOR),)),),
                       (Measure(MQTTD, MQTTD, calls), Measure(FLOOR, FLOOR, calls)), rounds_max=1, tool="strace")
    for ident, (title, load) in loads.items():
        profile = checklist.user_time(load)
        yield Scenario(f"user-{ident}", "checklist", title,
                       (Row("user", "ns of user time per message", (Goal(MQTTD, 150, kind="at most"),)),
                        Row("allocation", "% of it in malloc, free, shared_ptr", (Goal(MQTTD, 2, kind="at most"),))),
                       (Measure(MQTTD, MQTTD, profile, beside_s=3.5), Measure(FLOOR, FLOOR, profile, beside_s=3.5)), rounds_max=SHOWN_ROUNDS, tool="perf")
    yield Scenario("abrupt", "checklist", "publisher that sends QoS 0 and closes without DISCONNECT",
                   (Row("ms", "ms, median of 50", (Goal("delivered", 100, kind="at most"), Goal("gone", 100, kind="at most"))),),
                   (Measure(MQTTD, MQTTD, checklist.abrupt_end, fresh=True),), rounds_max=1)
    yield Scenario("slow-reader", "checklist", "64 MiB in messages of 4, 16 and 64 KiB for one that does not read",
                   (Row("MiB", "MiB held, the most",
                        (Goal("held", 1.25, kind="at most"), Goal("after it has gone", 0, kind="at most"))),),
                   (Measure(MQTTD, MQTTD, checklist.slow_reader, fresh=True),), rounds_max=1)


def all_scenarios():
    for make in (cost, versions, transports, at_fixed_rate, memory, subscriptions, durable, fsync_curve, connects, storms,
                 crowds, slow_subscriber, growth, shards, inside):
        yield from make()


def compared(scenario):
    """The same for two builds of mqttd: its measures twice, other programs not at all."""
    mine = [measure for measure in scenario.measures if measure.target == MQTTD]
    theirs = [dataclasses.replace(measure, label=f"{measure.label}, before", target="against") for measure in mine]
    rows = tuple(dataclasses.replace(row, goals=()) for row in scenario.rows)
    turns = tuple(measure for pair in zip(mine, theirs) for measure in pair)
    return dataclasses.replace(scenario, rows=rows, measures=turns)
