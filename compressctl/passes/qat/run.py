"""The work of the pass `qat`, and what a search may try of it: for how long static formats are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.first import First
from compressctl.notes import skipped, warning
from compressctl.passes.base import Context, Outcome
from compressctl.passes.qat import Config
from compressctl.passes.space import EPOCHS, Draw, Params, PassSpace, Space, Stage
from compressctl.passes.static import STATIC, observe_static, range_for_target, static_options
from compressctl.passes.training import fit, terms, training_samples
from compressctl.quantization.int8.apply import apply_plan
from compressctl.quantization.int8.plan import QuantizationPlan, make_plan, named, weight_grids
from compressctl.quantization.int8.quantizers import Settings
from compressctl.quantization.int8.trainable import fold, make_trainable

_CALIBRATION_SAMPLES = 256  # of the training samples, where there are none for calibration


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Quantize `model` in place, trained on `context.training`.

    Raises:
        UsageError: there is nothing to train on, or a glob matches nothing.
        ModelError: the graph cannot be trained.
    """
    source = training_samples(context, "qat")
    from compressctl.training.scales import keep_scales

    plan, notes = make_plan(model, config.scheme, config.selection, calibrated=True, embeddings=config.embeddings)
    inside = [node.name or "" for node in named(model.graph, plan.static) if node.graph is not model.graph]
    plan, notes = (
        plan.without(inside),
        (*notes, *(skipped("training leaves bodies as they are", name) for name in inside)),
    )
    if not plan.static:
        return Outcome(model, (*notes, warning("nothing was quantized, so nothing was trained")))
    target, reduced = range_for_target(config)
    settings = Settings(
        per_channel=config.per_channel,
        bias_correction=False,
        reduced_range=reduced,
        grids=weight_grids(model, plan, config.scheme, config.first_last),
    )
    samples = context.calibration or First(source, _CALIBRATION_SAMPLES)
    plan, observations = observe_static(model, plan, config, samples, context, means=False)
    if not plan.static:
        return Outcome(model, (*notes, *observations.notes, warning("nothing was quantized, so nothing was trained")))
    losses = config.losses or terms(model, source, context, teacher=True)
    trainable = make_trainable(model, plan, observations, settings)
    before = {value.name or "": _array(value) for value in trainable.scales}
    told, trained = fit(model, config, losses, context, (context.baseline,), keep_scales(trainable))
    change = {value.name or "": _ratio(_array(value), before[value.name or ""]) for value in trainable.scales}
    notes = (*notes, *observations.notes, *told, *fold(model, trainable))
    notes += tuple(apply_plan(model, QuantizationPlan(dynamic=plan.dynamic), None, settings))
    facts: dict[str, Any] = {
        "target": target,
        "reduced_range": reduced,
        "quantized": {"static": len(plan.static), "dynamic": len(plan.dynamic)},
        "scales": change,
    }
    return Outcome(model, notes, {**facts, **trained})


def _array(value: ir.Value) -> Array:
    assert value.const_value is not None
    return value.const_value.numpy()


def _ratio(after: Array, before: Array) -> float:
    """Return by what factor scales changed, in the geometric mean."""
    return float(np.exp(np.mean(np.log(after / before))))


class QatSpace(PassSpace):
    """The parameter `qat_epochs`, 0 where the pass `quantize` does it."""

    def draw(self, draw: Draw) -> None:
        if draw.space.train and draw.format.name in STATIC:
            draw.choice("qat_epochs", (0, *EPOCHS))

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if epochs := params.get("qat_epochs"):
            options = static_options(params)
            yield Stage.NUMBERS, Config(scheme=params["format"], epochs=epochs, exclude=spared, **options)

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        if space.train and space.has("w4a8"):
            yield 9, {"format": "w4a8", "qat_epochs": 3}
