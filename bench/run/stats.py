"""The arithmetic of a benchmark on a noisy machine: medians, and ratios of runs made side by side."""

import dataclasses
import statistics


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


def spread(values):
    """Half of the range, as a share of the median: how far the rounds disagree."""
    known = [value for value in values if value is not None]
    middle = median(known)
    return (max(known) - min(known)) / 2 / middle if len(known) > 1 and middle else 0.0


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a column of figures must keep to.

    kind: "ratio", "ratio at least" and "difference" are held against column `to`; "at most" and "at least"
    stand alone.
    """
    of: str
    limit: float
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
        return value >= self.limit if "at least" in self.kind else value <= self.limit

    @property
    def unit(self):
        """Of the figure that is judged: a ratio has another than its columns."""
        return f"× {self.to}" if "ratio" in self.kind else ""

    def text(self):
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
