"""Quantization-aware training: train the graph with its rounding in it, then fold the weights to integers.

The graph is quantized as pass `quantize` does statically, but its weights stay float behind the nodes that round them.
Weights, biases and the scales of weights and activations are trained towards the original model's answers, and towards
labels where there are any; the gradient passes straight through the rounding. Then the same integer graph is written
as `quantize` would write. Run `simplify` before, so that BatchNormalization is part of the convolutions.

Sources: Jacob et al. 2018 (arXiv:1712.05877); learned scales, LSQ, Esser et al. 2020 (arXiv:1902.08153).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from compressctl.passes.base import Context, Outcome, Reads, WeightForm
from compressctl.passes.static_options import StaticOptions, observe_static
from compressctl.training.options import TrainingOptions

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

_NARROW_RATE = 1e-3
_CALIBRATION_SAMPLES = 256  # of the training samples, where there are none for calibration


class Config(TrainingOptions, StaticOptions):
    """Options of `qat`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training")
    edits_weights: ClassVar[bool] = True
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("dynamic",)

    type: Literal["qat"] = "qat"
    scheme: Literal["int8", "w4a8", "w3a8", "w2a8", "ternary-a8", "w1a8"] = "int8"
    """int8, or weights of fewer bits: w4a8, w3a8, w2a8, ternary-a8 ({-1, 0, 1}) or w1a8 ({-1, 1})."""
    epochs: int = Field(default=3, ge=1)
    """Times that every training sample is seen; weights of few bits gain from more."""
    learning_rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """The learning rate after warm-up; of the schemes with fewer than 8 bits 1e-3 unless it is given."""

    @model_validator(mode="before")
    @classmethod
    def _narrow_weights_learn_faster(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("scheme", "int8") != "int8":
            return {"learning_rate": _NARROW_RATE, **content}
        return content

    @property
    def form(self) -> WeightForm:
        """Integers behind known scales."""
        return "static"


def run(model: ir.Model, config: Config, context: Context) -> Outcome:
    """Quantize `model` in place, trained on `context.training`.

    Raises:
        UsageError: there is nothing to train on, or a glob matches nothing.
        ModelError: the graph cannot be trained.
    """
    from compressctl.data.first import First
    from compressctl.notes import warning
    from compressctl.passes.training import fit, terms, training_samples
    from compressctl.quantization.apply import apply
    from compressctl.quantization.plan import Plan, make_plan, weight_grids
    from compressctl.quantization.quantizers import Settings
    from compressctl.quantization.trainable import fold, make_trainable
    from compressctl.training.scales import keep_scales

    source = training_samples(context, "qat")
    plan, notes = make_plan(model, config.scheme, config.selection(), calibrated=True, embeddings=config.embeddings)
    if not plan.static:
        return Outcome(model, (*notes, warning("nothing was quantized, so nothing was trained")))
    target, reduced = config.range_for_target()
    settings = Settings(
        per_channel=config.per_channel,
        bias_correction=False,
        reduced_range=reduced,
        grids=weight_grids(model, plan, config.scheme, config.edges),
    )
    samples = context.calibration or First(source, _CALIBRATION_SAMPLES)
    plan, observations = observe_static(model, plan, config, samples, context, means=False)
    if not plan.static:
        return Outcome(model, (*notes, *observations.notes, warning("nothing was quantized, so nothing was trained")))
    losses = config.losses or terms(model, source, context, teacher=True)
    trainable = make_trainable(model, plan, observations, settings)
    before = {value.name or "": _array(value) for value in trainable.scales}
    told, trained = fit(model, config, losses, context, source, (context.baseline,), keep_scales(trainable))
    change = {value.name or "": _ratio(_array(value), before[value.name or ""]) for value in trainable.scales}
    notes = (*notes, *observations.notes, *told, *fold(model, trainable))
    notes += tuple(apply(model, Plan(dynamic=plan.dynamic), None, settings))
    facts: dict[str, Any] = {
        "target": target,
        "reduced_range": reduced,
        "quantized": {"static": len(plan.static), "dynamic": len(plan.dynamic)},
        "scales": change,
    }
    return Outcome(model, notes, {**facts, **trained})


def _array(value: ir.Value) -> NDArray[Any]:
    assert value.const_value is not None
    return value.const_value.numpy()


def _ratio(after: NDArray[Any], before: NDArray[Any]) -> float:
    """Return by what factor scales changed, in the geometric mean."""
    import numpy as np

    return float(np.exp(np.mean(np.log(after / before))))
