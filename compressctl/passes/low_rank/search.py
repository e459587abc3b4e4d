"""What a search may try of `low_rank`: the energy that factors keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from compressctl.factorization.units import units
from compressctl.passes.low_rank import Config
from compressctl.passes.space import Draw, Params, PassSpace, Space, Stage, Subject


class LowRankSpace(PassSpace):
    """The parameter `energy`."""

    type = "low_rank"
    monotone: ClassVar = {"energy": -1}
    renames = True

    def cuts(self, subject: Subject) -> bool:
        return bool(units(subject.model.graph, lambda _: True)[0])

    def draw(self, draw: Draw) -> None:
        if "low_rank" in draw.params["structure"]:
            draw.number("energy", 0.8, 0.99, 0.01)

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if "low_rank" in params["structure"]:
            yield Stage.CUT, Config(energy=params["energy"])
