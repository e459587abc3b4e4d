"""Which candidate is better than which, and which ones no other one beats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from compressctl.recipe.model import Recipe
from compressctl.search.attempt import needs_latency
from compressctl.search.record import Record

Key = tuple[bool, int, float, float, float]


def goal(objective: str, bytes_: float, latency: float) -> float:
    """Return the number that is to be small: bytes, latency, or the logarithm of their product."""
    if objective == "both":
        return math.log(bytes_) + math.log(latency)
    return bytes_ if objective == "size" else latency


def rank(recipe: Recipe, record: Record) -> Key:
    """Return what records are sorted by: those that keep all budgets first, then those that miss least."""
    assert recipe.search is not None and record.bytes is not None and record.drop is not None
    reached = goal(recipe.search.objective, record.bytes, record.latency or 1.0)
    return (not record.complete, *record.missed, reached, record.drop[0])


def measured(records: Sequence[Record]) -> list[Record]:
    """Return the records of candidates that have a size and a drop in accuracy, each candidate once."""
    found = (record for record in records if record.drop is not None and record.bytes is not None)
    return list({record.provenance: record for record in found if record.provenance}.values())


def values(recipe: Recipe, record: Record) -> list[float]:
    """Return the objectives of a record: bytes, latency or both, and the drop of the metric."""
    assert recipe.search is not None and record.bytes is not None and record.drop is not None
    small = {"size": [float(record.bytes)], "latency": [record.latency or math.inf]}
    small["both"] = small["size"] + small["latency"]
    return [*small[recipe.search.objective], record.drop[0]]


def front(recipe: Recipe, records: Sequence[Record], most: int) -> list[Record]:
    """Return the records that no other one beats in size, latency and accuracy at once, at most so many, best first."""
    found = [record for record in measured(records) if record.complete] or measured(records)

    def objectives(record: Record) -> list[float]:
        assert record.bytes is not None and record.drop is not None
        timed = [record.latency or math.inf] if needs_latency(recipe) else []
        return [float(record.bytes), *timed, record.drop[0]]

    left = [a for a in found if not any(dominates(objectives(b), objectives(a)) for b in found)]
    return sorted(left, key=lambda record: rank(recipe, record))[:most]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is no worse in anything, and better in something."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))
