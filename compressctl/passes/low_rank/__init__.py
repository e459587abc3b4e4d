"""Low-rank factorisation: write the weights of Gemm, MatMul and Conv as products of smaller ones.

A Gemm or MatMul becomes two, through fewer channels (svd). A convolution becomes one with fewer outputs and a 1x1 one
(svd), a column of its kernel and a row (spatial), or its kernel between two 1x1 ones (tucker). Biases stay with the
last node. Ranks are multiples of 16, which float kernels compute in. With calibration samples the decompositions
minimise the error of each layer's outputs on up to 128 of them, not that of its weights, and kernels are refitted.

How high the ranks are is said by `energy` or by `ratio`; where neither is given, the lowest energy, one for all layers,
whose measured drop in accuracy is within `max_accuracy_drop` is searched by bisection.

A weight is factored only where that pays, else a note says why not. By default (`where: size`) it pays where the
factors have fewer elements and fewer multiply-accumulates; the same input and recipe give the same bytes, and the
measured latency of each layer is told only. `where: latency` decides by that measurement, on this machine: the whole
interval of the ratio must lie below 0.95. Where a layer is close to that, two runs may decide differently; the report
has the lines of a recipe that repeat the choice without measuring.

Left alone: grouped and transposed convolutions, recurrent layers, weights that other nodes use too (tied embeddings),
quantized weights (factor first, then quantize), bodies of If, Loop and Scan. Weights in float16 get factors in float16.

Sources: svd with whitening: DRONE, Chen et al. 2021 (NeurIPS); SVD-LLM, Wang et al. 2024 (arXiv:2403.07378); of
convolutions: Zhang et al. 2016 (arXiv:1505.06798); spatial: Jaderberg et al. 2014 (arXiv:1405.3866); tucker: Kim et al.
2016 (arXiv:1511.06530).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from compressctl.choices import FactorMethodOrAuto, FactorWhere
from compressctl.passes.base import PassConfig, Reads


class Config(PassConfig):
    """Options of `low_rank`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "evaluation")
    edits_weights: ClassVar[bool] = True
    telling: ClassVar[tuple[str, ...]] = ("ratio", "energy")

    type: Literal["low_rank"] = "low_rank"
    energy: float | None = Field(default=None, gt=0, le=1)
    """Keep this share of each weight's energy: squared singular values, or mean squared outputs on calibration
    samples."""
    ratio: float | None = Field(default=None, gt=0, lt=1)
    """Keep at most this share of each weight's elements."""
    method: FactorMethodOrAuto = "auto"
    """The form of convolutions, svd where a kernel has not this one; auto: of those that pay the one with the fewest
    multiply-accumulates (energy), or with the least error (ratio)."""
    where: FactorWhere = "size"
    """Factor where elements and multiply-accumulates fall, where measured latency falls as well, or always."""
    include: tuple[str, ...] = ()
    """Factor only nodes whose name matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """Never factor nodes whose name matches one of these globs."""

    @model_validator(mode="after")
    def _one_measure(self) -> Config:
        if self.energy is not None and self.ratio is not None:
            raise ValueError("energy and ratio exclude each other")
        return self

    def given(self) -> bool:
        """Say whether ranks are given, and not to be searched by a budget."""
        return self.energy is not None or self.ratio is not None
