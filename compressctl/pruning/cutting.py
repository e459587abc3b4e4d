"""A model without some units, compared with the model in which they are switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.measure.session import Session
from compressctl.pruning.selection import Removed
from compressctl.simplification.equivalence import difference
from compressctl.structure.cut import cut
from compressctl.structure.groups import Group
from compressctl.structure.masked import masked

_UNITS = "units before pruning"


def without(model: ir.Model, groups: Sequence[Group], removed: Removed) -> ir.Model:
    """Return a copy of `model` without some units; it remembers how many units its groups had."""
    smaller = model.clone()
    cut(smaller, groups, removed)
    smaller.graph.meta[_UNITS] = original_sizes(model, groups)
    return smaller


def original_sizes(model: ir.Model, groups: Sequence[Group]) -> dict[str, int]:
    """Return how many units each group had before the first cut of this run, by name."""
    before: dict[str, int] = model.graph.meta.get(_UNITS, {})
    return {**before, **{group.name: before.get(group.name, group.size) for group in groups}}


def deviation(
    model: ir.Model, groups: Sequence[Group], removed: Removed, feeds: Mapping[str, Array], *, threads: int = 0
) -> str | None:
    """Say in words how far cutting is from switching off; None where it is no more than rounding explains.

    Groups of kind width are left out of the comparison: norms across them take statistics of what is left.
    """
    exact = {group.name: removed[group.name] for group in groups if group.kind != "width" and group.name in removed}
    if not exact:
        return None
    candidates = (masked(model, groups, exact), without(model, groups, exact))
    expected, actual = (Session(each, threads=threads, optimize=False).run(feeds) for each in candidates)
    return difference(expected, actual)
