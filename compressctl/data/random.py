"""Random numbers in the shape of a model's inputs: to time a model or to try a command, never to judge accuracy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from compressctl.arrays import Array
from compressctl.data.fit import numpy_dtype, whole
from compressctl.data.named import NamedSource, Request
from compressctl.data.options import parse_size
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds
from compressctl.data.walk import MADE_UP_STEPS, Walk
from compressctl.errors import ModelError, UsageError
from compressctl.notes import warning
from compressctl.tensorspec import Dim, TensorSpec

DEFAULT_SIZES = {"sequence": 128, "side": 224, "other": 16}
IDS = 1000
_SAMPLES = 64
_MOST, _SMALLER = 2**31, "--input NAME:SHAPE gives smaller sizes"  # 16 GB while they are drawn
_TERMS = re.compile(r"(.+?)\s*(\+|-|\*|//)\s*([^+*/-]+)")  # as exporters name what is computed of other sizes
_SMALLEST = 8  # pixels of an image's side
_ROLES = (
    ("batch", re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)),
    ("sequence", re.compile(r"seq|len|token|time|step|^(t|s|l)$", re.IGNORECASE)),
    ("side", re.compile(r"height|width|side|size|^(h|w)$", re.IGNORECASE)),
)


def random_feeds(
    inputs: Sequence[TensorSpec],
    batch: int,
    seed: int | Sequence[int],
    sizes: Mapping[str, int] | None = None,
    limits: Mapping[str, int] | None = None,
) -> Feeds:
    """Make one batch of random values that fit the inputs.

    Floats are N(0, 1), states zeros, and what takes no samples has its value. Integers stay small and valid for what
    the input's name says: masks are 0 or 1 and start with 1, token types 0, positions count up, ids lie in [0, 1000)
    and other integers in [0, 10); 8-bit types use their whole range.

    Args:
        inputs: the model's inputs.
        batch: size of dynamic batch dimensions; a fixed one keeps its size.
        seed: seed of the generator.
        sizes: sizes of dynamic dimensions, by their symbolic name, or for all of a kind: `sequence` (default 128),
            `side` of an image (224), `other` (16); and `ids`, the exclusive upper bound of ids. A dimension whose
            name is a sum or product of others' is computed.
        limits: by name of an integer input, the exclusive upper bound of what the model can look up for it.

    Raises:
        ModelError: an input is too large.
    """
    rng = np.random.default_rng(seed)
    given, limits = dict(sizes or {}), limits or {}
    totals = {name: total for name, total in _totals(inputs).items() if name not in given}
    ids = given.get("ids", IDS)
    feeds = {}
    computed = [
        replace(spec, shape=tuple(totals.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape))
        for spec in inputs
    ]
    given = {**_named_sizes(computed, batch, given), **given}
    for spec, other in zip(inputs, computed, strict=True):
        shape = _shape(other, batch, given)
        if spec.axis is None:
            feeds[spec.name] = whole(spec)
        elif spec.state is not None:
            feeds[spec.name] = np.zeros(shape, numpy_dtype(spec))
        else:
            feeds[spec.name] = _values(rng, spec, shape, ids, limits.get(spec.name, ids))
    return feeds


def random_walk(
    inputs: Sequence[TensorSpec],
    batch: int,
    seed: int,
    sizes: Mapping[str, int] | None = None,
    limits: Mapping[str, int] | None = None,
) -> Walk:
    """Return one step of random values, or of a model with states several; see `random_feeds`."""
    states = {spec.name: spec.state for spec in inputs if spec.state is not None}
    steps: list[Feeds] = [random_feeds(inputs, batch, seed, sizes, limits)]
    for step in range(1, MADE_UP_STEPS if states else 1):
        feeds = random_feeds(inputs, batch, (seed, step), sizes, limits)
        steps.append({name: array for name, array in feeds.items() if name not in states})
    return Walk(tuple(steps), states)


def dynamic_sizes(inputs: Sequence[TensorSpec]) -> list[str]:
    """Return the keys that `sizes` of `random_feeds` may have for these inputs."""
    names = {dim for spec in inputs for dim in spec.shape if isinstance(dim, str)}
    return [*sorted(names), *DEFAULT_SIZES, "ids"]


class RandomSource(NamedSource):
    """`random[:N]`: N samples (64 by default), the same ones for the same seed and batch size.

    Of images, every other one is smooth: its amplitudes fall with the frequency, as those of natural images do (Field
    1987). White noise, which networks see little of, tells little about how far their outputs may be off.
    """

    scheme = named = "random"
    library = "numpy"
    judgeable = False

    def __init__(
        self,
        notation: str,
        inputs: Sequence[TensorSpec],
        count: int,
        seed: int,
        sizes: Mapping[str, int],
        limits: Mapping[str, int] | None = None,
    ) -> None:
        note = warning("RANDOM DATA: numbers drawn at random say nothing about accuracy on real data")
        super().__init__(notation, inputs, (note,))
        self.steps = math.gcd(count, MADE_UP_STEPS) if any(spec.state for spec in inputs) else 1
        self._count, self._seed, self._sizes, self._limits = count, seed, sizes, limits

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        samples = parse_size(notation.rest or str(_SAMPLES))
        if samples is None:
            raise UsageError(
                f"data {notation.text!r}: {notation.rest!r} is not a number of samples", "for example random:64"
            )
        if notation.slice != slice(None):
            raise UsageError(f"data {notation.text!r}: random samples have no slices", "write random:N for N samples")
        given = {key: notation.options.size(key) for key in dynamic_sizes(request.inputs)}
        notation.options.finish()
        sizes = dict(request.sizes) | {key: size for key, size in given.items() if size is not None}
        return cls(notation.text, request.inputs, samples, request.seed, sizes, request.limits)

    def __len__(self) -> int:
        return self._count

    @property
    def has_labels(self) -> bool:
        """Random samples have no labels."""
        return False

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        open_ = [replace(spec, shape=(None, *spec.shape[1:])) for spec in self.sampled if spec.state is None]
        for index, start in enumerate(range(0, self._count, size)):
            feeds = random_feeds(open_, size, (self._seed, index), self._sizes, self._limits)
            rows = min(size, self._count - start)
            yield {name: _half_smooth(array, start)[:rows] for name, array in feeds.items()}, None


def _half_smooth(values: Array, start: int) -> Array:
    """Return values in which every other image is smooth, the first one being number `start`; of what is no image
    [N, 1 to 4, H, W], the same values."""
    if values.ndim != 4 or values.dtype.kind != "f" or values.shape[1] > 4 or min(values.shape[2:]) < _SMALLEST:
        return values
    rows, columns = values.shape[2:]
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    frequency[0, 0] = frequency[0, 1]
    smooth, odd = values.copy(), slice(1 - start % 2, None, 2)
    images = np.fft.irfft2(np.fft.rfft2(values[odd].astype(np.float32)) / frequency, s=(rows, columns))
    smooth[odd] = images / images.std(axis=(1, 2, 3), keepdims=True)
    return smooth


def _totals(inputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Return the dimensions that decoders call the total of another and of its past, each as `past_n + n`."""
    names = {dim for spec in inputs for dim in spec.shape if isinstance(dim, str)}
    parts = {name: name.removeprefix("total_") for name in names if name.startswith("total_")}
    return {total: f"past_{now} + {now}" for total, now in parts.items() if {now, f"past_{now}"} <= names}


