"""The part of a plan that calibration says enough of: a range of nothing but zeros is no range to round to.

What is quantized to such a range becomes zero whatever comes in, so a branch that no sample reached would be destroyed
without a trace. Its layers stay in float, or are quantized dynamically.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from compressctl.layers.unseen import unseen
from compressctl.notes import Note
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.dynamic import candidates
from compressctl.quantization.int8.placement import quantized_around
from compressctl.quantization.int8.plan import QuantizationPlan, named


def seen_part(
    model: ir.Model, plan: QuantizationPlan, observations: Observations, *, dynamic: bool
) -> tuple[QuantizationPlan, tuple[Note, ...]]:
    """Return the plan without static layers whose input or output was empty or zero throughout, and warnings of these.

    Args:
        model: not edited.
        plan: made for it.
        observations: ranges of the tensors of `placement_of(model, plan)`.
        dynamic: quantize such layers dynamically, where they have that form, else their weights alone.
    """
    blank = {name for name, (low, high) in observations.ranges.items() if low == high}
    if not blank:
        return plan, ()
    left = [
        node.name or ""
        for node in named(model.graph, plan.static)
        if any(value.name in blank for value in quantized_around(node))
    ]
    fitting = {node.name for node, reason in candidates(model) if reason is None} if dynamic else set()
    moved = [name for name in left if name in fitting]
    lost = [name for name in left if name not in moved]
    kept = plan.without(moved)
    kept = replace(kept.weights_alone(lost) if dynamic else kept.without(lost), in_float=plan.in_float | blank)
    kept = replace(kept, dynamic=tuple(n.name or "" for n in named(model.graph, (*kept.dynamic, *moved))))
    notes = [unseen(name, "quantized as its input comes" if name in moved else "kept in float") for name in left]
    return kept, tuple(notes)
