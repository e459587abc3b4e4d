"""Where a benchmark finds its files, and how commands are shown without naming this machine's folders."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Files of the data folder: models, and the samples they are trained and judged on.
RESNET20, CIFAR_TRAIN, CIFAR_TEST = "resnet20_op17_bn.onnx", "cifar10_train.tar", "cifar10_test_even.tar"
MINILM, STSB_TRAIN, STSB_DEV = "minilm_l6_op17.onnx", "stsb_train512.npz", "stsb_dev.npz"


@dataclass(frozen=True)
class Settings:
    """Folders of a run.

    Attributes:
        data: the folder of real models and data, or None.
        cache: an existing folder for generated models, samples and results.
    """

    data: Path | None
    cache: Path

    def show(self, command: Sequence[str]) -> str:
        """Return a command as one would type it, with $DATA and $CACHE for the folders."""
        text = shlex.join("python" if word == sys.executable else word for word in command)
        text = text.replace(str(self.cache), "$CACHE")
        return text.replace(str(self.data), "$DATA") if self.data else text

    def missing(self, *names: str) -> str | None:
        """Return why the named files of the data folder cannot be used, or None if all are there."""
        if self.data is None:
            return "needs --data"
        absent = [name for name in names if not (self.data / name).exists()]
        return f"not in --data: {', '.join(absent)}" if absent else None
