"""Which units of which groups go.

What stays of a group is a number of channels that kernels like: a multiple of `round_to`, or of 4 where that would keep
the group whole or it has less than two such multiples. Groups of less than 8 channels, and heads, are cut unit by unit.
One multiple stays of every group, and so do its fixed units. Of equal scores the unit of the lower index goes first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from compressctl.arrays import Floats, Integers
from compressctl.numerics.importance import share_of_sum
from compressctl.pruning.scores import distinct
from compressctl.structure.groups import Group

Removed = dict[str, Integers]
"""The units to remove, ascending, by the group's name; groups that stay whole have no entry."""

_EVEN_STEPS = 1000
_FALLBACK = 4  # channels: the smallest multiple that keeps onnxruntime's blocked layout


def kept_count(group: Group, wanted: float, round_to: int) -> int:
    """Return how many units of a group stay where `wanted` should: that many at least."""
    wide = _positions(group)
    steps = [math.ceil(step / wide) for step in dict.fromkeys((round_to, min(round_to, _FALLBACK)))]
    steps = [1] if group.kind == "head" else [step for step in steps if group.size >= 2 * step] or [1]
    fixed = int(group.fixed.sum())
    for step in steps:
        kept = step * math.ceil(max(wanted - 1e-9, fixed, 1) / step)
        if kept < group.size:
            return kept
    return group.size


def _positions(group: Group) -> int:
    """Return how many positions of an axis a unit has: one a channel, several where channels only go together."""
    each = [int(np.count_nonzero(weight.units >= 0)) // group.size for weight in group.weights]
    return max(1, min(each, default=1))


def by_layer(
    groups: Sequence[Group],
    scores: Mapping[str, Floats],
    ratios: Mapping[str, float] | float,
    round_to: int,
    originals: Mapping[str, int] | None = None,
) -> Removed:
    """Remove the same share of units from every group, or the share that `ratios` gives by group (others: none).

    Rounding keeps more units than the share leaves, never fewer.

    Args:
        groups: the groups.
        scores: of each group's units.
        ratios: shares between 0 and 1.
        round_to: see the module.
        originals: the numbers of units that the shares are of, by group; by default those there are.
    """
    removed = {}
    for group in groups:
        ratio = ratios.get(group.name, 0.0) if isinstance(ratios, Mapping) else ratios
        original = group.size if originals is None else originals[group.name]
        removed[group.name] = _lowest(group, scores[group.name], original * (1 - ratio), round_to)
    return _nonempty(removed)


class Even:
    """Cuts that remove the same share of every group, 0 to 1 in steps of a thousandth.

    Args:
        groups: the groups.
        scores: of each group's units.
        round_to: see the module.
    """

    def __init__(self, groups: Sequence[Group], scores: Mapping[str, Floats], round_to: int) -> None:
        self._groups, self._scores, self._round_to = tuple(groups), scores, round_to

    def __len__(self) -> int:
        return _EVEN_STEPS

    def first(self, count: int) -> Removed:
        """Remove `count` thousandths of every group."""
        return by_layer(self._groups, self._scores, count / _EVEN_STEPS, self._round_to)


class Ranking:
    """Cuts that remove the first units of one order of all: those that matter least for what they cost.

    The importance of a unit is its share of its group's score times the number of matrices that make or read the group:
    layers of different scale can be compared, a unit among few counts more than one among many, and so does a channel
    of a residual stream, which many layers share. Fixed units, and those whose removal saves nothing, are not in the
    order.

    Args:
        groups: the groups.
        scores: of each group's units.
        round_to: see the module.
        costs: what one unit of a group costs; 1 each by default.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        scores: Mapping[str, Floats],
        round_to: int,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        self._groups, self._scores, self._round_to = tuple(groups), scores, round_to
        ranks, owners = [np.zeros(0)], [np.zeros(0, np.int64)]
        for index, group in enumerate(self._groups):
            cost = 1.0 if costs is None else costs[group.name]
            if cost > 0:
                matter = share_of_sum(scores[group.name]) * len(distinct(group.weights, "makes", "reads"))
                ranks.append(matter[~group.fixed] / cost)
                owners.append(np.full(len(ranks[-1]), index))
        self._owners = np.concatenate(owners)[np.argsort(np.concatenate(ranks), kind="stable")]

    def __len__(self) -> int:
        return len(self._owners)

    def first(self, count: int) -> Removed:
        """Remove the first `count` units of the order, less what rounding keeps."""
        going = np.bincount(self._owners[:count], minlength=len(self._groups))
        each = zip(self._groups, going.tolist(), strict=True)
        return _nonempty(
            {g.name: _lowest(g, self._scores[g.name], g.size - number, self._round_to) for g, number in each}
        )


def _lowest(group: Group, scores: Floats, wanted: float, round_to: int) -> Integers:
    """Return the least important units to remove so that `wanted` stay, as far as rounding allows; ascending."""
    number = group.size - kept_count(group, wanted, round_to)
    free = np.flatnonzero(~group.fixed)
    order = free[np.argsort(scores[free], kind="stable")]
    return np.sort(order[:number])


def _nonempty(removed: Removed) -> Removed:
    return {name: units for name, units in removed.items() if len(units)}
