"""The faults: what each does to the nodes, and which come one after the other, from a seed."""

import errno
import random

from nodes import WAIT_S, pause, until

USABLE_S = 5.0  # After a kill every session is usable again by then.


class Stage:
    """What a fault may use: the cluster, its network, chance; and whom it tells what it does and when."""

    def __init__(self, cluster, chance, mark):
        self.cluster, self.network, self.chance, self._mark = cluster, cluster.network, chance, mark
        self.kind = ""

    def mark(self, words, phase="", bound=None):
        """A moment begins: clients may notice."""
        self._mark(f"{self.kind}{': ' + phase if phase else ''}", words, bound)

    def victim(self):
        return self.chance.choice(self.cluster.nodes)

    def others(self, node):
        return [other for other in self.cluster.nodes if other is not node]

    def lasting(self, least, most):
        return round(self.chance.uniform(least, most), 2)


def _name(node):
    return f"node {node.number + 1}"


def _back(nodes):
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()


def kill(stage):
    """kill -9, and started at once"""
    node = stage.victim()
    stage.mark(f"kill -9 of {_name(node)}, started at once", bound=USABLE_S)
    node.kill()
    _back([node])


def kill_and_wait(stage):
    """kill -9, and started some seconds later"""
    node, seconds = stage.victim(), stage.lasting(1, 9)
    stage.mark(f"kill -9 of {_name(node)}, away for {seconds} s", bound=USABLE_S if seconds > USABLE_S else None)
    node.kill()
    pause(seconds)
    stage.mark(f"start of {_name(node)} after {seconds} s", "back")
    _back([node])


def kill_in_start(stage):
    """kill -9, started, killed while it starts, started again"""
    node, seconds = stage.victim(), stage.lasting(0.05, 3)
    stage.mark(f"kill -9 of {_name(node)}, again {seconds} s into its start")
    node.kill()
    node.spawn()
    pause(seconds)
    node.kill()
    _back([node])


def kill_two(stage):
    """kill -9 of two of three"""
    node, seconds = stage.victim(), stage.lasting(0, 6)
    nodes = stage.others(node)
    stage.mark(f"kill -9 of {' and '.join(map(_name, nodes))}, away for {seconds} s")
    for each in nodes:
        each.kill()
    pause(seconds)
    stage.mark(f"start of {' and '.join(map(_name, nodes))} after {seconds} s", "back")
    _back(nodes)


def kill_all(stage):
    """kill -9 of all nodes"""
    seconds = stage.lasting(0, 2)
    stage.mark(f"kill -9 of all nodes, away for {seconds} s")
    for node in stage.cluster.nodes:
        node.kill()
    pause(seconds)
    _back(stage.cluster.nodes)


def freeze(stage):
    """SIGSTOP, then SIGCONT"""
    node, seconds = stage.victim(), stage.lasting(0.2, 6)
    stage.mark(f"{_name(node)} stopped for {seconds} s")
    node.stop()
    pause(seconds)
    stage.mark(f"{_name(node)} goes on after {seconds} s", "over")
    node.go_on()


def freeze_and_kill(stage):
    """SIGSTOP of one node, kill -9 of another, SIGCONT"""
    node, seconds = stage.victim(), stage.lasting(0.2, 3)
    other = stage.chance.choice(stage.others(node))
    stage.mark(f"{_name(node)} stopped for {seconds} s, and kill -9 of {_name(other)}")
    node.stop()
    other.kill()
    pause(seconds)
    node.go_on()
    _back([other])


def roll(stage):
    """SIGTERM and start, one node after the other"""
    for node in stage.cluster.nodes:
        stage.mark(f"SIGTERM of {_name(node)}")
        status = node.terminate()
        if status != 0:
            raise AssertionError(f"{_name(node)} ended with {status} after SIGTERM; see {node.log_path}")
        _back([node])
        if until(stage.cluster.whole, WAIT_S) is None:
            raise AssertionError(f"not whole after {_name(node)} was started: {stage.cluster.states()}")


def _partition(stage, cuts, words, seconds):
    stage.mark(f"{words} for {seconds} s")
    for source, target in cuts:
        stage.network.cut(source.number, target.number)
    pause(seconds)
    stage.mark(f"healed after {seconds} s: {words}", "healed")
    stage.network.heal()


def isolate(stage):
    """One node neither hears the others nor is heard"""
    node = stage.victim()
    cuts = [pair for other in stage.others(node) for pair in ((node, other), (other, node))]
    _partition(stage, cuts, f"{_name(node)} cut off", stage.lasting(0.5, 9))


def deaf(stage):
    """One node hears no other one, and is heard"""
    node = stage.victim()
    _partition(stage, [(other, node) for other in stage.others(node)], f"{_name(node)} hears no node", stage.lasting(0.5, 9))


def mute(stage):
    """One node is not heard by the others, and hears them"""
    node = stage.victim()
    _partition(stage, [(node, other) for other in stage.others(node)], f"{_name(node)} is heard by no node", stage.lasting(0.5, 9))


