"""What a search may try of `finetune`: for how long to train what was cut, and what shares few values."""

from __future__ import annotations

from collections.abc import Iterator

from compressctl.passes.finetune import Config
from compressctl.passes.space import EPOCHS, Draw, Params, PassSpace, Space, Stage, loses


class FinetuneSpace(PassSpace):
    """The parameter `tune_epochs`."""

    def draw(self, draw: Draw) -> None:
        if draw.space.train and (loses(draw.params) or draw.format.repeats):
            draw.choice("tune_epochs", (0, *EPOCHS))

    def passes(self, params: Params, space: Space, spared: tuple[str, ...]) -> Iterator[tuple[Stage, Config]]:
        epochs = params.get("tune_epochs", 0)
        if epochs and loses(params):
            yield Stage.TRAIN, Config(epochs=epochs)
        if epochs and space.format(params).repeats:
            yield Stage.RETRAIN, Config(epochs=epochs, learning_rate=1e-4)