def _shape(spec: TensorSpec, batch: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    shape = tuple(_size(dim, axis, spec, batch, sizes) for axis, dim in enumerate(spec.shape))
    if min(shape, default=0) < 0 or math.prod(shape) > _MOST:
        raise ModelError(f"no random batch can be made for input {spec}: {math.prod(shape):,} elements", _SMALLER)
    return shape


def _named_sizes(inputs: Sequence[TensorSpec], batch: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return a size for each name of a dimension, also of those that others are computed of: the same everywhere.

    What one place takes for the length of a sequence is one wherever it stands.
    """
    places: dict[str, set[str]] = {}
    for spec in inputs:
        for axis, dim in enumerate(spec.shape):
            for name in _names(dim):
                places.setdefault(name, set()).add(_role(name, axis, spec))
    order = ("batch", "sequence", "side", "other")
    roles = {name: min(found, key=order.index) for name, found in places.items()}
    return {name: batch if role == "batch" else sizes.get(role, DEFAULT_SIZES[role]) for name, role in roles.items()}


def _names(dim: Dim) -> Iterator[str]:
    """Yield the names that a dimension is computed of, or its own."""
    if isinstance(dim, str):
        parts = _TERMS.fullmatch(dim)
        if parts is None:
            yield dim
        else:
            left, _, right = (part.strip() for part in parts.groups())
            for part in (left, right):
                yield from () if part.isdecimal() else _names(part)


def _size(dim: Dim, axis: int, spec: TensorSpec, batch: int, sizes: Mapping[str, int]) -> int:
    if isinstance(dim, int):
        return dim
    if dim is not None and dim in sizes:
        return sizes[dim]
    if dim is not None and (parts := _TERMS.fullmatch(dim)):
        left, operator, right = (part.strip() for part in parts.groups())
        a, b = (int(part) if part.isdecimal() else _size(part, axis, spec, batch, sizes) for part in (left, right))
        return {"+": a + b, "-": a - b, "*": a * b, "//": a // max(b, 1)}[operator]
    role = _role(dim, axis, spec)
    return batch if role == "batch" else sizes.get(role, DEFAULT_SIZES[role])


def _role(dim: str | None, axis: int, spec: TensorSpec) -> str:
    """Guess what a dynamic dimension is from its name, else from its place."""
    for role, pattern in _ROLES:
        if dim is not None and pattern.search(dim):
            return role
    if axis == spec.axis:
        return "batch"
    if len(spec.shape) == 4 and axis >= 1:
        # Images leave open their height and width; keys and values [batch, heads, past, size] only the past.
        return "sequence" if axis == 2 and isinstance(spec.shape[3], int) else "side"
    return "sequence" if axis == 1 else "other"


def _values(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...], ids: int, limit: int) -> Array:
    dtype = numpy_dtype(spec)
    name = spec.name.lower()
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b" or "mask" in name:
        values = rng.integers(0, 2, shape)
        if shape:
            values[..., :1] = 1  # a row that masks everything would make a softmax NaN
    elif "type" in name or "segment" in name:
        values = np.zeros(shape, np.int64)
    elif "position" in name:
        values = np.broadcast_to(np.arange(shape[-1] if shape else 1), shape)
    elif dtype.itemsize == 1:
        values = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, endpoint=True)
    else:
        values = rng.integers(0, min(ids if "id" in name else 10, limit), shape)
    return values.astype(dtype)
