"""What the ledgers wrote: who had to wait, when, for how long; and what was lost, doubled or out of order, when."""

import bisect
import collections


def percentile(values, share):
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


class Account:
    """Of one `mqload ledger`, from its two files. Times are of time.monotonic(), to some milliseconds."""

    def __init__(self, ledger):
        self.qos, self.interval = ledger.qos, ledger.pubs / ledger.rate
        self.times = collections.defaultdict(list)  # By client: of acknowledgements, or of arrivals.
        self._acked, self._arrived = {}, collections.defaultdict(dict)
        self.doubled, self.disordered, self.events = [], [], []
        highest = collections.defaultdict(lambda: -1)
        for line in self._lines(ledger.out + ".acked"):
            kind, *rest = line.split(" ", 3 if line[0] != "#" else 2)
            if kind == "#":
                self.events.append((ledger.began + int(rest[0]) / 1000, rest[1]))
            elif kind == "A":
                publisher, number, at = int(rest[0]), int(rest[1]), ledger.began + int(rest[2]) / 1000
                self.times[f"publisher {publisher}"].append(at)
                self._acked[publisher, number] = at
        for line in self._lines(ledger.out + ".received"):
            _, copy, publisher, number, at = line.split()
            copy, publisher, number, at = int(copy), int(publisher), int(number), ledger.began + int(at) / 1000
            self.times[f"subscriber {publisher}.{copy}"].append(at)
            there = self._arrived[copy]
            if (publisher, number) in there:
                self.doubled.append((at, f"{publisher}:{number} at copy {copy}, first {at - there[publisher, number]:.3f} s before"))
                continue
            there[publisher, number] = at
            if number < highest[copy, publisher]:
                self.disordered.append((at, f"{publisher}:{number} at copy {copy} behind {highest[copy, publisher]}"))
            highest[copy, publisher] = max(number, highest[copy, publisher])
        self.lost = [(at, f"{publisher}:{number} at copy {copy}") for copy in self._arrived
                     for (publisher, number), at in self._acked.items()
                     if (publisher, number) not in self._arrived[copy]]

    @staticmethod
    def _lines(path):
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.endswith("\n") and line.strip():
                    yield line.rstrip("\n")

    def end(self, at):
        """Who has heard nothing since before then was silent until then."""
        for times in self.times.values():
            if times and times[-1] < at:
                times.append(at)

    def gaps(self, begin, end):
        """(client, begin, length) of the longest silence of each client that begins in the time from begin to end: with the last message
        before what happened at `begin`, which may have been some time ago."""
        slack = 1.5 * self.interval
        for client, times in self.times.items():
            at = bisect.bisect_left(times, begin - slack)
            best = (0.0, begin)
            while at + 1 < len(times) and times[at] < end - slack:
                best = max(best, (times[at + 1] - times[at], times[at]))
                at += 1
            yield client, best[1], best[0]

    def usable_again(self, begin, end, threshold):
        """How long after `begin` the last client's long silence was over, and whose; None if none was silent."""
        last = None
        for client, times in self.times.items():
            at = max(bisect.bisect_right(times, begin) - 1, 0)
            while at + 1 < len(times) and times[at] < end - 1.5 * self.interval:
                if times[at + 1] - times[at] > threshold:
                    last = max(last or (0.0, ""), (times[at + 1] - begin, f"QoS {self.qos} {client}"))
                at += 1
        return last


class Moments:
    """What happened when: the time of one ends with the next one, and the last is the end."""

    def __init__(self):
        self._moments = []  # (time, kind, words, bound in seconds or None)

    def add(self, at, kind, words, bound=None):
        self._moments.append((at, kind, words, bound))

    def __iter__(self):
        """(begin, end, kind, words, bound)"""
        self._moments.sort(key=lambda moment: moment[0])
        for (at, kind, words, bound), after in zip(self._moments, self._moments[1:]):
            yield at, after[0], kind, words, bound

    def around(self, at):
        """In words, what had happened last at a time."""
        before = [moment for moment in self._moments if moment[0] <= at]
        if not before:
            return "before the first fault"
        last = before[-1]
        return f"{at - last[0]:.2f} s after {last[2]}"


def tell_pauses(accounts, moments, machine, say):
    """Without what fell into a standstill of the machine: prints how long clients heard nothing, by kind of fault. Returns problems: bounds that did not hold."""
    problems, of_kind, again = [], collections.defaultdict(list), collections.defaultdict(list)
    worst = collections.defaultdict(lambda: (0.0, ""))
    for begin, end, kind, words, bound in moments:
        if kind == "machine" or machine.overlaps(begin - 5, min(end, begin + 30)):
            continue
        for account in accounts:
            for client, at, length in account.gaps(begin, end):
                of_kind[kind].append(length)
                worst[kind] = max(worst[kind], (length, f"QoS {account.qos} {client}, {at - begin:+.2f} s from {words}"))
        threshold = 0.5 + max(account.interval for account in accounts)
        found = [one for account in accounts if (one := account.usable_again(begin, end, threshold)) is not None]
        took, who = max(found, default=(0.0, "nobody had to wait"))
        again[kind].append(took)
        if bound is not None and took > bound:
            problems.append(f"{words}: {who} went on only {took:.2f} s after it, not within {bound:.0f} s")
    say(f"# the longest silence of each client ({' and '.join(f'{a.interval * 1000:.0f}' for a in accounts)} ms between two messages), by what happened:")
    say(f"# {'':24} {'times':>6} {'p50':>7} {'p90':>7} {'p99':>7} {'max':>7} {'again':>7}  seconds; again: until the last client went on, worst")
    total = []
    for kind, values in sorted(of_kind.items()):
        total += values
        _row(kind, len(again[kind]), values, again[kind], say)
    _row("all", sum(map(len, again.values())), total, [took for values in again.values() for took in values], say)
    for kind, (length, words) in sorted(worst.items(), key=lambda one: -one[1][0]):
        if length > 2.0:
            say(f"# longest of {kind}: {length:.2f} s, {words}")
    return problems


def _row(name, times, values, again, say):
    values = sorted(values)
    say(f"# {name:24} {times:6} {percentile(values, .5):7.2f} {percentile(values, .9):7.2f} {percentile(values, .99):7.2f} "
        f"{max(values, default=0.0):7.2f} {max(again, default=0.0):7.2f}")


def tell_faults_of(account, moments, say, shown=10):
    """Prints when what was lost, doubled or out of order was so."""
    for name, found in (("lost", account.lost), ("out of order", account.disordered),
                        ("doubled", account.doubled if account.qos == 2 else [])):
        for at, words in sorted(found)[:shown]:
            say(f"# QoS {account.qos} {name}: {words}; {moments.around(at)}")
        if len(found) > shown:
            say(f"# QoS {account.qos} {name}: {len(found) - shown} more")
