"""One promise each: what a SUBACK says, what goes on without most nodes, who owns an identifier after a partition,
what a publisher was told before its node died, nodes that come back."""

import collections
import errno
import random
import threading
import time

from e2e import holds
from mqtt_wire import DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, Client, Closed, Nothing
from nodes import WAIT_S, pause, until
from run import Chaos, Load

CUT = (Closed, Nothing, OSError, AssertionError)
SESSION_TAKEN_OVER = 0x8E
LEASE_S = 3.0


def connect(node, client_id, *, durable=False, timeout=10.0, **rest):
    return Client(node.port, client_id, host=node.host, clean=not durable, expiry=3600 if durable else 0, timeout=timeout, **rest)


def connect_somewhere(nodes, client_id, *, within=WAIT_S, **rest):
    """At the first node that takes it."""
    deadline = time.monotonic() + within
    while True:
        for node in nodes:
            try:
                return connect(node, client_id, timeout=5.0, **rest)
            except CUT:
                pass
        holds(time.monotonic() < deadline, f"{client_id} is taken by no node within {within:.0f} s")
        pause(0.05)


# ---- suback ---------------------------------------------------------------------------------------


class SubackRounds(threading.Thread):
    """Subscribes at one node and, at SUBACK, publishes at another: whatever is acknowledged there comes here."""

    def __init__(self, cluster, name, durable, wildcard, rounds, seed):
        super().__init__(daemon=True)
        self.cluster, self.durable, self.wildcard, self.rounds = cluster, durable, wildcard, rounds
        self.id, self.name = name, f"{'durable' if durable else 'transient'}, {'wildcard' if wildcard else 'exact'}"
        self.chance, self.missed, self.done, self.again, self.slowest = random.Random(seed), [], 0, 0, 0.0
        self._subscriber = self._publisher = None
        self._at = 0
        self.stopping = False

    def run(self):
        while self.done < self.rounds and not self.stopping:
            try:
                self._connect()
                while self.done < self.rounds and not self.stopping:
                    self._round()
                    self.done += 1
            except CUT:
                self.again += 1  # A node went: what was not acknowledged is not promised.
                pause(0.05)
            finally:
                self._drop()

    def _connect(self):
        nodes = list(self.cluster.nodes)
        self.chance.shuffle(nodes)
        self._subscriber = connect(nodes[0], f"{self.id}-s", durable=self.durable)
        self._publisher = connect(nodes[1], f"{self.id}-p")
        self._at = 0

    def _drop(self):
        for each in (self._subscriber, self._publisher):
            if each is not None:
                each.drop()
        self._subscriber = self._publisher = None

    def _round(self):
        self._at += 1
        if self._at > 100:  # Other nodes now, and then.
            self._drop()
            self._connect()
        topic = f"suback/{self.id}/{self.done}/{self.again}"
        began = time.monotonic()
        reason = self._subscriber.subscribe(topic + "/+" if self.wildcard else topic, 1)
        holds(reason < 0x80, "refused")
        self.slowest = max(self.slowest, time.monotonic() - began)
        topic += "/x" if self.wildcard else ""
        holds(self._publisher.published(topic, topic, qos=1) < 0x80, "refused")
        self._expect(topic)
        self._subscriber.unsubscribe(topic[:-1] + "+" if self.wildcard else topic)

    def _expect(self, topic):
        """It was acknowledged: it comes, to this connection or, of a session that is kept, to the next one."""
        words = f"{self.name}: {topic}"
        try:
            while self._subscriber.message(timeout=20.0).topic != topic:
                pass
            return
        except Nothing:
            self.missed.append(f"{words}: nothing within 20 s, connected to the same node all the time")
        except CUT:
            if not self.durable:
                raise  # The session went with its connection.
        if self.missed and self.missed[-1].startswith(words):
            return
        self._subscriber.drop()
        self._subscriber = connect_somewhere(self.cluster.nodes, f"{self.id}-s", durable=True)
        if not self._subscriber.session_present:
            self.missed.append(f"{words}: the session is lost")
            return
        try:
            while self._subscriber.message(timeout=20.0).topic != topic:
                pass
        except Nothing:
            self.missed.append(f"{words}: nothing within 20 s of the next connection")


