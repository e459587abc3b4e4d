"""One source in two parts, where the user gave only one: every n-th sample is held for measuring, the others train."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compressctl.arrays import Array, Integers
from compressctl.data.source import Feeds, Source
from compressctl.data.walk import Walk
from compressctl.errors import DataError
from compressctl.notes import done


def every(source: Source, n: int, *, held: bool) -> Source:
    """Return the samples number 0, n, 2n, … of `source`, or the others; of pairs, whole pairs count.

    Both parts read `source` as a stream; memory holds a batch at a time. The held part carries the notes of `source`,
    the other one a note on the split, so that each is reported once.

    Args:
        source: the samples to split; with n = 5, `digits` gives what `digits:test` and `digits:train` give.
        n: one sample of n is held, n >= 2.
        held: return the held samples, else the others.

    Raises:
        DataError: nothing is left for this part.
    """
    return _Part(source, n, held)


class _Part(Source):
    def __init__(self, source: Source, n: int, held: bool) -> None:
        split = done(f"every {n}th sample is held for measuring, the others train", source.notation)
        super().__init__(source.notation, source.inputs, source.notes if held else (split,))
        self.judgeable, self.pairs, self.relevance = source.judgeable, source.pairs, source.relevance
        self.vocabulary = source.vocabulary
        self._source, self._n, self._held = source, n, held
        self._members = 2 if source.pairs else 1
        if not len(self):
            raise DataError(f"{source.notation} holds a single sample, so none is left to train on", "give --train D")

    def __len__(self) -> int:
        samples = len(self._source) // self._members
        held = -(-samples // self._n)
        return self._members * (held if self._held else samples - held)

    @property
    def has_labels(self) -> bool:
        """Say whether the whole source has labels."""
        return self._source.has_labels

    def of_one_size(self) -> Source:
        """See `Source`."""
        return _Part(self._source.of_one_size(), self._n, self._held)

    def walk(self, rows: int) -> Walk:
        """Return steps of the whole source where they are of sequences: a part has single steps of them."""
        return self._source.walk(rows) if self._source.steps > 1 else super().walk(rows)

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        """Pick the rows of this part out of the batches of the whole, and gather them to batches of `size` again."""
        gathered = _Gathered(self._members)
        start = 0
        for batch in self._source.batches(size):
            stop = start + batch.count
            rows = self._kept(np.arange(start, stop) // self._members)
            ended = self._kept(np.arange(start // self._members, stop // self._members))
            feeds = {name: array[rows] for name, array in self._source.to_rows(batch).items()}
            if not gathered.takes(feeds):
                yield gathered.give(gathered.rows)
            gathered.add(feeds, None if batch.labels is None else batch.labels[ended])
            while gathered.rows >= size:
                yield gathered.give(size)
            start = stop
        if gathered.rows:
            yield gathered.give(gathered.rows)

    def _kept(self, samples: Integers) -> Integers:
        return np.flatnonzero((samples % self._n == 0) == self._held)


class _Gathered:
    """Rows that wait to fill a batch, with the labels of the samples that they end."""

    def __init__(self, members: int) -> None:
        self._members, self._given = members, 0
        self._feeds: Feeds = {}
        self._labels: Array | None = None

    @property
    def rows(self) -> int:
        return len(next(iter(self._feeds.values()))) if self._feeds else 0

    def takes(self, feeds: Feeds) -> bool:
        """Say whether these rows can share a batch with those that wait: all other dimensions are the same."""
        return not self.rows or all(array.shape[1:] == self._feeds[name].shape[1:] for name, array in feeds.items())

    def add(self, feeds: Feeds, labels: Array | None) -> None:
        if self.rows:
            feeds = {name: np.concatenate([self._feeds[name], array]) for name, array in feeds.items()}
        if labels is not None and self._labels is not None:
            labels = np.concatenate([self._labels, labels])
        self._feeds, self._labels = feeds, labels

    def give(self, rows: int) -> tuple[Feeds, Array | None]:
        feeds = {name: array[:rows] for name, array in self._feeds.items()}
        self._feeds = {name: array[rows:] for name, array in self._feeds.items()}
        ended = (self._given + rows) // self._members - self._given // self._members
        self._given += rows
        labels = self._labels
        if labels is None:
            return feeds, None
        self._labels = labels[ended:]
        return feeds, labels[:ended]
