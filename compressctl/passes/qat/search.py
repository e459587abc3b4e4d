"""What a search may try of `qat`: for how long static formats are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compressctl.passes.qat import Config
from compressctl.passes.space import EPOCHS, Draw, Params, PassSpace, Space, Stage
from compressctl.passes.static_search import STATIC, static_options


class QatSpace(PassSpace):
    """The parameter `qat_epochs`, 0 where the pass `quantize` does it."""

    def draw(self, draw: Draw) -> None:
        if draw.space.train and draw.format.name in STATIC:
            draw.choice("qat_epochs", (0, *EPOCHS))

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if epochs := params.get("qat_epochs"):
            options = static_options(params)
            yield Stage.NUMBERS, Config(scheme=params["format"], epochs=epochs, exclude=spared, **options)

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        if space.train and space.has("w4a8"):
            yield 9, {"format": "w4a8", "qat_epochs": 3}