def pair(stage):
    """Two nodes do not hear each other; the third hears both"""
    node = stage.victim()
    one, two = stage.others(node)
    _partition(stage, [(one, two), (two, one)], f"{_name(one)} and {_name(two)} do not hear each other", stage.lasting(0.5, 9))


def one_way(stage):
    """One node does not hear one other"""
    node = stage.victim()
    other = stage.chance.choice(stage.others(node))
    _partition(stage, [(node, other)], f"{_name(other)} does not hear {_name(node)}", stage.lasting(0.5, 9))


def flap(stage):
    """One node cut off and back, several times, quickly"""
    node = stage.victim()
    times = stage.chance.randrange(3, 9)
    cuts = [pair for other in stage.others(node) for pair in ((node, other), (other, node))]
    stage.mark(f"{_name(node)} cut off {times} times")
    for _ in range(times):
        for source, target in cuts:
            stage.network.cut(source.number, target.number)
        pause(stage.lasting(0.1, 1.5))
        stage.network.heal()
        pause(stage.lasting(0.05, 1))


def cable(stage):
    """One node's cable is pulled: clients do not hear it either"""
    node, seconds = stage.victim(), stage.lasting(0.5, 9)
    stage.mark(f"cable of {_name(node)} pulled for {seconds} s")
    stage.network.cable(node.number, False)
    pause(seconds)
    stage.mark(f"cable of {_name(node)} plugged in after {seconds} s", "healed")
    stage.network.cable(node.number, True)


def loss(stage):
    """A fifth of the packets between one node and the others is lost"""
    node, seconds = stage.victim(), stage.lasting(2, 8)
    stage.mark(f"{stage.network.LOSS_PERCENT} % of what {_name(node)} and the others send each other lost for {seconds} s")
    stage.network.lose(node.number, [other.number for other in stage.others(node)])
    for other in stage.others(node):
        stage.network.lose(other.number, [node.number])
    pause(seconds)
    stage.network.heal()


def delay(stage):
    """What one node sends comes late"""
    node, seconds, late = stage.victim(), stage.lasting(2, 8), stage.chance.randrange(20, 300)
    stage.mark(f"what {_name(node)} sends is {late} ms late for {seconds} s")
    stage.network.delay(node.number, late)
    pause(seconds)
    stage.network.delay(node.number, 0)


def slow_disk(stage):
    """Each sync of one node takes long"""
    node, seconds, late = stage.victim(), stage.lasting(2, 8), stage.chance.randrange(20, 400)
    stage.mark(f"each sync of {_name(node)} takes {late} ms more for {seconds} s")
    node.fail_disk("", delay_ms=late)
    pause(seconds)
    node.heal_disk()


def failing_disk(stage):
    """Writes and syncs of one node fail"""
    node, seconds = stage.victim(), stage.lasting(0.3, 4)
    part = stage.chance.choice(("log/", "state/", ""))
    error = stage.chance.choice((errno.EIO, errno.ENOSPC, errno.EROFS))
    stage.mark(f"disk of {_name(node)} fails ({part or 'all'}, {errno.errorcode[error]}) for {seconds} s")
    node.fail_disk(part, error=error)
    pause(seconds)
    stage.mark(f"disk of {_name(node)} ({part or 'all'}) works again after {seconds} s", "healed")
    node.heal_disk()


# Name, function, weight.
PROCESS = (("kill", kill, 5), ("kill-wait", kill_and_wait, 4), ("kill-in-start", kill_in_start, 1), ("kill-two", kill_two, 1),
           ("kill-all", kill_all, 1), ("freeze", freeze, 4), ("freeze-kill", freeze_and_kill, 1), ("roll", roll, 1))
CUTS = (("isolate", isolate, 2), ("deaf", deaf, 2), ("mute", mute, 2), ("pair", pair, 2), ("one-way", one_way, 2),
        ("flap", flap, 1), ("cable", cable, 1), ("loss", loss, 1))
LATE = (("delay", delay, 2),)
DISK = (("slow-disk", slow_disk, 2), ("failing-disk", failing_disk, 2))
ALL = {name: (function, weight) for name, function, weight in PROCESS + CUTS + LATE + DISK}


def available(network):
    """Names of the faults that can be had here."""
    faults = PROCESS + DISK + (CUTS if network.cuts else ()) + (LATE if network.delays else ())
    return [name for name, _, _ in faults]


def schedule(seed, names, in_turn=False):
    """(name, chance of this fault, seconds before it), for ever, or each name once. Each fault draws from chance of its own, so that
    what it does does not depend on the others, nor on time."""
    chance = random.Random(seed)
    weights = [ALL[name][1] for name in names]
    chosen = iter(names) if in_turn else iter(lambda: chance.choices(names, weights)[0], None)
    for name in chosen:
        yield name, random.Random(chance.randrange(1 << 32)), chance.uniform(0.3, 2.5)
