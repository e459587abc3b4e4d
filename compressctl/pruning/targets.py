"""The smallest cut that reaches a target: a share of the work, size or latency of the model as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx_ir as ir

from compressctl.data.walk import Walk
from compressctl.measure.clocks import Limits
from compressctl.measure.latency import LatencyOptions, compare_latency
from compressctl.model.save import save_model
from compressctl.model.size import count
from compressctl.pruning.selection import Removed
from compressctl.resources import Resources

Measure = Callable[[ir.Model], float]
"""Returns what a cut model has left, as a share of what there was."""

_SECONDS = 2.0  # of a latency measurement


class Order(Protocol):
    """Cuts of growing length, as `selection.Ranking` and `selection.Even` have them."""

    def __len__(self) -> int: ...

    def first(self, count: int) -> Removed:
        """Return the cut of length `count`."""
        ...


@dataclass(frozen=True)
class Found:
    """A cut, and what it leaves.

    Attributes:
        removed: the units to remove.
        value: what is left, as a share.
    """

    removed: Removed
    value: float


def smallest_cut(
    order: Order, build: Callable[[Removed], ir.Model], measure: Measure, limit: float, *, levels: int | None = None
) -> Found:
    """Return the shortest cut that leaves `limit` at most, found by bisection; the longest where none does.

    What is left is taken to fall with the length.

    Args:
        order: the cuts.
        build: returns the model without some units.
        measure: returns what such a model has left.
        limit: the target.
        levels: lengths to choose from, evenly spaced: few where `measure` is a measurement, so that its noise seldom
            decides; None: any length.
    """
    levels = min(levels or len(order), len(order))

    def at(level: int) -> Found:
        removed = order.first(round(level * len(order) / levels)) if level else {}
        return Found(removed, measure(build(removed)))

    whole = at(0)
    if whole.value <= limit or not levels:
        return whole
    enough = at(levels)
    too_few, many = 0, levels
    while enough.value <= limit and many - too_few > 1:
        middle = (too_few + many) // 2
        found = at(middle)
        if found.value <= limit:
            enough, many = found, middle
        else:
            too_few = middle
    return enough


def macs_left(original: ir.Model, sizes: Mapping[str, int]) -> Measure:
    """Measure multiply-accumulates; `sizes` are those of dynamic input dimensions by name."""
    before = count(original, sizes).macs
    return lambda model: count(model, sizes).macs / before if before else 1.0


def size_left(original: ir.Model, folder: Path) -> Measure:
    """Measure the size of the saved file, with external data; `folder` is for temporary files."""

    def size(model: ir.Model) -> int:
        return sum(file.stat().st_size for file in save_model(model, folder / "sized.onnx", overwrite=True, stated=()))

    before = size(original)
    return lambda model: size(model) / before


def latency_left(original: ir.Model, walk: Walk, limit: float, resources: Resources) -> Measure:
    """Measure latency on the steps of `walk`, interleaved with that of the original.

    Args:
        original: the model as it was.
        walk: what both are fed.
        limit: what the share will be held against.
        resources: threads, work folder, and the seed of the order of measuring.
    """
    baseline, candidate = (resources.workdir / name for name in ("timed_original.onnx", "timed.onnx"))
    save_model(original, baseline, overwrite=True)
    limits = Limits(ratio=limit)
    options = LatencyOptions(threads=resources.threads, seed=resources.seed, seconds=_SECONDS, limits=limits)

    def left(model: ir.Model) -> float:
        save_model(model, candidate, overwrite=True)
        (ratio,) = compare_latency(baseline, [candidate], walk, options)
        return ratio.ratio

    return left
