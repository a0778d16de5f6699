"""The arithmetic of a benchmark on a noisy machine: medians, and ratios of runs made side by side."""

import dataclasses
import math
import statistics

CHANCE_MAX = 0.05  # What happens by chance more often than this shows no difference.


def median(values):
    """The median of those that were measured; None if none was."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def adjacent_ratio(of, to):
    """Median over the rounds of of[i] / to[i].

    Neighbours in time share whatever else the machine is doing; a ratio of medians does not.
    """
    pairs = [a / b for a, b in zip(of, to) if a is not None and b]
    return statistics.median(pairs) if pairs else None


def adjacent_difference(of, to):
    pairs = [a - b for a, b in zip(of, to) if a is not None and b is not None]
    return statistics.median(pairs) if pairs else None


def rounds_above(of, to):
    """(in how many rounds of[i] is above to[i], in how many they differ)."""
    pairs = [(a, b) for a, b in zip(of, to) if a is not None and b is not None and a != b]
    return sum(a > b for a, b in pairs), len(pairs)


def by_chance(above, differ):
    """How likely it is that so many rounds or more are above if neither side is: a sign test, one-sided."""
    return sum(math.comb(differ, count) for count in range(above, differ + 1)) / 2**differ


def spread(values):
    """Half of the range, as a share of the median: how far the rounds disagree."""
    known = [value for value in values if value is not None]
    middle = median(known)
    return (max(known) - min(known)) / 2 / middle if len(known) > 1 and middle else 0.0


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a column of figures must keep to.

    kind: "ratio", "ratio at least", "difference" and "not above" are held against column `to`; "at most" and
    "at least" stand alone. "not above" is for figures that are mostly the machine's, where two runs of the same
    program differ by half: it is missed if the rounds show a difference, by a sign test, and has no limit.
    That takes rounds; met means that nothing was shown, and what says how much is the ratio beside it.
    """
    of: str
    limit: float = 1.0
    to: str = ""
    kind: str = "ratio"

    def value(self, columns):
        """The figure that is judged; None if it was not measured."""
        of = columns.get(self.of)
        if of is None:
            return None
        if self.kind in ("at most", "at least"):
            return median(of)
        to = columns.get(self.to)
        if to is None:
            return None
        return (adjacent_difference if self.kind == "difference" else adjacent_ratio)(of, to)

    def met(self, columns):
        """None if it was not measured."""
        value = self.value(columns)
        if value is None:
            return None
        if self.kind == "not above":
            above, differ = rounds_above(columns[self.of], columns[self.to])
            few = 0 < differ and by_chance(differ, differ) > CHANCE_MAX  # Not even all could show anything.
            return None if few else by_chance(above, differ) > CHANCE_MAX
        return value >= self.limit if "at least" in self.kind else value <= self.limit

    @property
    def unit(self):
        """Of the figure that is judged: a ratio has another than its columns."""
        return f"× {self.to}" if "ratio" in self.kind or self.kind == "not above" else ""

    def remark(self, columns):
        """What the judged figure alone does not say, or ""."""
        if self.kind != "not above" or self.value(columns) is None:
            return ""
        above, differ = rounds_above(columns[self.of], columns[self.to])
        return f"(above in {above} of {differ} rounds)"

    def text(self):
        if self.kind == "not above":
            return f"not above {self.to}"
        sign = "≥" if "at least" in self.kind else "≤"
        if "ratio" in self.kind:
            return f"{sign} {self.limit:g} × {self.to}"
        if self.kind == "difference":
            return f"{sign} {self.to} + {self.limit:g}"
        return f"{sign} {self.limit:,g}"


def number(value):
    """For people: three digits that count, thousands apart, no exponent."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"
