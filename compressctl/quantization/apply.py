"""Carry out a plan on a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.model.graph import remove_dead
from compressctl.notes import Note, done, skipped
from compressctl.numerics.bias import bias_shift
from compressctl.quantization.calibration import Observations
from compressctl.quantization.dynamic import quantize
from compressctl.quantization.placement import Placement, place
from compressctl.quantization.plan import Plan, named
from compressctl.quantization.static import (
    add_hard_sigmoids,
    add_to_bias,
    insert_qdq,
    integer_bias,
    output_axis,
    pad_integers,
    quantize_weights,
    shield_float_nodes,
)


@dataclass(frozen=True)
class Settings:
    """How weights become integers."""

    per_channel: bool = True
    bias_correction: bool = True
    reduced_range: bool = False


def placement_of(model: ir.Model, plan: Plan) -> Placement:
    """Where the static part of a plan puts Q/DQ pairs."""
    return place(model.graph, set(named(model.graph, plan.static)))


def apply(model: ir.Model, plan: Plan, observations: Observations | None, settings: Settings) -> list[Note]:
    """Quantize the nodes of `plan` in place; nodes keep their names where they stay.

    Args:
        model: edited in place; weights are shared with clones and replaced, never written into.
        plan: what to quantize, made for a clone of the same model.
        observations: ranges of the tensors of `placement_of(model, plan)`; None where nothing is static.
        settings: how.
    """
    notes: list[Note] = []
    if plan.static:
        assert observations is not None
        notes += _static(model, plan, observations, settings)
    if plan.dynamic:
        notes += quantize(model, named(model.graph, plan.dynamic), reduced_range=settings.reduced_range)
    remove_dead(model)
    return notes


def _static(model: ir.Model, plan: Plan, observations: Observations, settings: Settings) -> list[Note]:
    placement = placement_of(model, plan)
    inputs = {node: node.inputs[0] for node in placement.weighted}
    insert_qdq(model, placement, observations.ranges)
    errors = quantize_weights(
        model, placement.weighted, per_channel=settings.per_channel, reduced_range=settings.reduced_range
    )
    corrected = 0
    if settings.bias_correction:
        for node, error in errors.items():
            source = inputs[node]
            means = observations.channel_mean.get(source.name or "") if source is not None else None
            if means is not None:
                axis = output_axis(node)
                corrected += add_to_bias(model, node, -bias_shift(error, means, axis))
    pad_integers(model, placement)
    add_hard_sigmoids(model, placement)
    misfits = integer_bias(model, placement)
    shield_float_nodes(model, placement.weighted)
    counts = Counter(node.op_type for node in placement.weighted + placement.joins)
    listed = ", ".join(f"{count} {op}" for op, count in counts.most_common())
    notes = [done(f"static INT8: {listed}")]
    notes += [skipped("its bias does not fit 32-bit integers, so it runs in float", node.name) for node in misfits]
    if corrected:
        notes.append(done(f"bias correction on {corrected} layers"))
    return notes
