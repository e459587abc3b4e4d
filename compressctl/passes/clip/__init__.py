"""Weight clipping: weights w with |w| > threshold become sign(w) * threshold, or sign(w) * value.

The threshold is a number, a percentile of each weight's magnitudes, or a multiple of its standard deviation. A few
large weights widen the range that quantization must cover; clipping trades their error for finer steps. The weights of
Conv, ConvTranspose, Gemm and MatMul are clipped; those of LSTM, GRU, RNN and the tables of Gather only where `include`
names them. A weight that several nodes share is clipped once, for all of them. Biases stay as they are.

Source: Banner et al. 2019, "Post training 4-bit quantization of convolutional networks for rapid-deployment"
(arXiv:1810.05723), on the trade.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from compressctl.passes.base import PassConfig


class Config(PassConfig):
    """Options of `clip`."""

    edits_weights: ClassVar[bool] = True

    type: Literal["clip"] = "clip"
    threshold: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Clip weights beyond this magnitude."""
    percentile: float | None = Field(default=None, gt=0, le=100)
    """Clip weights beyond this percentile of the magnitudes of their tensor."""
    sigma: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Clip weights beyond so many standard deviations of their tensor."""
    value: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The magnitude that clipped weights get; default: the threshold."""
    include: tuple[str, ...] = ()
    """Clip only the weights of nodes whose name matches one of these globs, recurrent layers and tables as well."""
    exclude: tuple[str, ...] = ()
    """Never clip the weights of nodes whose name matches one of these globs."""

    @model_validator(mode="after")
    def _one_threshold(self) -> Config:
        if sum(given is not None for given in (self.threshold, self.percentile, self.sigma)) != 1:
            raise ValueError("give one of threshold, percentile and sigma")
        return self
