"""The broker under load, killed again and again; then the account of what it had promised.

Two kinds of witnesses, none of which shares code with the broker: `mqload ledger` (publishers at QoS 1
and 2, durable subscribers; it knows what was acknowledged and what arrived), and the Keeper below
(retained messages and subscriptions).
"""

import json
import os
import random
import subprocess
import threading
import time

from e2e import PATIENCE_S
from killable_broker import Broker
from mqtt_wire import Client, Closed, Nothing, PUBCOMP, PUBLISH, PUBREL

# Not "abandoned": a PUBREL that is repeated because a kill cut its PUBCOMP off is answered with 0x92.
LEDGER_ZERO = ("lost", "lost_accepted", "out_of_order", "lost_pub_sessions", "lost_sub_sessions",
               "unacked", "refused_acks", "refused_subscriptions", "foreign", "damaged", "unknown")
CUT = (Closed, Nothing, ConnectionError, TimeoutError, OSError)


class Ledger:
    """One `mqload ledger`: publishers of one QoS, and two durable subscribers for each."""

    def __init__(self, endpoints, qos, rate, directory, *, pubs=10, drain=60, arguments=()):
        self.qos, self.rate, self.pubs, self.began = qos, rate, pubs, time.monotonic()
        self.out = os.path.join(directory, f"ledger-qos{qos}")
        self.errors = open(self.out + ".stderr", "w+")
        self.process = subprocess.Popen(
            [os.environ["MQLOAD_BIN"], "ledger", "--endpoints", ",".join(endpoints), "--qos", str(qos),
             "--version", "4" if qos == 1 else "5", "--session-expiry", "3600", "--pubs", str(pubs),
             "--copies", "2", "--rate", str(rate), "--window", "16", "--seconds", "86400",
             "--drain", str(drain), "--backoff-min-ms", "10", "--backoff-max-ms", "100", "--prefix",
             f"crash{qos}", "--out", self.out, "--json", *arguments],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def finish(self):
        """What it counted, after it had time to receive the rest."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=3 * PATIENCE_S)
        self.errors.seek(0)
        assert output.strip(), f"mqload ended without a result: {self.errors.read()}"
        return json.loads(output)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class Keeper(threading.Thread):
    """Changes retained messages and subscriptions all the time, and knows what each must be.

    A change that was sent and never acknowledged may have happened or not: then both are allowed.
    """

    TOPICS = FILTERS = 20

    def __init__(self, addresses, seed, patient=False):
        """addresses: (host, port) of each node. patient: connections and messages may be refused now and then, what is retained is
        looked at by audit_settled alone, and each topic has a QoS of its own (docs/decisions/0015: of two it may retain the older)."""
        super().__init__(daemon=True)
        self._patient = patient
        self.addresses, self.random = addresses, random.Random(seed)
        self.allowed = {}                # topic -> payloads one of which is retained; b"" is none
        self.subscribed = {}             # filter -> set of bool
        self.problems = []
        self.changes = self.audits = self.number = 0
        self._unfinished = None          # packet identifier of a QoS 2 handshake that was cut
        self._known = set()              # clients whose session must be there
        self._stopping = threading.Event()

    def run(self):
        while not self._stopping.is_set():
            try:
                if not self._patient:
                    self.audit_retained()
                self._change_until_cut()
            except CUT:
                self._stopping.wait(0.02)  # The broker is away; it comes back in its own time.
            except Exception as error:  # pylint: disable=broad-except
                self.problems.append(f"keeper: {type(error).__name__} {error}")
                return

    def stop(self):
        self._stopping.set()
        self.join()

    def _client(self, client_id, **rest):
        host, port = self.random.choice(self.addresses)
        client = Client(port, client_id, host=host, expect=None if self._patient else 0, **rest)
        if client.connack.reasons[0] != 0:
            client.drop()
            raise Closed(f"refused with {client.connack.reasons[0]:#x}")
        return client

    def _not_refused(self, reason, what):
        if self._patient and reason >= 0x80:
            raise Closed(f"{what} was refused with {reason:#x}")

    def _connect(self, client_id):
        client = self._client(client_id)
        if client_id in self._known and not client.session_present:
            self.problems.append(f"keeper: the session of {client_id} is lost")
        self._known.add(client_id)
        return client

    def _change_until_cut(self):
        publisher, subscriber = self._connect("keeper-pub"), self._connect("keeper-sub")
        try:
            if self._unfinished:  # Before its identifier is used again.
                publisher.acknowledge(PUBREL, self._unfinished)
                publisher.wait_for(PUBCOMP, self._unfinished)
                self._unfinished = None
            while not self._stopping.is_set():
                self._change_retained(publisher)
                self._change_subscription(subscriber)
                self.changes += 2
        finally:
            publisher.drop()
            subscriber.drop()

    def _change_retained(self, client):
        number = self.random.randrange(self.TOPICS)
        topic = f"keeper/r/{number}"
        self.number += 1
        payload = b"" if self.random.random() < 0.1 else str(self.number).encode()
        self.allowed[topic] = self.allowed.get(topic, {b""}) | {payload}
        qos = 1 + number % 2 if self._patient else self.random.choice((1, 2))
        self._unfinished = client.new_id() if qos == 2 else None
        reason = client.published(topic, payload, qos=qos, id=self._unfinished, retain=True)
        self._unfinished = None
        self._not_refused(reason, "PUBLISH")
        assert reason < 0x80, f"PUBLISH was answered with {reason:#x}"
        self.allowed[topic] = {payload}

    def _change_subscription(self, client):
        name = f"keeper/f/{self.random.randrange(self.FILTERS)}"
        wanted = self.random.random() < 0.5
        before = self.subscribed.get(name, {False})
        self.subscribed[name] = before | {wanted}
        if wanted:
            reason = client.subscribe(name, 1)
            self._not_refused(reason, "SUBSCRIBE")
            assert reason == 1, f"SUBSCRIBE was answered with {reason:#x}"
        else:
            reason = client.unsubscribe(name)
            self._not_refused(reason, "UNSUBSCRIBE")
            # 0x11: no subscription existed.
            assert (reason != 0x11) in before, f"UNSUBSCRIBE {name}: {reason:#x}, believed {before}"
        self.subscribed[name] = {wanted}

    def audit_retained(self):
        client = self._client("keeper-audit", clean=True, expiry=0)
        try:
            client.published("keeper/last", "x", qos=1, retain=True)
            client.subscribe("keeper/r/#", 1)
            client.subscribe("keeper/last", 1)  # One subscription's retained messages, then the next's.
            found = {}
            while "keeper/last" not in found:
                packet = client.receive()
                if packet.kind == PUBLISH:
                    found[packet.topic] = packet.payload
        finally:
            client.drop()
        for topic, allowed in self.allowed.items():
            got = found.get(topic, b"")
            if got not in allowed:
                self.problems.append(f"keeper: {topic} retains {got!r}, not one of {allowed}")
            self.allowed[topic] = {got}
        self.audits += 1

    def audit_settled(self, seconds):
        """At the end, when nothing fails any more: soon what is retained is right, and stays so."""
        allowed, before = dict(self.allowed), list(self.problems)
        deadline = time.monotonic() + seconds
        while True:
            self.allowed, self.problems = dict(allowed), list(before)
            try:
                self.audit_retained()
            except CUT as error:
                self.problems.append(f"keeper: what is retained cannot be read: {error}")
            if self.problems == before or time.monotonic() > deadline:
                return

    def audit_subscriptions(self):
        """Once, at the end: who is subscribed gets a message."""
        publisher = self._connect("keeper-pub")
        for name in self.subscribed:
            publisher.published(name, "audit", qos=1)
        subscriber = self._connect("keeper-sub")
        subscriber.subscribe("keeper/end", 1)
        publisher.published("keeper/end", "audit", qos=1)
        found = []
        while "keeper/end" not in found:
            found.append(subscriber.message().topic)
        for name, allowed in self.subscribed.items():
            if (found.count(name) > 0) not in allowed or found.count(name) > 1:
                self.problems.append(
                    f"keeper: {name} should be {allowed} and got {found.count(name)} messages")
        publisher.disconnect()
        subscriber.disconnect()


def crash_run(directory, *, kills, seed, qos=(1, 2), rate=2000, arguments=(), say=print):
    """Returns (problems, figures)."""
    chance = random.Random(seed)
    problems, starts, ledgers = [], [], []
    began = time.monotonic()
    broker = Broker(directory, *arguments)
    keeper = Keeper([("127.0.0.1", broker.port)], seed)
    try:
        broker.start()
        ledgers = [Ledger([f"127.0.0.1:{broker.port}"], level, rate // len(qos), directory) for level in qos]
        keeper.start()
        for kill in range(1, kills + 1):
            # One in five dies while it starts: reading the log is work that a crash may cut too.
            in_start = kill > 1 and chance.random() < 0.2
            uptime = chance.uniform(0.0, 0.3) if in_start else chance.uniform(0.3, 2.0)
            if not in_start and kill > 1:
                broker.wait_ready()
                starts.append(time.monotonic() - spawned)
            status = broker.ended_within(uptime)
            if status is not None:
                problems.append(f"the broker ended by itself with {status}:\n{broker.log_tail()}")
                break
            broker.kill()
            broker.spawn()
            spawned = time.monotonic()
            if kill % 10 == 0:
                say(f"# {kill} of {kills} kills, {time.monotonic() - began:.0f} s")
        if not problems:
            broker.wait_ready()
            starts.append(time.monotonic() - spawned)
        results = [ledger.finish() for ledger in ledgers]
        keeper.stop()
        if not problems:
            keeper.audit_retained()
            keeper.audit_subscriptions()
            if broker.stop() != 0:
                problems.append(f"SIGTERM did not end it with 0:\n{broker.log_tail()}")
    finally:
        for ledger in ledgers:
            ledger.close()
        broker.close()
    problems += keeper.problems
    for result in results:
        zero = LEDGER_ZERO + (("duplicated",) if result["qos"] == 2 else ())
        problems += [f"QoS {result['qos']}: {name} is {result[name]} {result['lost_examples']}"
                     for name in zero if result[name]]
        if not result["acked"]:
            problems.append(f"QoS {result['qos']}: nothing was ever acknowledged")
    figures = {"kills": kills, "seconds": time.monotonic() - began,
               "slowest_start_seconds": max(starts, default=0.0),
               "keeper_changes": keeper.changes, "keeper_audits": keeper.audits, "ledgers": results}
    return problems, figures


def report(figures, say=print):
    say(f"# {figures['kills']} kills in {figures['seconds']:.0f} s; slowest start "
        f"{figures['slowest_start_seconds']:.2f} s; {figures['keeper_changes']} changes of retained "
        f"messages and subscriptions, {figures['keeper_audits']} audits")
    for ledger in figures["ledgers"]:
        say(f"# QoS {ledger['qos']}: acknowledged {ledger['acked']}, received {ledger['received']}, "
            f"lost {ledger['lost']}, duplicated {ledger['duplicated']}"
            f"{'' if ledger['qos'] == 2 else ' (allowed)'}, out of order {ledger['out_of_order']}, "
            f"lost sessions {ledger['lost_pub_sessions'] + ledger['lost_sub_sessions']}, "
            f"longest silence {ledger['longest_arrival_gap_ms']} ms")
