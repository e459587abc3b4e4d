"""Store weights in few bits; the model goes on computing in float, as fast as before.

`fp16`, `bf16`: every large float32 constant in 16 bits. `int8-weights`: 8 bits a weight, times a scale per channel.
`int4`, `int3`, `int2`: convolutions, Gemm, MatMul, recurrent layers and embeddings on 16, 8 or 4 values a group of
weights: integers times a scale, plus an offset. `ternary`: {-1, 0, 1} times a scale, five to a byte. `int1`: signs
times the mean magnitude of the channel (XNOR-Net).

onnxruntime decodes the weights once, as it loads the file, so only the file gets smaller. Embeddings are the exception:
their tables stay packed in memory, and the rows that are looked up are decoded. With `target_rows` of 1 to 8, products
of matrices compute on the packed weights (MatMulNBits), which is faster there, and slower elsewhere.

Where there are calibration samples, weights are rounded by GPTQ: layer after layer, so that each keeps its output,
biases included. That needs no labels, and takes the first 1,024 samples at most.

Sources: GPTQ, Frantar et al. 2022 (arXiv:2210.17323); AWQ, Lin et al. 2023 (arXiv:2306.00978); HQQ, Badri and Shaji
2023; ternary weights, Li et al. 2016 (arXiv:1605.04711); XNOR-Net, Rastegari et al. 2016 (arXiv:1603.05279).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compressctl.choices import Granularity
from compressctl.fields import Option
from compressctl.passes.base import PassConfig, Reads, WeightForm
from compressctl.passes.quantize_weights.advice import advise
from compressctl.quantization.schemes import OFFSET, SCHEMES, STORED, FirstLast, StoredScheme, explained, names

Rounding = Literal["nearest", "hqq", "gptq", "awq"]


class Config(PassConfig):
    """Options of `quantize_weights`."""

    reads: ClassVar[tuple[Reads, ...]] = ("calibration",)
    edits_weights: ClassVar[bool] = True
    telling: ClassVar[tuple[str, ...]] = ("scheme", "rounding")
    advise: ClassVar = advise

    type: Literal["quantize_weights"] = "quantize_weights"
    scheme: StoredScheme = Field(description=f"How weights are stored: {explained(STORED)}.")
    rounding: Rounding | None = None
    """nearest: with scales of least squared error; hqq: with offsets that leave outliers out of account; gptq: so that
    layers keep their outputs on samples; awq: nearest, after weights of large inputs were scaled up. Default: gptq
    where there are calibration samples and fewer than 8 bits, else nearest."""
    group_size: Annotated[Granularity | None, Option(metavar="N|channel|tensor")] = Field(
        default=None,
        description="Weights of an output that share a scale, or channel: all of them, or tensor: all weights of a"
        f" layer. Default: 64 (in language models 32) of {names(OFFSET, 'and')} in products of matrices and embeddings,"
        " else channel.",
    )
    symmetric: Annotated[bool | None, Option(flags=("--symmetric/--asymmetric",))] = Field(
        default=None,
        description="Scales without offsets: smaller, and less exact. Default: false for"
        f" {names(OFFSET, 'and')}; others have none.",
    )
    first_last: FirstLast = "same"
    """The first and the last layers get 8-bit weights, or same: they get as few bits as the others."""
    embeddings: bool = True
    """Store embedding tables so, too."""
    target_rows: int | None = Field(default=None, ge=1)
    """Rows that the model multiplies at a time in use (1: a token after the other). Up to 8, products of matrices
    compute on packed weights of int4 or int8-weights, without offsets, blocks of 32 of the latter sharing a scale."""
    damping: float = Field(default=0.01, gt=0, le=1)
    """gptq: share of the mean second moment of a layer's inputs that is added to each; more trusts the samples less."""
    act_order: bool = True
    """gptq: round the weights of large inputs first."""
    include: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Only nodes whose name matches one of these globs."""
    exclude: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Never nodes whose name matches one of these globs."""
    include_op: Annotated[tuple[str, ...], Option(metavar="OP")] = ()
    """Only nodes of these op types."""
    exclude_op: Annotated[tuple[str, ...], Option(metavar="OP")] = ()
    """Never nodes of these op types."""

    @property
    def offsets(self) -> bool:
        """Whether scales have offsets."""
        if self.symmetric is None:
            return SCHEMES[self.scheme] in OFFSET and self.target_rows is None
        return not self.symmetric

    @field_validator("group_size", mode="before")
    @classmethod
    def _is_group(cls, size: Any) -> Any:
        number = int(size) if str(size).isdecimal() else 0
        if size not in (None, "channel", "tensor") and (number < 8 or number & (number - 1)):
            raise ValueError("give a power of two from 8 on, channel or tensor")
        return size

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        set_ = self.model_fields_set - {"type", "scheme", "include", "exclude", "include_op", "exclude_op"}
        given = sorted(key for key in set_ if getattr(self, key) is not None)
        scheme = SCHEMES[self.scheme]
        if scheme.kind == "half" and given:
            raise ValueError(f"scheme {self.scheme} has no scales, so {given[0]} does not go with it")
        if scheme.narrow and scheme not in OFFSET and self.symmetric is False:
            raise ValueError(f"scheme {self.scheme} is symmetric")
        if self.rounding == "hqq" and not self.offsets:
            raise ValueError(f"rounding hqq finds offsets, so it needs {names(OFFSET, 'or')}, not symmetric")
        if self.rounding == "gptq" and self.group_size == "tensor":
            raise ValueError("rounding gptq needs group_size channel or a number, not tensor")
        if self.target_rows is not None and self.scheme not in ("int4", "int8-weights"):
            raise ValueError("target_rows needs scheme int4 or int8-weights")
        if self.target_rows is not None and self.offsets:
            raise ValueError("target_rows needs weights without offsets, so symmetric cannot be false")
        return self

    @property
    def form(self) -> WeightForm:
        """Packed: the model goes on computing in float."""
        return "packed"

    @property
    def needs(self) -> str | None:
        """What fits weights to samples."""
        return f"rounding {self.rounding}" if self.rounding in ("gptq", "awq") else None

    @property
    def limited(self) -> bool:
        """Whether some weights stay as they are because the options say so."""
        return super().limited or not self.embeddings
