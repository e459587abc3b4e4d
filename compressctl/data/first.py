"""The first samples of a source, where looking at all of them would take long and tell no more."""

from __future__ import annotations

from collections.abc import Iterator

from compressctl.arrays import Array
from compressctl.data.source import Feeds, Source


class First(Source):
    """The first `count` samples of `source` (rows, of pairs whole pairs), or all where there are fewer.

    Args:
        source: the samples; its notes stay with it.
        count: rows.
        labels: keep the labels, and the samples as pairs where they are.
    """

    def __init__(self, source: Source, count: int, *, labels: bool = False) -> None:
        super().__init__(source.notation, source.inputs)
        self.judgeable, self.pairs = source.judgeable, source.pairs and labels
        self.relevance, self.vocabulary = (source.relevance, source.vocabulary) if labels else (None, None)
        self._members = 2 if self.pairs else 1
        self._source, self._count = source, min(-(-count // self._members) * self._members, len(source))
        self._labelled = labels and source.has_labels

    def __len__(self) -> int:
        return self._count

    @property
    def has_labels(self) -> bool:
        """Say whether the samples have labels and keep them."""
        return self._labelled

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        start = 0
        for batch in self._source.batches(size):
            stop = min(start + batch.count, self._count)
            labels = batch.labels if self._labelled else None
            if labels is not None:
                labels = labels[: stop // self._members - start // self._members]
            yield {name: array[: stop - start] for name, array in self._source.to_rows(batch).items()}, labels
            start = stop
            if start == self._count:
                return
