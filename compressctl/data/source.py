"""What every data source is: an ordered set of samples, streamed in batches that fit a model's inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol, TypeVar

import numpy as np

from compressctl.arrays import Array
from compressctl.data.decoding import follow, implied
from compressctl.data.fit import cast, nonfinite_row, whole, zeros
from compressctl.data.relevance import Relevance
from compressctl.data.vocabulary import Vocabulary
from compressctl.data.walk import MADE_UP_STEPS, MOST_STEPS, Walk
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
        feeds: input name -> array in the input's own type and shape.
        labels: [count, …], or [pairs that end in this batch] where `pairs`, or None.
        count: rows that are samples; rows beyond it pad the batch of a fixed-batch model, drop their results.
        pairs: rows 2i and 2i+1 of the whole source belong together, and `labels` has one entry a pair.
        size: rows that are fed, those that pad among them; None: as many as samples.
        judged: whether metrics count it: not a step before the last of sequences that are judged as a whole.
        follows: each row is the step after the one in the same row of the batch before.
        relevance: rows are queries and documents, and `labels` their numbers in it.
        vocabulary: `labels` are transcripts (see `data.transcripts`), and the model writes with these tokens.
    """

    feeds: Feeds
    labels: Array | None
    count: int
    pairs: bool = False
    size: int | None = None
    judged: bool = True
    follows: bool = False
    relevance: Relevance | None = None
    vocabulary: Vocabulary | None = None

    def counted(self, values: Mapping[_K, _V]) -> dict[_K, _V]:
        """Return what a model gave for the feeds (arrays or tensors) without the rows that only pad the batch.

        What has another number of rows than the feeds is not one row a sample, and stays whole.
        """
        rows = self.count if self.size is None else self.size
        return {name: v[: self.count] if v.ndim and len(v) == rows > self.count else v for name, v in values.items()}


