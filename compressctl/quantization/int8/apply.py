"""Carry out a plan on a model."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import remove_dead
from compressctl.notes import Note, done
from compressctl.numerics.bias import bias_shift
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.dynamic import quantize
from compressctl.quantization.int8.plan import QuantizationPlan, named
from compressctl.quantization.int8.quantizers import Settings, fold_weights
from compressctl.quantization.int8.static import add_to_bias, output_axis
from compressctl.quantization.int8.trainable import finish, make_trainable
from compressctl.quantization.weights.eight_bits import pack_weights


def apply_plan(
    model: ir.Model, plan: QuantizationPlan, observations: Observations | None, settings: Settings
) -> list[Note]:
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
        notes += quantize(
            model, named(model.graph, plan.dynamic), reduced_range=settings.reduced_range, files=settings.files
        )
    if plan.weights:
        notes += pack_weights(model.graph, plan.weights, settings.files)
    remove_dead(model)
    return notes


def _static(model: ir.Model, plan: QuantizationPlan, observations: Observations, settings: Settings) -> list[Note]:
    trainable = make_trainable(model, plan, observations, settings)
    errors = fold_weights(model, trainable.quantizers, settings.rounded)
    corrected = 0
    if settings.bias_correction:
        for node, error in errors.items():
            if node.name in settings.rounded:  # learned with the bias as it is
                continue
            source = trainable.inputs[node]
            means = observations.channel_mean.get(source.name or "") if source is not None else None
            if means is not None:
                corrected += add_to_bias(model, node, -bias_shift(error, means, output_axis(node)))
    notes = finish(model, trainable)
    if corrected:
        notes.append(done(f"bias correction on {corrected} layers"))
    return notes
