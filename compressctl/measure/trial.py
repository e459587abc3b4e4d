"""What random inputs a model runs on: tables bound integers, and positions and padding bound lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from compressctl.data.random import random_feeds
from compressctl.errors import CompressctlError
from compressctl.measure.session import Session
from compressctl.model.lookups import lookup_limits
from compressctl.tensorspec import TensorSpec, Value, filled

_SHORT = {"sequence": 16, "side": 64, "other": 8}
_LONG = {"sequence": 512, "side": 512, "other": 64}


@dataclass(frozen=True)
class RandomFit:
    """Inputs, sizes of their dynamic dimensions and limits of integers, as `data.random.random_feeds` takes them."""

    inputs: Sequence[TensorSpec]
    sizes: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)


def usual_fit(model: ir.Model, inputs: Sequence[TensorSpec]) -> RandomFit:
    """Return what random inputs are tried first: those of the usual sizes."""
    return RandomFit(inputs, limits=lookup_limits(model))


def fit_random(model: ir.Model, inputs: Sequence[TensorSpec], *, threads: int = 0) -> RandomFit:
    """Return the first fit that a model runs on; the usual one where it runs on none."""
    return next(fits(model, inputs, threads=threads), None) or usual_fit(model, inputs)


def fits(model: ir.Model, inputs: Sequence[TensorSpec], *, threads: int = 0) -> Iterator[RandomFit]:
    """Yield the fits that a model runs on.

    Those tried are of usual sizes, of short ones, of long ones; of 1 where a dimension belongs to one input alone, so
    that its values broadcast; and with other values for inputs that take no samples and have none given.
    """
    session = Session(model, threads=threads, optimize=False)
    limits = lookup_limits(model)
    for fit in _tried(inputs, limits):
        try:
            session.run(random_feeds(fit.inputs, 1, 0, fit.sizes, fit.limits))
        except CompressctlError:
            continue
        yield fit


def _tried(inputs: Sequence[TensorSpec], limits: dict[str, int]) -> Iterator[RandomFit]:
    sizes = [{}, _SHORT, _LONG] if any(not isinstance(dim, int) for spec in inputs for dim in spec.shape) else [{}]
    used = Counter(dim for spec in inputs for dim in {*spec.shape} if isinstance(dim, str))
    owner = max(inputs, key=lambda spec: len(spec.shape), default=None)
    own = {
        dim: 1
        for spec in inputs
        for dim in spec.shape
        if isinstance(dim, str) and used[dim] == 1 and spec is not owner and spec.axis is not None
    }
    for values in (None, 0.5, 0, 2):
        given = tuple(
            replace(spec, value=_filled(spec, values))
            if spec.axis is None and spec.value is None and values is not None
            else spec
            for spec in inputs
        )
        if values is not None and given == tuple(inputs):
            return
        for extra in ({}, own) if own else ({},):
            for each in sizes:
                yield RandomFit(given, {**each, **extra}, limits)


def _filled(spec: TensorSpec, value: float) -> Value:
    number = (
        value if spec.dtype.startswith(("float", "bfloat")) else bool(value) if spec.dtype == "bool" else int(value)
    )
    return filled(spec.shape, number)
