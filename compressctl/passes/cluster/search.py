"""What a search may try of `cluster`: how many values weights share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from compressctl.passes.cluster import Config
from compressctl.passes.space import Draw, Format, Params, PassSpace, Space, Stage, Subject
from compressctl.quantization.weights.targets import targets


class ClusterSpace(PassSpace):
    """The parameter `cluster_bits`."""

    monotone: ClassVar = {"cluster_bits": -1}

    def formats(self, subject: Subject) -> Iterator[Format]:
        if targets(subject.model.graph)[0]:
            yield Format("cluster", "weights", repeats=True)

    def draw(self, draw: Draw) -> None:
        if draw.format.name == "cluster":
            draw.whole("cluster_bits", 2, 6)

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if params["format"] == "cluster":
            yield Stage.NUMBERS, Config(clusters=2 ** params["cluster_bits"])

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        if space.has("cluster"):
            yield 13, {"format": "cluster", "cluster_bits": 4}
