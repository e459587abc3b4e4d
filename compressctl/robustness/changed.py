"""Samples that are changed as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from compressctl.arrays import Array
from compressctl.data.source import Batch, Feeds, Source

Change = Callable[[Batch, int], Feeds]
"""Returns new arrays for some inputs of a batch, of all its rows, given the number of its first row."""


class Changed(Source):
    """The samples of `source` with some inputs changed, and its labels."""

    def __init__(self, source: Source, change: Change) -> None:
        super().__init__(source.notation, source.inputs)
        self.judgeable, self.pairs, self.relevance = source.judgeable, source.pairs, source.relevance
        self.vocabulary = source.vocabulary
        self._source, self._change = source, change

    def __len__(self) -> int:
        return len(self._source)

    @property
    def has_labels(self) -> bool:
        """Say whether the samples have labels."""
        return self._source.has_labels

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        start = 0
        for batch in self._source.batches(size):
            changed = replace(batch, feeds={**batch.feeds, **self._change(batch, start)})
            yield self._source.to_rows(changed), batch.labels
            start += batch.count
