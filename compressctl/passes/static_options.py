"""The options of static quantization, shared by the passes that quantize so."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compressctl.choices import RangeMethod
from compressctl.fields import Option
from compressctl.passes.base import PassConfig
from compressctl.quantization.schemes import FirstLast

Target = Literal["auto", "vnni", "avx2", "arm64"]


class StaticOptions(PassConfig):
    """Options of static quantization."""

    calibration_method: RangeMethod = "percentile"
    """How activation ranges are chosen: minmax, percentile, entropy (KL divergence) or mse."""
    percentile: float = Field(default=99.999, gt=50, le=100)
    """Percent of the values kept inside the range by calibration_method percentile."""
    per_channel: Annotated[bool, Option(flags=("--per-channel/--per-tensor",))] = True
    """One weight scale per output channel; false: one per tensor."""
    first_last: FirstLast = "int8"
    """Schemes of fewer than 8 bits: the first and the last layers keep 8-bit weights, or same: they get as few too."""
    embeddings: bool = True
    """Store embedding tables as int8 rows."""
    include: Annotated[tuple[str, ...], Option(metavar="GLOB")] = ()
    """Quantize only nodes whose name matches one of these globs."""
    exclude: Annotated[tuple[str, ...], Option(metavar="GLOB", everyday=True)] = ()
    """Never quantize nodes whose name matches one of these globs."""
    include_op: Annotated[tuple[str, ...], Option(metavar="OP")] = ()
    """Quantize only nodes of these op types."""
    exclude_op: Annotated[tuple[str, ...], Option(metavar="OP")] = ()
    """Never quantize nodes of these op types."""
    target: Target = "auto"
    """The processor the model will run on: auto is this machine."""
    reduced_range: Annotated[bool | None, Option(flags=("--reduced-range/--full-range",))] = None
    """8-bit weights in 7 bits, which cannot saturate on x86 without VNNI; default: on for target avx2."""
