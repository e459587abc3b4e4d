"""What random inputs a model runs on: tables bound integers, and position tables bound lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from compressctl.data.random import random_feeds
from compressctl.errors import CompressctlError
from compressctl.measure.session import Session
from compressctl.model.lookups import lookup_limits
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
