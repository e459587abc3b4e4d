"""One array of a file, read row by row in ascending order, so that memory holds no more than a batch."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import IO, Any

import numpy as np

from compressctl.arrays import Array
from compressctl.errors import DataError

Reader = Callable[[int], Array]
OpenStream = Callable[[], AbstractContextManager[IO[bytes]]]
_DAMAGE = (
    *(EOFError, MemoryError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(lzma.LZMAError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn whatever zipfile and numpy raise on a file that is damaged or locked into one DataError about `where`."""
    try:
        yield
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where} cannot be read: {reason}") from error


class Column(ABC):
    """An array [rows, …].

    Attributes:
        where: the file and the array's name, for error messages.
        shape: its shape, rows first.
        dtype: its type in the file.
    """

    def __init__(self, where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.where, self.shape, self.dtype = where, shape, dtype

    @abstractmethod
    def open(self, rows: range) -> AbstractContextManager[Reader]:
        """Return a reader of `rows` (ascending): `reader(n)` gives the next n of them as an array of its own."""

    def whole(self) -> Array:
        """Return all of it, in memory."""
        with self.open(range(self.shape[0])) as read:
            return read(self.shape[0])


class ArrayColumn(Column):
    """An array in memory or memory-mapped."""

    def __init__(self, where: str, array: Array) -> None:
        super().__init__(where, array.shape, array.dtype)
        self._array = array

    @contextmanager
    def open(self, rows: range) -> Iterator[Reader]:
        """Read by slicing."""
        position = 0

        def read(n: int) -> Array:
            nonlocal position
            chunk = rows[position : position + n]
            position += n
            return np.array(self._array[chunk.start : chunk.stop : chunk.step])

        yield read

    def whole(self) -> Array:
        """Return all of it; it may be a single number."""
        return np.array(self._array)


class StreamColumn(Column):
    """An array in C order whose values begin at `offset` of a stream: a file, or a zip member being decompressed.

    Reading rather than mapping keeps what was read out of the process's resident memory.
    """

    def __init__(
        self, where: str, open_stream: OpenStream, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        super().__init__(where, shape, dtype)
        self._open_stream, self._offset = open_stream, offset
        self._row_shape = shape[1:]
        self._row_bytes = dtype.itemsize * math.prod(self._row_shape)

    @contextmanager
    def open(self, rows: range) -> Iterator[Reader]:
        """Read forward through the stream, skipping rows that are not wanted."""
        position = 0
        with ExitStack() as stack:
            with reading(self.where):
                stream = stack.enter_context(self._open_stream())

            def read(n: int) -> Array:
                nonlocal position
                chunk = rows[position : position + n]
                position += n
                with reading(self.where):
                    return self._rows(stream, chunk)

            yield read

    def _rows(self, stream: IO[bytes], rows: range) -> Array:
        run = max(1, len(rows)) if rows.step == 1 else 1  # rows that lie next to each other are read at once
        blocks = []
        for first in rows[::run]:
            stream.seek(self._offset + first * self._row_bytes)
            blocks.append(stream.read(run * self._row_bytes))
        data = b"".join(blocks)
        if len(data) < len(rows) * self._row_bytes:
            raise EOFError("it ends too early")
        return np.frombuffer(data, self.dtype).reshape(len(rows), *self._row_shape)


class PairedColumn(Column):
    """2N rows, the N first members of pairs and then the N second, read as pairs: first, second, first, second, …."""

    def __init__(self, column: Column) -> None:
        if column.shape[0] % 2:
            raise DataError(f"{column.where} has {column.shape[0]} rows, which cannot be pairs", "2N rows are wanted")
        super().__init__(column.where, column.shape, column.dtype)
        self._column = column

    @contextmanager
    def open(self, rows: range) -> Iterator[Reader]:
        """Read members of the pairs that `rows` counts: `reader(n)` gives n members, which may end inside a pair."""
        half = self.shape[0] // 2
        others = range(rows.start + half, rows.stop + half, rows.step)
        position = 0
        with self._column.open(rows) as first, self._column.open(others) as second:

            def read(n: int) -> Array:
                nonlocal position
                end = position + n
                firsts, seconds = first((end + 1) // 2 - (position + 1) // 2), second(end // 2 - position // 2)
                members = np.empty((n, *self.shape[1:]), self.dtype)
                members[position % 2 :: 2] = firsts
                members[1 - position % 2 :: 2] = seconds
                position = end
                return members

            yield read


class StepsColumn(Column):
    """Sequences [sequences, steps, …] read step by step, or what is the same at each step of a sequence.

    Args:
        column: the sequences.
        steps: that each of them has.
        spread: whether a row of the column counts for all steps of a sequence.
    """

    def __init__(self, column: Column, steps: int, *, spread: bool) -> None:
        super().__init__(column.where, column.shape, column.dtype)
        self._column, self._steps, self._spread = column, steps, spread

    @contextmanager
    def open(self, rows: range) -> Iterator[Reader]:
        """Read the steps of the sequences that `rows` counts: `reader(n)` gives n steps."""
        left = np.empty(0)
        with self._column.open(rows) as sequences:

            def read(n: int) -> Array:
                nonlocal left
                parts = []
                while n:
                    if not len(left):
                        (sequence,) = sequences(1)
                        left = np.repeat(sequence[None], self._steps, axis=0) if self._spread else sequence
                    parts.append(left[:n])
                    left = left[n:]
                    n -= len(parts[-1])
                return np.concatenate(parts)

            yield read


class ChangedColumn(Column):
    """Rows that are changed as they are read, each by itself.

    Args:
        column: the rows.
        change: what becomes of some of them, [n, …].
    """

    def __init__(self, column: Column, change: Callable[[Array], Array]) -> None:
        like = change(np.zeros((1, *column.shape[1:]), column.dtype))
        super().__init__(column.where, (column.shape[0], *like.shape[1:]), like.dtype)
        self._column, self._change = column, change

    @contextmanager
    def open(self, rows: range) -> Iterator[Reader]:
        """Read rows, and change them."""
        with self._column.open(rows) as read:
            yield lambda n: self._change(read(n))


class SeparateColumn(Column):
    """Samples that are arrays of their own, of several sizes: read one at a time.

    Args:
        where: what they belong to, for error messages.
        columns: the arrays.
    """

    def __init__(self, where: str, columns: Sequence[Column]) -> None:
        super().__init__(where, (len(columns), *columns[0].shape), columns[0].dtype)
        self._columns = columns

    @contextmanager
    def open(self, rows: range) -> Iterator[Reader]:
        """Read the next array, whatever number is asked for: its size may differ from that of the one after."""
        left = iter(rows)
        yield lambda _: self._columns[next(left)].whole()[None]


class PaddedColumn(Column):
    """Samples that are arrays of their own, each filled at its ends to the largest size.

    Args:
        where: what they belong to, for error messages.
        columns: the arrays.
        value: what is filled in.

    Raises:
        DataError: they differ in their number of dimensions, or in type, or the value is none of their type.
    """

    def __init__(self, where: str, columns: Sequence[Column], value: float) -> None:
        for column in columns:
            if len(column.shape) != len(columns[0].shape) or column.dtype != columns[0].dtype:
                kinds = " and ".join(f"{one.dtype}[{len(one.shape)} dimensions]" for one in (columns[0], column))
                raise DataError(f"{column.where} cannot be padded beside {columns[0].where}: {kinds}")
        dtype = columns[0].dtype
        if dtype.kind in "iu" and not (value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max):
            raise DataError(f"{columns[0].where} is {dtype}, which cannot be padded with {value:g}")
        sizes = (max(sizes) for sizes in zip(*(column.shape for column in columns), strict=True))
        super().__init__(where, (len(columns), *sizes), columns[0].dtype)
        self._columns, self._value = columns, value

    @contextmanager
    def open(self, rows: range) -> Iterator[Reader]:
        """Read the next arrays, filled up."""
        left = iter(rows)

        def read(n: int) -> Array:
            padded = np.full((n, *self.shape[1:]), self._value, self.dtype)
            for into in padded:
                array = self._columns[next(left)].whole()
                into[tuple(map(slice, array.shape))] = array
            return padded

        yield read
