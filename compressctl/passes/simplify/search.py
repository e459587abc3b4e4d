"""The passes that candidates begin with, unless a recipe names others."""

from __future__ import annotations

from collections.abc import Iterator

from compressctl.passes.simplify import Config
from compressctl.passes.space import Params, PassSpace, Space, Stage


class SimplifySpace(PassSpace):
    """Norms stay in place while a network that was cut is trained, and are folded afterwards."""

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        keeps_norms = params["structure"] and params.get("tune_epochs", 0)
        yield Stage.BEGIN, Config(skip=("batchnorm",) if keeps_norms else ())
        if keeps_norms:
            yield Stage.FOLD, Config()
