"""Quantization-aware training: train the graph with its rounding in it, then fold the weights to integers.

The graph is quantized as pass `quantize` does statically, but its weights stay float behind the nodes that round them.
Weights, biases and the scales of weights and activations are trained towards the original model's answers, and towards
labels where there are any; the gradient passes straight through the rounding. Then the same integer graph is written
as `quantize` would write. Run `simplify` before, so that BatchNormalization is part of the convolutions.

Sources: Jacob et al. 2018 (arXiv:1712.05877); learned scales, LSQ, Esser et al. 2020 (arXiv:1902.08153).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from compressctl.passes.base import Reads, WeightForm
from compressctl.passes.qat.advice import advise
from compressctl.passes.static_options import StaticOptions
from compressctl.quantization.schemes import STATIC, StaticScheme, explained
from compressctl.training.options import TrainingOptions

_NARROW_RATE = 1e-3


class Config(TrainingOptions, StaticOptions):
    """Options of `qat`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training")
    edits_weights: ClassVar[bool] = True
    stopped_by: ClassVar[tuple[WeightForm, ...]] = ("dynamic",)
    telling: ClassVar[tuple[str, ...]] = ("scheme", "epochs", "steps")
    advise: ClassVar = advise

    type: Literal["qat"] = "qat"
    scheme: StaticScheme = Field(
        default="int8", description=f"int8, or weights of fewer bits: {explained(STATIC[1:])}."
    )
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
