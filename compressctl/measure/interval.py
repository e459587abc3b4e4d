"""A measured value and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def straddles(self, limit: float) -> bool:
        """Whether a limit lies within: the value is on one side of it, and what it stands for may be on the other."""
        return self.low < limit < self.high

    def half_width(self) -> float:
        """Return half the interval's width, as a share of the value."""
        return (self.high - self.low) / 2 / self.value

    def spanning(self, *others: Interval) -> Interval:
        """Return the same value with an interval that holds those of others too."""
        every = (self, *others)
        return Interval(self.value, min(one.low for one in every), max(one.high for one in every))
