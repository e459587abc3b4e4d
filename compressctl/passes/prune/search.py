"""What a search may try of `prune`: ratios, of a network that is trained afterwards or reconstructed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from compressctl.errors import CompressctlError
from compressctl.passes.prune import Config
from compressctl.passes.space import Draw, Params, PassSpace, Space, Stage, Subject
from compressctl.structure.groups import find_groups


class PruneSpace(PassSpace):
    """The parameter `prune_ratio`."""

    type = "prune"
    monotone: ClassVar = {"prune_ratio": 1}

    def cuts(self, subject: Subject) -> bool:
        try:
            groups = find_groups(subject.model)
        except CompressctlError:  # a graph that cannot be related is one that cannot be cut
            return False
        return any(group.kind in ("channel", "neuron", "head") and not group.fixed.all() for group in groups)

    def draw(self, draw: Draw) -> None:
        if "prune" in draw.params["structure"]:
            draw.number("prune_ratio", 0.1, 0.7, 0.05)

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if "prune" in params["structure"]:
            reconstruct = False if params.get("tune_epochs", 0) else None
            yield Stage.CUT, Config(ratio=params["prune_ratio"], reconstruct=reconstruct)

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        if space.integer and "prune" in space.structures:
            cut = {"format": space.integer, "structure": "prune"}
            yield 6, {**cut, "prune_ratio": 0.25}
            if space.train:
                yield 10, {**cut, "prune_ratio": 0.4, "tune_epochs": 3}
