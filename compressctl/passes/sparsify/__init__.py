"""Set single weights to zero: those below a threshold, a share of them, or all but N of every M.

Convolutions, Gemm, MatMul and the matrices of recurrent layers take part; embeddings, biases and norms do not. Weights
that are zero stay zero, and count. The graph keeps its shapes: dense kernels get no faster, and a file no smaller until
the pass `store` leaves its zeros out. 2:4 is what sparse kernels of NVIDIA GPUs from Ampere on take: of 4 input
channels side by side at most 2 have a weight.

Where there are calibration samples, the weights that remain are moved so that each layer keeps its output, layer after
layer, and what becomes zero is chosen by what it costs the output. That needs no labels, and takes the first 1,024
samples at most.

Sources: Han et al. 2015 (arXiv:1506.02626); SparseGPT, Frantar and Alistarh 2023 (arXiv:2301.00774); Wanda, Sun et al.
2024 (arXiv:2306.11695); LAMP, Lee et al. 2021 (arXiv:2010.07611); N:M, Mishra et al. 2021 (arXiv:2104.08378).
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compressctl.fields import Option
from compressctl.passes.base import PassConfig, Reads

Importance = Literal["magnitude", "obs", "activation", "taylor", "hessian", "random"]


class Config(PassConfig):
    """Options of `sparsify`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration", "training", "evaluation")
    edits_weights: ClassVar[bool] = True
    telling: ClassVar[tuple[str, ...]] = ("ratio", "nm")

    type: Literal["sparsify"] = "sparsify"
    ratio: Annotated[
        Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] | None, Option(metavar="SHARE|auto", everyday=True)
    ] = None
    """Share of the weights that is zero afterwards. auto: as many as max_accuracy_drop admits, first in the
    layers where they cost least."""
    threshold: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Zero weights of smaller magnitude."""
    nm: Annotated[str | None, Option(metavar="N:M", everyday=True)] = None
    """N:M, as in 2:4: of every M weights side by side along the input channels at most N stay."""
    scope: Literal["global", "layer"] = "global"
    """ratio: of all layers together, by one ranking, or of each layer alike. Magnitudes of different layers are
    compared by LAMP, and decide for obs how much each layer gives."""
    importance: Importance | None = None
    """What ranks a weight w: its magnitude; obs: what zeroing it costs the layer's output while the others make up for
    it; activation: |w| times the size of its input; taylor or hessian: |gw| or g²w² with the gradients g of the loss;
    or random. Default: obs where weights are reconstructed, else magnitude."""
    reconstruct: bool | None = None
    """Move the weights that remain so that layers keep their outputs; default: where there are calibration samples."""
    sensitivity: bool = False
    """Measure what pruning each layer alone to several ratios costs, for the report; auto does so anyway."""
    sensitivity_samples: int = Field(default=128, ge=1)
    """Samples on which that is measured."""
    include: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Only nodes whose name matches one of these globs."""
    exclude: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Never nodes whose name matches one of these globs."""

    @property
    def pattern(self) -> tuple[int, int] | None:
        """N and M."""
        n, m = map(int, self.nm.split(":")) if self.nm else (0, 0)
        return (n, m) if self.nm else None

    @field_validator("nm")
    @classmethod
    def _is_n_of_m(cls, text: str | None) -> str | None:
        if text is not None:
            found = re.fullmatch(r"(\d+):(\d+)", text)
            if found is None or not 0 < int(found[1]) < int(found[2]):
                raise ValueError("give N:M with 0 < N < M, as in 2:4")
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [name for name in ("ratio", "threshold", "nm") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of ratio, threshold and nm, not {' and '.join(given) or 'none'}")
        if self.threshold is not None and self.importance not in (None, "magnitude"):
            raise ValueError(f"threshold is one of magnitude, so importance cannot be {self.importance}")
        if self.importance == "obs" and self.reconstruct is False:
            raise ValueError("importance obs chooses while it reconstructs, so reconstruct cannot be false")
        return self