def suback(cluster, directory, *, seed, rounds, rate, say):  # pylint: disable=unused-argument
    each_of = max(1, min(4, rounds // 250))  # Clients of each kind, side by side.
    kinds = [SubackRounds(cluster, f"r{number}", number % 2 == 1, number // 2 % 2 == 1, -(-rounds // each_of), seed + number)
             for number in range(4 * each_of)]
    began, chance, restarts = time.monotonic(), random.Random(seed), 0
    for each in kinds:
        each.start()
    while any(each.is_alive() for each in kinds):
        pause(chance.uniform(2, 6) if restarts else 1.0)
        node = chance.choice(cluster.nodes)
        if not any(each.is_alive() for each in kinds):
            break
        if chance.random() < 0.5:
            node.kill()
        else:
            node.terminate()
        node.start()
        restarts += 1
        took = until(cluster.whole, WAIT_S)
        say(f"# {time.monotonic() - began:6.1f} s  node {node.number + 1} restarted; {sum(each.done for each in kinds)} rounds, "
            f"missed {sum(len(each.missed) for each in kinds)}")
        if took is None:
            for each in kinds:
                each.stopping = True
            return [f"not whole {WAIT_S:.0f} s after a restart: {cluster.states()}"], ""
    for name in dict.fromkeys(each.name for each in kinds):
        of_name = [each for each in kinds if each.name == name]
        say(f"# {name}: {sum(each.done for each in of_name)} rounds in {time.monotonic() - began:.0f} s, missed "
            f"{sum(len(each.missed) for each in of_name)}, slowest SUBACK {max(each.slowest for each in of_name):.2f} s, begun again "
            f"{sum(each.again for each in of_name)} times")
    return ([words for each in kinds for words in each.missed],
            f"{sum(each.done for each in kinds)} rounds, 0 missed, while nodes were restarted {restarts} times")


# ---- quorum ---------------------------------------------------------------------------------------


class TransientPair(threading.Thread):
    """Publishes 20 times a second at a node, and hears it there."""

    def __init__(self, node, name, qos):
        super().__init__(daemon=True)
        self.qos, self.gaps, self.sent, self.got, self.stopping, self.problem = qos, [], 0, 0, False, None
        self._sub, self._pub, self._topic = connect(node, f"{name}-s"), connect(node, f"{name}-p"), f"pair/{name}"
        self._sub.subscribe(self._topic, qos)
        self._last = None
        self.start()

    def run(self):
        try:
            while not self.stopping:
                self.sent += 1
                if self.qos:
                    self._pub.published(self._topic, str(self.sent), qos=self.qos)
                else:
                    self._pub.publish(self._topic, str(self.sent))
                self._sub.message(timeout=20.0)
                self.got += 1
                now = time.monotonic()
                if self._last is not None:
                    self.gaps.append((now - self._last, now))
                self._last = now
                pause(0.05)
        except CUT as error:
            self.problem = f"the transient pair at QoS {self.qos} was cut after {self.got} messages: {error}"

    def finish(self):
        self.stopping = True
        self.join(30)
        self._sub.drop()
        self._pub.drop()


class Watched:
    """A durable client that only listens: when it is closed, and when it is back."""

    def __init__(self, node, name):
        self.name = name
        self.client = connect(node, name, durable=True)
        self.client.subscribe(f"watched/{name}", 1)

    def expect(self, payload):
        """Waits for it. What comes again comes before: its acknowledgement had not been stored."""
        while self.client.message().payload != payload.encode():
            pass

    def closed_after(self, began, results):
        try:
            self.client.timeout = 30.0
            last = self.client.closed()
            results[self.name] = (time.monotonic() - began, last.reasons[0] if last is not None and last.reasons else None)
        except CUT:
            results[self.name] = (None, None)


def quorum(cluster, directory, *, seed, rounds, rate, say):  # pylint: disable=unused-argument
    problems, worst_gap, worst_back, worst_closed, chance = [], 0.0, 0.0, 0.0, random.Random(seed)
    rounds = min(rounds, 20)
    for number in range(rounds):
        third = chance.choice(cluster.nodes)
        others = [node for node in cluster.nodes if node is not third]
        pairs = [TransientPair(third, f"q{qos}-{number}", qos) for qos in (0, 1)]
        watched = [Watched(third, f"w{k}") for k in range(16)]
        pause(0.5)
        publisher = connect(third, f"qp-{number}")
        for each in watched:
            holds(publisher.published(f"watched/{each.name}", f"{number}", qos=1) < 0x80, "refused before anything happened")
            each.expect(f"{number}")
        publisher.drop()
        began, results = time.monotonic(), {}
        for node in others:
            node.kill()
        threads = [threading.Thread(target=each.closed_after, args=(began, results), daemon=True) for each in watched]
        for each in threads:
            each.start()
        for each in threads:
            each.join(40)
        late = [(name, took) for name, (took, _) in results.items() if took is None or took > LEASE_S]
        closed = max((took for took, _ in results.values() if took is not None), default=0.0)
        worst_closed = max(worst_closed, closed)
        if late:
            problems.append(f"round {number}: {len(late)} of {len(watched)} durable clients were not closed within {LEASE_S} s: {late[:3]}")
        newcomer = connect(third, f"newcomer-{number}")
        degraded = newcomer.connack.properties
        newcomer.drop()
        status = third.state()
        pause(chance.uniform(0, 3))
        back, second = time.monotonic(), chance.choice(others)
        second.spawn()
        backs = []
        for each in watched:
            client = connect_somewhere([third], each.name, durable=True)
            if not client.session_present:
                problems.append(f"round {number}: the session of {each.name} is lost")
            backs.append(time.monotonic() - back)
            each.client = client
        second.wait_ready()
        worst_back = max(worst_back, max(backs))
        if max(backs) > 5:
            problems.append(f"round {number}: durable clients are back only {max(backs):.2f} s after the second node was started")
        publisher = connect_somewhere([second], f"qp-{number}")
        for each in watched:
            holds(publisher.published(f"watched/{each.name}", f"after {number}", qos=1) < 0x80, "refused with two of three")
            try:
                each.expect(f"after {number}")
            except Nothing:
                problems.append(f"round {number}: {each.name} did not get what was published after the start")
            except CUT as error:
                problems.append(f"round {number}: {each.name}, resumed, was closed again: {error}, {time.monotonic() - back:.2f} s after the start")
                each.client = connect_somewhere(cluster.nodes, each.name, durable=True)
                each.expect(f"after {number}")
            each.client.disconnect()
        publisher.drop()
        for node in others:
            if node is not second:
                node.start()
        for pair in pairs:
            pair.finish()
            gap = max(pair.gaps, default=(0.0, 0.0))[0]
            worst_gap = max(worst_gap, gap)
            if pair.problem:
                problems.append(f"round {number}: {pair.problem}")
            if gap > 0.5:
                problems.append(f"round {number}: the transient pair at QoS {pair.qos} waited for {gap:.2f} s")
        say(f"# round {number}: node {third.number + 1} alone; durable closed within {closed:.2f} s with "
            f"{sorted({hex(code) if code is not None else 'nothing' for _, code in results.values()})}, CONNACK of a new one {dict(degraded)}, "
            f"readyz \"{status[1][:60]}\", resumed {max(backs):.2f} s after the start, longest gap of pairs "
            f"{max((max(pair.gaps, default=(0.0,))[0] for pair in pairs), default=0.0):.2f} s")
        if until(cluster.whole, WAIT_S) is None:
            return problems + [f"round {number}: not whole again: {cluster.states()}"], ""
    return problems, (f"{rounds} times two of three gone: transient pairs waited {worst_gap:.2f} s at most, durable clients were closed within "
                      f"{worst_closed:.2f} s and back within {worst_back:.2f} s")


# ---- split ----------------------------------------------------------------------------------------


class Owned:
    """A connection of which it is to be seen whether it lives."""

    def __init__(self, node, client_id, durable):
        self.node, self.id = node, client_id
        self.client, self.refused, self.end = None, None, None
        try:
            client = connect(node, client_id, durable=durable, expect=None)
            self.refused = client.connack.reasons[0] or None
            if self.refused:
                client.drop()
            else:
                self.client = client
        except CUT as error:
            self.refused = str(error)

    def look(self):
        """"lives", or with what it was closed."""
        if self.client is None:
            return f"refused {self.refused:#x}" if isinstance(self.refused, int) else f"not answered ({self.refused})"
        if self.end is None:
            look = self._look()
            if look in ("lives", "silent"):
                return look
            self.end = look
        return self.end

    def _look(self):
        try:
            self.client.ping()
            while True:
                packet = self.client.receive(timeout=5.0)
                if packet.kind == PINGRESP:
                    return "lives"
                if packet.kind == DISCONNECT:
                    return f"closed {packet.reasons[0]:#x}"
        except Nothing:
            return "silent"
        except CUT:
            return "closed"

    def drop(self):
        if self.client is not None:
            self.client.drop()


def split(cluster, directory, *, seed, rounds, rate, say):  # pylint: disable=unused-argument
    if not cluster.network.cuts:
        return [f"a partition cannot be had here: {cluster.network.why}"], ""
    problems, chance, seen = [], random.Random(seed), collections.Counter()
    rounds = min(rounds, 20)
    for number in range(rounds):
        alone = chance.choice(cluster.nodes)
        most = [node for node in cluster.nodes if node is not alone]
        seconds = chance.choice((1.0, 2.0, 5.0, 8.0))
        for other in most:
            cluster.network.cut(alone.number, other.number)
            cluster.network.cut(other.number, alone.number)
        pause(seconds)
        ids, pairs = [f"split-{number}-{k}" for k in range(12)], []
        for k, client_id in enumerate(ids):
            durable = k % 3 == 2
            sides = [alone, chance.choice(most)]
            chance.shuffle(sides)
            pairs.append((client_id, durable, [Owned(side, client_id, durable) for side in sides]))
        cluster.network.heal()
        whole = until(cluster.whole, WAIT_S)
        if whole is None:
            return problems + [f"round {number}: not whole {WAIT_S:.0f} s after the partition: {cluster.states()}"], ""
        # Each identifier has one owner soon; nothing else tells of it.
        owners = {}
        for client_id, durable, owned in pairs:
            def one(owned=owned):
                return sum(each.look() == "lives" for each in owned) <= 1
            took = until(one, 15, every=0.2)
            one()
            looks = [each.look() for each in owned]
            owners[client_id] = looks
            kind = "durable" if durable else "transient"
            seen[kind, tuple(f"{'minority' if each.node is alone else 'majority'} {look}" for each, look in zip(owned, looks))] += 1
            if took is None:
                problems.append(f"round {number}: {kind} {client_id} has two owners 15 s after the partition of {seconds} s healed")
            elif "lives" not in looks and not any(look.startswith("not answered") for look in looks):
                problems.append(f"round {number}: {kind} {client_id} has no owner after the partition of {seconds} s healed: first {looks[0]}, then {looks[1]}")
            for each in owned:
                each.drop()
        say(f"# round {number}: node {alone.number + 1} cut off for {seconds} s; whole after {whole:.2f} s")
    for (kind, looks), count in sorted(seen.items()):
        say(f"# {kind}: first {looks[0]}, then {looks[1]}: {count} times")
    return problems, f"{rounds} partitions with the same identifiers on both sides healed to one owner each"


# ---- publisher ------------------------------------------------------------------------------------


class Burst(threading.Thread):
    """Publishes one after the other, and notes what is acknowledged, until its node is gone."""

    def __init__(self, node, name, qos, durable):
        super().__init__(daemon=True)
        self.qos, self.durable, self.name, self.topic = qos, durable, name, f"publisher/{name}"
        self.client = connect(node, name, durable=durable)
        self.acknowledged, self.begun, self.doubt = [], 0, None

    def once(self):
        number, self.begun = self.begun, self.begun + 1
        self.doubt = (self.client.new_id(), number)
        self.client.publish(self.topic, str(number), qos=self.qos, id=self.doubt[0])
        holds(self.client.wait_for(PUBACK if self.qos == 1 else PUBREC, self.doubt[0]).reasons[0] < 0x80, "refused")
        self.acknowledged.append(number)
        if self.qos == 2:
            self.client.acknowledge(PUBREL, self.doubt[0])
            self.client.wait_for(PUBCOMP, self.doubt[0])
        self.doubt = None

    def run(self):
        try:
            while True:
                self.once()
        except CUT:
            self.client.drop()

    def finish_elsewhere(self, nodes):
        """The client of a session that is kept ends its exchange at another node."""
        self.client = connect_somewhere(nodes, self.name, durable=True)
        holds(self.client.session_present, f"the session of {self.name} is lost")
        if self.doubt is None:
            return
        id, number = self.doubt
        if number not in self.acknowledged:
            self.client.publish(self.topic, str(number), qos=2, id=id, dup=True)
            holds(self.client.wait_for(PUBREC, id).reasons[0] < 0x80, "refused")
            self.acknowledged.append(number)
        self.client.acknowledge(PUBREL, id)
        self.client.wait_for(PUBCOMP, id)


def _receive(subscriber, bursts, got, until_topic=None):
    """What comes of each, in order, until all that was acknowledged is there, or that comes; what is missing when nothing comes any more."""
    missing = {each.topic: set(each.acknowledged) - set(got[each.topic]) for each in bursts}
    try:
        while until_topic or any(missing.values()):
            message = subscriber.message(timeout=20.0)
            if message.topic == until_topic:
                break
            got[message.topic].append(int(message.payload))
            missing[message.topic].discard(int(message.payload))
    except Nothing:
        pass
    return missing


def publisher(cluster, directory, *, seed, rounds, rate, say):  # pylint: disable=unused-argument
    """Clients without a kept session hear at one node what is acknowledged at another, which dies: half the time it has been cut off from theirs before."""
    problems, chance, total = [], random.Random(seed), 0
    for number in range(rounds):
        nodes = list(cluster.nodes)
        chance.shuffle(nodes)
        dies, hears, third = nodes
        cut = cluster.network.cuts and number % 2 == 0
        subscriber = connect(hears, f"hears{number}", timeout=20.0)
        subscriber.subscribe("publisher/#", 2)
        bursts = [Burst(dies, f"p{number}-{kind}", qos, durable) for kind, qos, durable in
                  (("qos1", 1, False), ("qos2", 2, False), ("kept", 2, True))]
        for each in bursts:
            each.once()
        if cut:
            cluster.network.cut(dies.number, hears.number)
        for each in bursts:
            each.start()
        pause(chance.uniform(0.0, 0.8))
        dies.kill()
        if cut:
            cluster.network.heal()
        for each in bursts:
            each.join()
        bursts[2].finish_elsewhere([hears, third])
        got = collections.defaultdict(list)
        missing = _receive(subscriber, bursts, got)
        dies.start()
        if until(cluster.whole, WAIT_S) is None:
            return problems + [f"round {number}: not whole again: {cluster.states()}"], ""
        bursts[2].client.published("publisher/end", b"", qos=1)  # What comes again by then is one too many.
        _receive(subscriber, bursts, got, until_topic="publisher/end")
        for each in bursts:
            words = f"round {number}{', cut off' if cut else ''}: {each.name}"
            if missing[each.topic]:
                problems.append(f"{words}: {len(missing[each.topic])} of {len(each.acknowledged)} acknowledged are lost: {sorted(missing[each.topic])[:5]}")
            # At QoS 1 too: nobody has published anything again.
            came = got[each.topic]
            if len(set(came)) != len(came):
                problems.append(f"{words}: doubled: {[one for one, times in collections.Counter(came).items() if times > 1][:5]}")
            if came != sorted(came):
                problems.append(f"{words}: out of order")
            total += len(each.acknowledged)
            each.client.drop()
        subscriber.drop()
        if number % 10 == 9 or rounds < 10:
            say(f"# {number + 1} rounds, {total} acknowledged, {len(problems)} problems")
    return problems, f"{rounds} times the publishers' node died: each of {total} acknowledged messages reached the clients of another node, once and in order"


# ---- disk -----------------------------------------------------------------------------------------


def disk(cluster, directory, *, seed, rounds, rate, say):  # pylint: disable=unused-argument
    """The disk of one node fills up, or takes no writes any more, and stays so: whatever it led goes on at the others."""
    problems, chance, slowest = [], random.Random(seed), 0.0
    for number in range(rounds):
        sick = chance.choice(cluster.nodes)
        others = [node for node in cluster.nodes if node is not sick]
        error = chance.choice((errno.ENOSPC, errno.EIO))
        # As many as make each partition have some.
        sessions = [connect(others[i % 2], f"disk{number}-{i}", durable=True, timeout=WAIT_S) for i in range(64)]
        for i, each in enumerate(sessions):
            each.subscribe(f"disk{number}/{i}", 1)
        publisher = connect(others[0], f"disk{number}-publisher", timeout=WAIT_S)
        led = sick.metrics().get("mqttd_cluster_partitions_led")
        sick.fail_disk(chance.choice(("log/", "")), error=error)
        began = time.monotonic()
        try:
            for i, each in enumerate(sessions):
                # Who is refused knows it, and tries again.
                if until(lambda i=i: publisher.published(f"disk{number}/{i}", b"x", qos=1) < 0x80, WAIT_S) is None:
                    problems.append(f"round {number}: refused all the time, for session {i}")
                elif each.message(timeout=WAIT_S).payload != b"x":
                    problems.append(f"round {number}: something else came to session {i}")
        except CUT as failure:
            problems.append(f"round {number}: {errno.errorcode[error]} on node {sick.number + 1} held up what it led: {type(failure).__name__} {failure}")
        took = time.monotonic() - began
        slowest = max(slowest, took)
        if until(lambda node=sick: node.metrics().get("mqttd_cluster_partitions_led") == 0, WAIT_S) is None:
            problems.append(f"round {number}: the node leads on")
        sick.heal_disk()
        if until(cluster.whole, WAIT_S) is None:
            return problems + [f"round {number}: not whole again: {cluster.states()}"], ""
        for each in (*sessions, publisher):
            each.drop()
        if number % 10 == 9 or rounds < 10:
            say(f"# round {number + 1}: {errno.errorcode[error]} on node {sick.number + 1}, which led {led:.0f} partitions; all sessions have their message after {took:.1f} s")
    return problems, f"{rounds} times a node's disk took no writes any more: after {slowest:.1f} s at most all sessions had what was published then"


# ---- bounce and rolling ---------------------------------------------------------------------------


def all_to_all(cluster, name):
    """Each node gets what is published at each. Returns what did not come."""
    subscribers = [connect(node, f"{name}-s{node.number}") for node in cluster.nodes]
    missing = []
    for each in subscribers:
        each.subscribe(f"{name}/#", 1)
    for node in cluster.nodes:
        publisher = connect(node, f"{name}-p{node.number}")
        holds(publisher.published(f"{name}/{node.number}", b"x", qos=1) < 0x80, "refused")
        publisher.drop()
    for node, each in zip(cluster.nodes, subscribers):
        got = set()
        try:
            while len(got) < len(cluster):
                got.add(int(each.message(timeout=15.0).topic.rsplit("/", 1)[1]))
        except Nothing:
            missing += [f"what was published at node {number + 1} did not come to node {node.number + 1}" for number in range(len(cluster)) if number not in got]
        each.drop()
    return missing


def _restarts(cluster, directory, rounds, rate, say, one, words):
    load = Load(cluster, directory, rate)
    try:
        if until(load.flows, WAIT_S) is None:
            return ["nothing is acknowledged, before the first restart"]
        chaos = Chaos(cluster, load, lambda text: None if " s  " in text[:14] else say(text))
        for number in range(rounds):
            one(chaos, number)
            if (number + 1) % 10 == 0 or rounds <= 10:
                say(f"# {number + 1} of {rounds} {words}, {time.monotonic() - chaos.began:.0f} s, {len(chaos.problems)} problems")
            if chaos.problems:
                break
        if not chaos.problems:
            chaos.settled()
        chaos.end()
        return chaos.problems + load.problems()
    finally:
        load.close()


def bounce(cluster, directory, *, seed, rounds, rate, say):
    chance = random.Random(seed)

    def one(chaos, number):
        node = chance.choice(cluster.nodes)
        chaos.mark("bounce", f"kill -9 of node {node.number + 1} and start at once, the {number + 1}. time")
        node.kill()
        node.start()
        try:
            chaos.problems += [f"after {number + 1} times: {words}" for words in all_to_all(cluster, f"bounce{number}")]
        except CUT as error:
            chaos.problems.append(f"after {number + 1} times: {type(error).__name__} {error}")

    problems = _restarts(cluster, directory, rounds, rate, say, one, "kills")
    return problems, f"a node left abruptly and came back at once {rounds} times: no stale member, nothing lost, doubled or out of order"


def rolling(cluster, directory, *, seed, rounds, rate, say):  # pylint: disable=unused-argument
    def one(chaos, number):
        for node in cluster.nodes:
            chaos.mark("rolling", f"SIGTERM of node {node.number + 1}, round {number + 1}")
            status = node.terminate()
            if status != 0:
                chaos.problems.append(f"node {node.number + 1} ended with {status} after SIGTERM; see {node.log_path}")
                return
            node.start()
            if not chaos.settled():
                return

    problems = _restarts(cluster, directory, rounds, rate, say, one, "rounds")
    return problems, f"{rounds} rolling restarts under load: nothing lost, doubled or out of order"


ALL = {"suback": suback, "quorum": quorum, "split": split, "publisher": publisher, "disk": disk, "bounce": bounce, "rolling": rolling}
