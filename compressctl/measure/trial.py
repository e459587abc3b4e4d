"""A model tried: opened and run once, as every run asks before any work on it begins; and random inputs.

Integers of these keep to what the model looks up: tables bound integers, and position tables bound lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.data.random import random_feeds
from compressctl.errors import CompressctlError, ModelError
from compressctl.measure.session import Session
from compressctl.model.lookups import lookup_limits
from compressctl.probation import on_probation
from compressctl.tensorspec import TensorSpec

_SHORT = {"sequence": 16, "side": 64, "other": 8}


@dataclass(frozen=True)
class RandomFit:
    """Sizes of dynamic dimensions and limits of integers, as `data.random.random_feeds` takes them."""

    sizes: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)


def fit_random(model: ir.Model, inputs: Sequence[TensorSpec], *, threads: int = 0) -> RandomFit:
    """Return what random inputs must keep to.

    A model that looks inputs up may have a table of positions too, which the usual sequence length oversteps: such a
    model is tried at that length, then at a short one.
    """
    limits = lookup_limits(model)
    if limits and any(not isinstance(dim, int) for spec in inputs for dim in spec.shape[1:]):
        session = Session(model, threads=threads, optimize=False)
        for sizes in ({}, _SHORT):
            try:
                session.run(random_feeds(inputs, 1, 0, sizes, limits))
            except CompressctlError:
                continue
            return RandomFit(dict(sizes), limits)
    return RandomFit(limits=limits)


def prove(path: Path, feeds: Mapping[str, Array], *, threads: int = 0, file: Path | None = None) -> None:
    """Open a model in onnxruntime and run it once, on probation.

    Args:
        path: the file, as the user named it; errors name it.
        feeds: an array for every input.
        threads: of onnxruntime.
        file: what onnxruntime opens, where `path` is packed or TorchScript.

    Raises:
        ModelError: onnxruntime cannot open or run it.
        DataError: the feeds do not fit the model.
    """
    with on_probation(path):
        for name, feed in feeds.items():
            if feed.ndim and not len(feed):
                raise ModelError(f"{path}: input {name!r} takes batches of 0 samples", "export it with another size")
        try:
            Session(file or path, threads=threads).run(feeds)
        except CompressctlError as error:
            error.message = error.message.replace(str(file or path), str(path))
            raise
