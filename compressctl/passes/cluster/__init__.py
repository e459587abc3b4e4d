"""Share weights: the weights of each layer take one of few values, found by k-means, or vectors of them by product
quantization.

Convolutions, Gemm, MatMul, the matrices of recurrent layers and tables of embeddings take part; biases and norms do
not. The graph keeps its shapes and its speed. Weights stay floats of few distinct values: it is the pass `store` that
writes them as codes and a codebook. `finetune` keeps clusters together. Zeros stay zero: 0 is then one of the values,
and no other weight joins it. One value for each weight is found exactly where points times clusters are up to 2^21, and
to a few parts in ten thousand of the least error beyond that.

Where there are calibration samples, layer after layer keeps its output: weights start from where least squares puts
them, are rounded to the values one input after the other while those to come make up for it, and the values move to
where the output is closest. That needs no labels, and takes the first 1,024 samples at most. Layers that cannot be
observed (recurrent ones, shared weights, more than 8,192 inputs) get the nearest values.

Sources: Deep Compression, Han et al. 2016 (arXiv:1510.00149); exact k-means on the line, Wang and Song 2011; product
quantization, Jégou et al. 2011, of layers: Stock et al. 2020 (arXiv:1907.05686); GPTQ, Frantar et al. 2022
(arXiv:2210.17323).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compressctl.fields import Option
from compressctl.passes.base import PassConfig, Reads


class Config(PassConfig):
    """Options of `cluster`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training")
    edits_weights: ClassVar[bool] = True
    telling: ClassVar[tuple[str, ...]] = ("clusters",)

    type: Literal["cluster"] = "cluster"
    clusters: Annotated[int, Option(everyday=True)] = Field(default=16, ge=2, le=256)
    """Values, or vectors, that the weights of a layer share; 16 make codes of 4 bits."""
    vector: Annotated[Literal[1, 2, 4, 8], Option(everyday=True)] = 1
    """Weights side by side in storage that share a code: with vectors of 4 and 256 clusters, 2 bits a weight."""
    scope: Literal["layer", "group"] = "layer"
    """A codebook for each layer, or one for all layers that include and exclude choose."""
    importance: Literal["none", "activation", "hessian"] = "none"
    """What a weight counts when values are placed: all the same; activation: the mean square of its input; hessian:
    the mean of g² with the gradients g of the loss. Weighs where nothing is reconstructed."""
    reconstruct: Annotated[bool | None, Option(everyday=True)] = None
    """Move weights and values so that layers keep their outputs; default: where there are calibration samples and
    importance is none."""
    include: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Only nodes whose name matches one of these globs."""
    exclude: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Never nodes whose name matches one of these globs."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.reconstruct and self.importance != "none":
            raise ValueError(f"reconstruct weighs by what layers read, so importance cannot be {self.importance}")
        return self
