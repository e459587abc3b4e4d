"""The first samples of a source, where looking at all of them would take long and tell no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from compressctl.data.source import Feeds, Source


class First(Source):
    """The first `count` samples of `source`, or all where there are fewer; without their labels."""

    def __init__(self, source: Source, count: int) -> None:
        super().__init__(source.notation, source.inputs)
        self._source, self._count = source, min(count, len(source))

    def __len__(self) -> int:
        return self._count

    @property
    def has_labels(self) -> bool:
        """Labels are left out."""
        return False

    def _read(self, size: int) -> Iterator[tuple[Feeds, NDArray[Any] | None]]:
        left = self._count
        for batch in self._source.batches(size):
            rows = min(batch.count, left)
            yield {name: array[:rows] for name, array in batch.feeds.items()}, None
            left -= rows
            if not left:
                return
