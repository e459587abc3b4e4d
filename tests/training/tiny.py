"""Tiny models from ONNX text, samples in memory, and a training of them with few words."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from compressctl.data.source import Source
from compressctl.progress import Silent
from compressctl.resources import Resources
from compressctl.tensorspec import TensorSpec
from compressctl.training.loop import Job, Training, train
from compressctl.training.options import LossTerm, TrainingOptions
from tests.graphs import model

RNG = np.random.default_rng(7)
MLP = "h = Gemm <transB = 1> (x, W1, b1) a = Relu(h) y = Gemm <transB = 1> (a, W2, b2)"


class Arrays(Source):
    """Arrays as a source."""

    def __init__(self, feeds: dict[str, np.ndarray], labels: np.ndarray | None = None, *, batch: int | None = None):
        dims = {name: (batch or "N", *array.shape[1:]) for name, array in feeds.items()}
        super().__init__("arrays", [TensorSpec(name, a.dtype.name, dims[name]) for name, a in feeds.items()])
        self._feeds, self._labels = feeds, labels

    def __len__(self) -> int:
        return len(next(iter(self._feeds.values())))

    @property
    def has_labels(self) -> bool:
        return self._labels is not None

    def _read(self, size: int) -> Iterator[tuple[dict[str, Any], Any]]:
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            labels = part if not self.pairs else slice(start // 2, (start + size) // 2)
            feeds = {name: array[part] for name, array in self._feeds.items()}
            yield feeds, None if self._labels is None else self._labels[labels]


class Pairs(Arrays):
    """Arrays of which rows 2i and 2i + 1 belong together."""

    pairs = True


class Interrupted(Silent):
    """A progress that ends the run before step number `at`."""

    def __init__(self, at: int) -> None:
        self._at = at

    def track(self, items: Iterable[Any], description: Any, total: int | None = None) -> Iterator[Any]:
        for item in items:
            if callable(description) and item == self._at:
                raise KeyboardInterrupt
            yield item


def mlp(seed: int = 0, width: int = 16) -> ir.Model:
    """Return a classifier of [N, 8] into 3 classes, with torch's own initial weights."""
    layers = native_mlp(seed, width)
    names = ("W1", "b1", "W2", "b2")
    arrays = {name: p.detach().numpy().copy() for name, p in zip(names, layers.parameters(), strict=True)}
    return model(MLP, arrays, "float[N, 8] x", "float[N, 3] y")


def native_mlp(seed: int = 0, width: int = 16) -> nn.Sequential:
    """Return the same network in torch."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))


CODES = {"W1": RNG.integers(0, 4, (16, 8)), "W2": RNG.integers(0, 3, (3, 16))}
VALUES = {"W1": np.array([-0.3, 0.0, 0.15, 0.4], np.float32), "W2": np.array([-0.5, 0.1, 0.6], np.float32)}


def shared() -> ir.Model:
    """Return `mlp()` with the values `VALUES`, of which each weight has the one that `CODES` says."""
    m = mlp()
    for name, codes in CODES.items():
        m.graph.initializers[name].const_value = ir.tensor(VALUES[name][codes], name=name)
    return m


def normed() -> ir.Model:
    """Return a classifier of [N, 8] into 3 classes with a BatchNormalization."""
    rng = np.random.default_rng(0)
    ones, zeros = np.ones(6), np.zeros(6)
    weights = {"W": rng.standard_normal((8, 6)), "V": rng.standard_normal((6, 3))}
    arrays = {**weights, "g": ones, "b": zeros, "mean": zeros, "var": ones}
    body = "h = MatMul(x, W) n = BatchNormalization(h, g, b, mean, var) y = MatMul(n, V)"
    return model(body, {k: v.astype(np.float32) for k, v in arrays.items()}, "float[N, 8] x", "float[N, 3] y")


def classes(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 8] and their classes [N], which are learnable."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 8)).astype(np.float32)
    return x, (x @ rng.standard_normal((8, 3)) * 2).argmax(1)


def blobs(count: int = 200, seed: int = 0) -> Arrays:
    """Return them as a source."""
    x, y = classes(count, seed)
    return Arrays({"x": x}, y)


def options(**given: Any) -> TrainingOptions:
    """Return options with small batches and no more than what is given."""
    return TrainingOptions(**{"train_batch": 16, "steps": 10, **given})


def fit(
    m: ir.Model, source: Source, losses: str | Sequence[str], workdir: Path, o: TrainingOptions, **job: Any
) -> Training:
    """Train with the terms `losses` in short."""
    terms = [LossTerm.model_validate(text) for text in ([losses] if isinstance(losses, str) else losses)]
    used = {key: job.pop(key) for key in ("seed", "threads", "progress") if key in job}
    return train(m, o, terms, Job(source, Resources(workdir=workdir, **used), **job))
