"""When a search stores weights as codes, or without their zeros: always where there are such."""

from __future__ import annotations

from collections.abc import Iterator

from compressctl.passes.space import Params, PassSpace, Space, Stage
from compressctl.passes.store import Config


class StoreSpace(PassSpace):
    """No parameter."""

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        if space.format(params).repeats or params.get("sparsity", "none") != "none":
            yield Stage.STORE, Config()
