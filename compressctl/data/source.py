"""What every data source is: an ordered set of samples, streamed in batches that fit a model's inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from compressctl.arrays import Array
from compressctl.data.fit import cast, nonfinite_row
from compressctl.errors import DataError
from compressctl.notes import Note
from compressctl.tensorspec import TensorSpec

Feeds = dict[str, Array]


class _Value(Protocol):
    """An array or a tensor."""

    @property
    def ndim(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


_K = TypeVar("_K")
_V = TypeVar("_V", bound=_Value)


@dataclass(frozen=True)
class Batch:
    """Samples to feed at once.

    Attributes:
        feeds: input name -> array [rows, …] in the input's own type.
        labels: [count, …], or [pairs that end in this batch] where `pairs`, or None.
        count: rows that are samples; rows beyond it pad the batch of a fixed-batch model, drop their results.
        pairs: rows 2i and 2i+1 of the whole source belong together, and `labels` has one entry a pair.
    """

    feeds: Feeds
    labels: Array | None
    count: int
    pairs: bool = False

    def counted(self, values: Mapping[_K, _V]) -> dict[_K, _V]:
        """Return what a model gave for the feeds (arrays or tensors) without the rows that only pad the batch.

        What has another number of rows than the feeds is not one row a sample, and stays whole.
        """
        rows = max(map(len, self.feeds.values()), default=self.count)
        return {name: v[: self.count] if v.ndim and len(v) == rows > self.count else v for name, v in values.items()}


class Source(ABC):
    """Samples for a model. Memory holds one batch at a time, whatever the number of samples.

    Attributes:
        notation: the text that the user gave.
        inputs: the model's inputs, which every batch fits.
        notes: what the user should know about these data.
        judgeable: False where accuracy cannot be judged from the data (random numbers).
        pairs: the samples are pairs (see `Batch.pairs`).
    """

    judgeable: bool = True
    pairs: bool = False

    def __init__(self, notation: str, inputs: Sequence[TensorSpec], notes: tuple[Note, ...] = ()) -> None:
        if not inputs:
            raise DataError("the model has no inputs, so there is nothing to feed")
        self.notation = notation
        self.inputs = tuple(inputs)
        self.notes = notes
        self.fixed_batch = _fixed_batch(self.inputs)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows that `batches` feeds (two a pair)."""

    @property
    @abstractmethod
    def has_labels(self) -> bool:
        """Say whether batches carry labels."""

    @abstractmethod
    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        """Yield feeds of at most `size` rows (of any type that `fit.check` accepts) with their labels, in order."""

    def _row_name(self, row: int) -> str:
        """Name the row that is number `row` of those fed, for error messages."""
        return f"row {row}"

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all samples, in the same order at every call.

        Args:
            batch_size: rows a batch at most; a model whose inputs have a fixed batch gets that one instead, the last
                batch filled up by repeating its last row.

        Raises:
            DataError: values that do not fit the model's inputs, NaN or infinity, damage found while reading.
        """
        start = 0
        for raw, labels in self._read(self.fixed_batch or max(1, batch_size)):
            arrays = {spec.name: cast(raw[spec.name], spec, self.notation) for spec in self.inputs}
            for name, array in arrays.items():
                self._refuse_nonfinite(array, f"input {name!r}", start)
            if labels is not None:
                self._refuse_nonfinite(labels, "labels", start)
            count = len(arrays[self.inputs[0].name])
            yield Batch({name: _pad(a, self.fixed_batch) for name, a in arrays.items()}, labels, count, self.pairs)
            start += count

    def first(self, rows: int) -> Feeds:
        """Return one batch of exactly `rows` rows (the model's fixed batch, where it has one), for timing."""
        feeds = next(self.batches(rows)).feeds
        return {name: _pad(array, self.fixed_batch or rows) for name, array in feeds.items()}

    def _refuse_nonfinite(self, array: Array, what: str, start: int) -> None:
        found = nonfinite_row(array)
        if found is not None:
            row, value = found
            raise DataError(
                f"{self.notation}: {what}: {value} in {self._row_name(start + row)}", "mend or leave it out"
            )


def _fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    for spec in inputs:
        if not spec.shape:
            raise DataError(
                f"input {spec.name!r} is a scalar, or its shape is unknown: data is fed along a batch dimension",
                f"give its shape with --input {spec.name}:SHAPE",
            )
    fixed = {spec.fixed_batch for spec in inputs} - {None}
    if len(fixed) > 1:
        shapes = ", ".join(map(str, inputs))
        raise DataError(f"the inputs share no batch dimension: {shapes}", "their first dimensions are fixed and differ")
    return fixed.pop() if fixed else None


def _pad(array: Array, rows: int | None) -> Array:
    if rows is None or len(array) == rows:
        return array
    return np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])
