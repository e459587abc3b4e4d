"""The part of a plan that calibration says enough of: a range of nothing but zeros is no range to round to.

What is quantized to such a range becomes zero whatever comes in, so a branch that no sample reached would be destroyed
without a trace. Its layers stay in float, or are quantized dynamically.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from compressctl.layers.unseen import unseen
from compressctl.model.graph import all_nodes
from compressctl.notes import Note, warning
from compressctl.quantization.int8.bodies import branches_around
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
        dynamic: quantize such layers dynamically, where they have that form, else their weights alone; if not, they
            stay in float, but in a branch that no sample takes their weights alone are quantized.
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
    untaken, told = _untaken(model.graph, plan, left)
    moved = [name for name in left if name in fitting]
    packed = [name for name in left if name not in moved and (dynamic or name in untaken)]
    kept = plan.without(left).weights_alone(packed)
    kept = replace(kept, in_float=plan.in_float | blank)
    kept = replace(kept, dynamic=tuple(n.name or "" for n in named(model.graph, (*kept.dynamic, *moved))))
    instead = {name: "quantized as its input comes" if name in moved else "kept in float" for name in left}
    notes = [unseen(name, how) for name, how in instead.items() if name not in untaken]
    return kept, (*told, *notes)


def _untaken(graph: ir.Graph, plan: QuantizationPlan, left: Sequence[str]) -> tuple[set[str], list[Note]]:
    """Return the layers of branches of If of which no sample tells anything, and a warning for each such branch."""
    found: set[str] = set()
    notes: list[Note] = []
    for node in named(graph, left):
        for owner, name, body in branches_around(graph, node) if node.name not in found else ():
            inside = {*plan.static} & {inner.name or "" for inner in all_nodes(body)}
            if inside <= {*left}:
                condition = owner.inputs[0].name if owner.inputs[0] is not None else ""
                wanted = f"{condition!r} is {'true' if name == 'then_branch' else 'false'}"
                text = f"no calibration sample takes its {name}, unless with zeros: {len(inside)} layers are quantized"
                notes.append(warning(f"{text} without samples; add some for which {wanted}", owner.name))
                found |= inside
                break
    return found, notes
