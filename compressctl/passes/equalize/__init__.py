"""Cross-layer equalization: give consecutive convolutions weights of like range, channel by channel.

Between two convolutions with nothing but a positively homogeneous activation between them (Relu, LeakyRelu, PRelu,
Identity), scaling output channel i of the first by 1/s and input channel i of the second by s changes nothing. With
s_i = sqrt(r1_i / r2_i), where r1 and r2 are the channel's largest weights in the two layers, both ranges become equal,
and a scale for the whole tensor fits every channel. Pairs that share a layer are repeated until the scales settle.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compressctl.passes.base import Context, PassConfig

if TYPE_CHECKING:
    import onnx_ir as ir

    from compressctl.notes import Note


class Config(PassConfig):
    """Options of `equalize`."""

    prepares: ClassVar[bool] = True
    edits_weights: ClassVar[bool] = True

    type: Literal["equalize"] = "equalize"
    iterations: int = Field(default=40, ge=1)
    """Most sweeps over all pairs of layers; fewer where the scales settle before."""

    @classmethod
    def preview(cls, model: ir.Model, context: Context) -> tuple[Note, ...]:
        """Equalize a copy."""
        return cls().run(model.clone(), context).notes
