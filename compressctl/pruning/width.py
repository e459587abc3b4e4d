"""A narrower model from a wide one: every layer keeps the same share of its units."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from compressctl.errors import ModelError
from compressctl.notes import Note, done
from compressctl.pruning.cutting import without
from compressctl.pruning.scores import score
from compressctl.pruning.selection import by_layer
from compressctl.structure.groups import find_groups

_ROUND_TO = 16


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
