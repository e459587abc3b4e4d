"""SmoothQuant: move the outlier channels of activations into the weights, which are easier to quantize.

Where a LayerNormalization, or a Mul by a constant vector, feeds weight MatMuls, its channel j is divided by s_j and row
j of the weights multiplied by it: exact in real numbers. s_j = max|X_j|^alpha / max|W_j|^(1 - alpha), max|X_j| observed
on calibration samples, max|W_j| over all weights that read the channel.

Source: Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models".
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from compressctl.passes.base import PassConfig, Reads


class Config(PassConfig):
    """Options of `smooth_quant`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration",)
    prepares: ClassVar[bool] = True
    edits_weights: ClassVar[bool] = True

    type: Literal["smooth_quant"] = "smooth_quant"
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Share of the difficulty that moves from activations into weights: 0.5 splits it evenly, 1 moves all of it."""
