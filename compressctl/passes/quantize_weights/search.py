"""What a search may try of `quantize_weights`: 16 bits, and few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compressctl.passes.quantize_weights import Config
from compressctl.passes.space import Draw, Format, Params, PassSpace, Space, Stage, Subject
from compressctl.quantization.schemes import STORED
from compressctl.quantization.weights.targets import targets

_FEW_BITS = tuple(scheme.name for scheme in STORED if scheme.searched)


class QuantizeWeightsSpace(PassSpace):
    """The parameter `weight_rounding`."""

    ladders = (_FEW_BITS,)

    def formats(self, subject: Subject) -> Iterator[Format]:
        if targets(subject.model.graph)[0]:
            yield Format("fp16", "float")
            yield from (Format(name, "weights") for name in _FEW_BITS)

    def draw(self, draw: Draw) -> None:
        if draw.format.name in _FEW_BITS:
            draw.choice("weight_rounding", ("gptq", "hqq") if draw.space.calibrated else ("nearest", "hqq"))

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        kind = params["format"]
        if kind in _FEW_BITS:
            yield Stage.NUMBERS, Config(scheme=kind, rounding=params["weight_rounding"], exclude=spared)
        if kind == "fp16" or (kind in _FEW_BITS and spared):
            yield Stage.NUMBERS, Config(scheme="fp16", include=spared)

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        for place, kind in ((5, "fp16"), (8, "int4")):
            if space.has(kind):
                yield place, {"format": kind}