class Source(ABC):
    """Samples for a model. Memory holds one batch at a time, whatever the number of samples.

    Attributes:
        notation: the text that the user gave.
        inputs: the model's inputs, which every batch fits.
        sampled: the inputs that take samples, as rows: the first dimension is that of samples.
        asked: the sampled inputs that are no states and no caches: data must have them.
        implied: those of them that data may leave out all the same, as they follow from token ids.
        fed: what the inputs that take no samples are fed.
        notes: what the user should know about these data.
        fixed_batch: the rows of every batch, where the model takes no other number of them; else None.
        judgeable: False where accuracy cannot be judged from the data (random numbers).
        pairs: the samples are pairs (see `Batch.pairs`).
        steps: samples that follow one another, so that states are carried from one to the next: 0 to steps - 1, and
            so on.
        judged_last: the last step of a sequence is judged, not each.
        relevance: the samples are queries and documents (see `Batch.relevance`).
        vocabulary: their labels are transcripts (see `Batch.vocabulary`).
    """

    judgeable: bool = True
    pairs: bool = False
    steps: int = 1
    judged_last: bool = False
    relevance: Relevance | None = None
    vocabulary: Vocabulary | None = None
    _states_given: bool = False

    def __init__(self, notation: str, inputs: Sequence[TensorSpec], notes: tuple[Note, ...] = ()) -> None:
        if not inputs:
            raise DataError("the model has no inputs, so there is nothing to feed")
        self.notation = notation
        self.inputs = tuple(inputs)
        self.sampled = tuple(spec.by_rows for spec in inputs if spec.axis is not None)
        self.asked = tuple(spec for spec in self.sampled if spec.state is None and spec.grows is None)
        self.implied = implied(self.asked)
        self.fed: Feeds = {spec.name: whole(spec) for spec in inputs if spec.axis is None}
        self.notes = notes
        self.fixed_batch = _fixed_batch(self.inputs)

    @property
    def carries(self) -> bool:
        """Whether the model has states that are no part of the samples."""
        return any(spec.state is not None for spec in self.inputs) and not self._states_given

    def _one_input(self) -> TensorSpec:
        """Return the one input that data must have, as rows.

        Raises:
            DataError: there are others.
        """
        if len(self.asked) != 1:
            names = ", ".join(spec.name for spec in self.asked)
            raise DataError(f"{self.notation}: one input is fed, but the model has {len(self.asked)}: {names}")
        return self.asked[0]

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows that `batches` feeds (two a pair)."""

    @property
    @abstractmethod
    def has_labels(self) -> bool:
        """Say whether batches carry labels."""

    @property
    def labels_rows(self) -> bool:
        """Whether each row has a label of its own to train on: not that of a pair, and no transcript."""
        return self.has_labels and not self.pairs and self.relevance is None and self.vocabulary is None

    def of_one_size(self) -> Source:
        """Return the same samples in the same order, of one size where it can be: trainings mix them."""
        return self

    @abstractmethod
    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        """Yield at most `size` rows of each input (of any type that `fit.check` accepts) with their labels, in order.

        What no data give is left out: states are zeros, caches empty, and see `implied`.
        """

    def _row_name(self, row: int) -> str:
        """Name the row that is number `row` of those fed, for error messages."""
        return f"row {row}"

    def some(self, batch_size: int, most: int) -> Iterator[Batch]:
        """Yield the first batches, until they have `most` samples or more; see `batches`."""
        seen = 0
        for batch in self.batches(batch_size):
            yield batch
            seen += batch.count
            if seen >= most:
                return

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all samples, in the same order at every call.

        Args:
            batch_size: rows a batch at most; a model whose inputs have a fixed batch gets that one instead, the last
                batch filled up by repeating its last row.

        Raises:
            DataError: values that do not fit the model's inputs, NaN or infinity, damage found while reading.
        """
        for rows, labels in self.checked(self.fixed_batch or max(1, batch_size)):
            count = len(next(iter(rows.values()))) if rows else 1
            yield Batch(
                *(self.to_feeds(rows), labels, count, self.pairs, self.fixed_batch),
                relevance=self.relevance,
                vocabulary=self.vocabulary,
            )

    def checked(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        """Yield at most `size` rows of each input in its own type, with their labels, in order.

        Raises:
            DataError: as `batches`.
        """
        start = 0
        for raw, labels in self._read(size):
            rows = {spec.name: cast(raw[spec.name], spec, self.notation) for spec in self.sampled if spec.name in raw}
            for name, array in rows.items():
                self._refuse_nonfinite(array, f"input {name!r}", start)
            if labels is not None:
                self._refuse_nonfinite(labels, "labels", start)
            yield rows, labels
            start += len(next(iter(rows.values()), ()))

    def first(self, rows: int) -> Feeds:
        """Return one batch of exactly `rows` rows (the model's fixed batch, where it has one)."""
        batch = next(self.batches(rows))
        return self.to_feeds(self.to_rows(batch), rows)

    def walk(self, rows: int) -> Walk:
        """Return what a model is timed on: `first`, and of a model with states the steps that follow.

        They are those of the first `rows` sequences; where samples are none, one sample after the other, again from the
        first where they are few.
        """
        states = {spec.name: spec.state for spec in self.inputs if spec.state is not None}
        if not states:
            return Walk((self.first(rows),))
        steps: list[Feeds] = []
        for batch in self.batches(rows):
            if steps and self.steps > 1 and not batch.follows:
                break
            feeds = self.to_feeds(self.to_rows(batch), rows)
            steps.append({name: array for name, array in feeds.items() if not steps or name not in states})
            if len(steps) == MOST_STEPS:
                break
        if self.steps == 1 and len(steps) < MADE_UP_STEPS:
            again = {name: array for name, array in steps[0].items() if name not in states}
            steps = [steps[0], *islice(cycle([*steps[1:], again]), MADE_UP_STEPS - 1)]
        return Walk(tuple(steps), states)

    def to_rows(self, batch: Batch) -> Feeds:
        """Return the rows of a batch that are samples: [count, …] by input, of the inputs that take samples."""
        rows = {}
        for spec in self.inputs:
            if spec.axis is not None:
                rows[spec.name] = as_rows(spec, batch.feeds[spec.name])[: batch.count]
        return rows

    def to_feeds(self, rows: Mapping[str, Array], size: int | None = None) -> Feeds:
        """Return what a model is fed for rows: each input in its own shape.

        Args:
            rows: of the inputs that take samples, [rows, …] each; of states that are left out, zeros are fed, and of
                caches nothing.
            size: rows to fill them up to, where the model leaves that open; None: as many as there are.
        """
        count = self.fixed_batch or size or len(next(iter(rows.values()), ()))
        feeds = {}
        for spec in self.inputs:
            if spec.axis is None:
                feeds[spec.name] = self.fed[spec.name]
                continue
            if spec.name in rows:
                array = rows[spec.name]
            else:
                array = follow(spec, rows) if spec.name in self.implied else zeros(spec.by_rows, count)
            if spec.lone:
                feeds[spec.name] = array[0, ...]  # an array for a single number, too
                continue
            feeds[spec.name] = np.ascontiguousarray(np.moveaxis(_pad(array, count), 0, spec.axis))
        return feeds

    def _refuse_nonfinite(self, array: Array, what: str, start: int) -> None:
        found = nonfinite_row(array)
        if found is not None:
            row, value = found
            raise DataError(
                f"{self.notation}: {what}: {value} in {self._row_name(start + row)}", "mend or leave it out"
            )


def as_rows(spec: TensorSpec, array: Array) -> Array:
    """Return what a model is fed for an input that takes samples, or gives for a state, as rows: [rows, …]."""
    return array[None] if spec.lone else np.moveaxis(array, spec.axis or 0, 0)


def _fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    fixed = {spec.fixed_batch for spec in inputs} - {None}
    if len(fixed) > 1:
        shapes = ", ".join(map(str, inputs))
        raise DataError(f"the inputs share no batch dimension: {shapes}", "their sizes along it are fixed and differ")
    return fixed.pop() if fixed else None


def _pad(array: Array, rows: int) -> Array:
    if len(array) == rows or not len(array):
        return array
    return np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])
