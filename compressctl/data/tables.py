"""Tables of samples: .csv, .tsv, .jsonl, .txt (a line a row), and .parquet, .arrow and .feather by pyarrow."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from compressctl.errors import DataError, MissingExtraError, nearest

if TYPE_CHECKING:
    from pyarrow import RecordBatch

Row = dict[str, object]

TEXT = "text"
"""The one column of a .txt file."""

_MOST_CELL = 1 << 27  # characters of a field: csv's own limit of 131,072 is less than a document


class Table:
    """Rows of named values, read anew from the file each time, so that memory holds one row (of .parquet, a group).

    Values are text in .csv, .tsv and .txt; in other files what they hold: numbers, text, lists, None where it is
    missing. Empty lines are no rows.

    Args:
        path: the file.

    Attributes:
        columns: their names, in order; of .jsonl those of the first row.

    Raises:
        DataError: it cannot be read, has no rows, or a row is damaged; the line is named.
        MissingExtraError: it takes pyarrow.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = _READERS[path.suffix.lower()]
        first = next(iter(self._rows()), None)
        if first is None:
            raise DataError(f"{path} has no rows")
        self.columns = tuple(first)
        self._count: int | None = None

    def __len__(self) -> int:
        """Return the number of rows; the first call reads the file."""
        if self._count is None:
            self._count = sum(1 for _ in self._rows())
        return self._count

    def rows(self, chosen: range) -> Iterator[Row]:
        """Yield the rows of these numbers, which ascend."""
        yield from islice(self._rows(), chosen.start, chosen.stop, chosen.step)

    def column(self, name: str, role: str) -> str:
        """Return the name of a column, once it is known to be there.

        Raises:
            DataError: there is no such column.
        """
        if name not in self.columns:
            hint = nearest(name, self.columns) or f"it has {', '.join(self.columns)}"
            raise DataError(f"{self.path} has no column {name!r} for {role}", hint)
        return name

    def _rows(self) -> Iterator[Row]:
        with _reading(self.path):
            yield from self._read(self.path)


def where(path: Path, row: int) -> str:
    """Name a row of a table; people count from 1."""
    return f"{path}: row {row + 1}"


def is_table(path: Path) -> bool:
    """Return whether a path names a table, by its suffix."""
    return path.suffix.lower() in _READERS


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig", newline=None) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\n")


def _read_txt(path: Path) -> Iterator[Row]:
    for _, line in _lines(path):
        yield {TEXT: line}


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: no JSON: {error}", "each line is one {…}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: it is no object", "each line is one {…}")
        yield row


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_MOST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, "excel-tab" if path.suffix.lower() == ".tsv" else "excel", strict=True)
        names: list[str] | None = None
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [cell.strip() for cell in cells]
                continue
            if len(cells) != len(names):
                raise DataError(f"{path}, line {reader.line_num}: {len(cells)} cells in {len(names)} columns")
            yield dict(zip(names, cells, strict=True))


def _read_arrow(path: Path) -> Iterator[Row]:
    for batch in _record_batches(path):
        yield from batch.to_pylist()


def _record_batches(path: Path) -> Iterator[RecordBatch]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(f"a {path.suffix} file", "tables") from error
    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=1024)
            return
        with pa.memory_map(str(path)) as mapped:
            try:
                reader = pa.ipc.open_file(mapped)
            except pa.ArrowInvalid:  # it is written as a stream, as by the `datasets` library
                yield from pa.ipc.open_stream(mapped)
                return
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_arrow,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a file that is missing, damaged or of another encoding raises into one line about it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start} of a part of it", "convert it") from error
    except csv.Error as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
