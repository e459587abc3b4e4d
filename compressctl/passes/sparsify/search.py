"""What a search may try of `sparsify`: shares of zeros, and patterns of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from compressctl.passes.space import Draw, Params, PassSpace, Space, Stage, Subject
from compressctl.passes.sparsify import Config
from compressctl.pruning.sparse import sparse_weights


class SparsifySpace(PassSpace):
    """The parameters `sparsity` and `sparse_ratio`."""

    monotone: ClassVar = {"sparse_ratio": 1}

    def choices(self, subject: Subject) -> Mapping[str, tuple[Any, ...]]:
        return {"sparsity": ("none", "ratio", "2:4", "1:4")} if sparse_weights(subject.model.graph)[0] else {}

    def draw(self, draw: Draw) -> None:
        kinds = draw.space.choices.get("sparsity")
        if kinds and draw.choice("sparsity", kinds) == "ratio":
            draw.number("sparse_ratio", 0.3, 0.9, 0.05)

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        kind = params.get("sparsity", "none")
        if kind != "none":
            yield Stage.ZERO, Config(ratio=params["sparse_ratio"]) if kind == "ratio" else Config(nm=kind)

    def starts(self, space: Space) -> Iterator[tuple[int, dict[str, Any]]]:
        if space.integer and "sparsity" in space.choices:
            yield 12, {"format": space.integer, "sparsity": "ratio", "sparse_ratio": 0.5}
