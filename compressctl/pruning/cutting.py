"""A model without some units: compared with the model in which they are switched off, or narrower in every layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.errors import ModelError
from compressctl.measure.session import Session
from compressctl.notes import Note, done
from compressctl.pruning.scores import score
from compressctl.pruning.selection import Removed, by_layer
from compressctl.simplification.equivalence import difference
from compressctl.structure.cut import cut
from compressctl.structure.groups import Group, find_groups
from compressctl.structure.masked import masked

_UNITS = "units before pruning"
_ROUND_TO = 16


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


def cut_width(model: ir.Model, keep: float) -> tuple[ir.Model, tuple[Note, ...]]:
    """Return a copy of `model` in which channels, neurons, heads and the streams between norms are cut to a share.

    Of each group of units those stay whose weights are largest in L2 norm, a little more than `keep` of them where a
    multiple of 16 (of 4 in small layers) is more.

    Args:
        model: the model, which is not changed; the copy shares the tensors that stay whole.
        keep: between 0 and 1, both excluded.

    Raises:
        ModelError: no layer can be cut; says why.
    """
    groups = find_groups(model)
    free = [group for group in groups if not group.fixed.all()]
    removed = by_layer(free, score(model, free, "l2"), 1 - keep, _ROUND_TO)
    if not removed:
        reasons = Counter(reason for group in groups for reason in group.reasons[:1])
        why = "; ".join(reason for reason, _ in reasons.most_common(2)) or "no layer makes units that others read"
        raise ModelError(f"the width cannot be cut: {why}", "simplify first, or give a student as --student FILE")
    left = {group.name: group.size - len(removed[group.name]) for group in free if group.name in removed}
    notes = [done(f"{left[g.name]} of {g.size} units stay", g.name) for g in free if g.name in left]
    return without(model, free, removed), tuple(notes)
