"""Nodes under load, faults one after the other, and the account at the end."""

import os
import random
import threading
import time

import account
import faults
from crash_run import LEDGER_ZERO, Keeper, Ledger
from nodes import MachineWatch, WAIT_S, pause, until

# What a disk that fails may do, by design: refuse. And what only says that many had to wait.
_ALLOWED_WITH_DISK = ("refused_acks", "refused_subscriptions")


class Load:
    """Ledgers at QoS 1 and 2 over all nodes, and what came of them."""

    def __init__(self, cluster, directory, rate, pubs=10, qos=(1, 2)):
        self.ledgers = [Ledger(cluster.endpoints(), level, rate / len(qos), directory, pubs=pubs,
                               arguments=("--silence", "6", "--backoff-max-ms", "200")) for level in qos]
        self.results, self.accounts = [], []

    def flows(self):
        """All publishers are acknowledged again and again: the files grow."""
        return all(os.path.exists(ledger.out + ".acked") and os.path.getsize(ledger.out + ".acked") > 2000 for ledger in self.ledgers)

    def ended(self):
        return [ledger for ledger in self.ledgers if ledger.process.poll() is not None]

    def finish(self, at):
        for ledger in self.ledgers:
            ledger.process.terminate()
        self.results = [ledger.finish() for ledger in self.ledgers]
        self.accounts = [account.Account(ledger) for ledger in self.ledgers]
        for one in self.accounts:
            one.end(at)

    def close(self):
        for ledger in self.ledgers:
            ledger.close()

    def problems(self, allowed=()):
        found = []
        for result in self.results:
            zero = LEDGER_ZERO + (("duplicated",) if result["qos"] == 2 else ())
            found += [f"QoS {result['qos']}: {name} is {result[name]}" for name in zero if result[name] and name not in allowed]
            if not result["acked"]:
                found.append(f"QoS {result['qos']}: nothing was ever acknowledged")
        return found

    def tell(self, moments, say):
        for result, one in zip(self.results, self.accounts):
            say(f"# QoS {result['qos']}: acknowledged {result['acked']}, received {result['received']}, lost {result['lost']}, "
                f"doubled {result['duplicated']}{'' if result['qos'] == 2 else ' (allowed)'}, out of order {result['out_of_order']}, "
                f"unanswered {result['unacked']}, accepted and lost {result['lost_accepted']}, lost sessions "
                f"{result['lost_pub_sessions'] + result['lost_sub_sessions']}, refused {result['refused_acks']}; "
                f"{result['disconnects']} connections lost, {result['silent']} of them silent, {result['failed_attempts']} attempts in vain")
            account.tell_faults_of(one, moments, say)


class LedWatch(threading.Thread):
    """After a kill: until every partition has a leader again."""

    def __init__(self, cluster, partitions, killed):
        super().__init__(daemon=True)
        self._cluster, self._partitions, self._killed = cluster, partitions, killed
        self.took, self.ended = None, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            if self._cluster.led() >= self._partitions:
                self.took = time.monotonic() - self._killed
                return


class Chaos:
    """One run. `problems` after it: what did not hold."""

    def __init__(self, cluster, load, say, bounds=True):
        self.cluster, self.load, self.say, self._bounds = cluster, load, say, bounds
        self.moments, self.problems, self.began = account.Moments(), [], time.monotonic()
        self.partitions, self._led = cluster.led(), []
        self.machine = MachineWatch(lambda words: self.mark("machine", words))

    def mark(self, kind, words, bound=None):
        now = time.monotonic()
        self.moments.add(now, kind, words, bound if self._bounds else None)
        self.say(f"# {now - self.began:7.1f} s  {words}")
        if self._led:
            self._led[-1].ended.set()
        if kind in ("kill", "kill-wait") and self.partitions:  # Of one node.
            self._led.append(LedWatch(self.cluster, self.partitions, now))

    def settled(self):
        """Nodes say that they are whole; or what is wrong."""
        if died := self.cluster.died():
            self.problems.append(f"node {died[0].number + 1} ended by itself with {died[0].process.returncode}; see {died[0].log_path}")
            return False
        if self.load.ended():
            self.problems.append("mqload ended by itself")
            return False
        took = until(lambda: self.cluster.whole() or bool(self.cluster.died()), WAIT_S)
        if took is None:
            words = "; ".join(f"node {number + 1}: {state[1]}" for number, state in enumerate(self.cluster.states()))
            self.problems.append(f"not whole {WAIT_S:.0f} s after the last fault: {words}")
            return False
        return not self.cluster.died() or self.settled()

    def one(self, name, chance):
        stage = faults.Stage(self.cluster, chance, self.mark)
        stage.kind = name
        try:
            faults.ALL[name][0](stage)
        except AssertionError as failure:
            self.problems.append(str(failure))
        return self.settled()

    def end(self):
        """Ends the load, and tells everything."""
        pause(1.0)
        end = time.monotonic()
        self.machine.stop()
        for watch in self._led:
            watch.ended.set()
            watch.join()
        self.moments.add(end, "", "the end")
        self.load.finish(end)
        self.say(f"# {end - self.began:.0f} s of load")
        self.load.tell(self.moments, self.say)
        if self._led:
            took = sorted(watch.took for watch in self._led if watch.took is not None)
            self.say(f"# every partition led again after kill -9: p50 {account.percentile(took, .5):.2f}, p90 {account.percentile(took, .9):.2f}, max "
                     f"{max(took, default=0.0):.2f} s of {len(took)}; {len(self._led) - len(took)} not before the next thing happened")
        self.problems += account.tell_pauses(self.load.accounts, self.moments, self.machine, self.say)


def run_faults(cluster, directory, *, seed, seconds, rate, names, say, first=0, count=None, in_turn=False,
               bounds=True):
    """Faults for so long. first, count: only these of the schedule; in_turn: each once. Returns problems."""
    load = Load(cluster, directory, rate)
    keeper = Keeper([(node.host, node.port) for node in cluster.nodes], seed, patient=True)
    try:
        if until(load.flows, WAIT_S) is None:
            return ["nothing is acknowledged, before the first fault"]
        chaos, disk = Chaos(cluster, load, say, bounds), False
        keeper.start()
        for number, (name, chance, before) in enumerate(faults.schedule(seed, names, in_turn)):
            if number < first:
                continue
            if time.monotonic() - chaos.began > seconds or (count is not None and number >= first + count):
                break
            pause(before)
            disk = disk or name in ("failing-disk",)
            if not chaos.one(name, chance):
                break
        keeper.stop()
        chaos.end()
        if not chaos.problems or cluster.whole():
            keeper.audit_settled(30)
            keeper.audit_subscriptions()
            say(f"# {keeper.changes} changes of retained messages and subscriptions, {keeper.audits} audits")
        return chaos.problems + keeper.problems + load.problems(_ALLOWED_WITH_DISK if disk else ())
    finally:
        load.close()


def new_seed():
    return random.randrange(1 << 32)
