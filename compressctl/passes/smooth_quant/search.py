"""What a search may try of `smooth_quant`: with it or without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compressctl.passes.smooth_quant import Config
from compressctl.passes.space import Draw, Params, PassSpace, Space, Stage, Subject
from compressctl.quantization.preparation.smoothing import places


class SmoothQuantSpace(PassSpace):
    """The parameter `smooth`."""

    def choices(self, subject: Subject) -> Mapping[str, tuple[Any, ...]]:
        return {"smooth": (False, True)} if subject.calibrated and places(subject.model.graph)[0] else {}

    def draw(self, draw: Draw) -> None:
        if draw.format.kind == "integer" and "smooth" in draw.space.choices:
            draw.choice("smooth", draw.space.choices["smooth"])

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if params.get("smooth"):
            yield Stage.PREPARE, Config()
