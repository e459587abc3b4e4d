"""Token ids of many texts, kept in a file without a name, so that memory holds what is being fed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from typing import IO

import numpy as np

from compressctl.arrays import Array, Integers
from compressctl.errors import DataError


class Tokens:
    """Integers of any number, written once and then read.

    Args:
        dtype: their type.
    """

    def __init__(self, dtype: type = np.int32) -> None:
        self._dtype = np.dtype(dtype)
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the samples
        self._mapped: Array | None = None
        self.count = 0
        self.most = 0

    def append(self, values: Iterable[int]) -> int:
        """Write further ones; return how many.

        Raises:
            DataError: there is no room on the disk.
        """
        array = np.fromiter(values, self._dtype)
        try:
            self._file.write(array.tobytes())
        except OSError as error:
            raise DataError(f"tokens cannot be kept in {tempfile.gettempdir()}: {error.strerror}") from error
        self.count += len(array)
        self.most = max(self.most, int(array.max(initial=0)))
        return len(array)

    def __getitem__(self, part: slice) -> Array:
        """Return a copy of some of them."""
        if self._mapped is None:
            self._file.flush()
            self._mapped = np.memmap(self._file, self._dtype, "r", shape=(self.count,))
        return np.array(self._mapped[part])

    def first_from(self, limit: int) -> int:
        """Return the place of the first one that is `limit` or more."""
        step = 1 << 20
        for start in range(0, self.count, step):
            found = np.flatnonzero(self[start : start + step] >= limit)
            if len(found):
                return start + int(found[0])
        raise ValueError(limit)


def padded(rows: Sequence[Array], width: int, value: int, *, left: bool) -> Integers:
    """Return rows of integers filled up to one length, [rows, width]."""
    filled = np.full((len(rows), width), value, np.int64)
    for into, row in zip(filled, rows, strict=True):
        into[width - len(row) if left else 0 :][: len(row)] = row
    return filled
