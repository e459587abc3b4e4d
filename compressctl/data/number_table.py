"""Tables of numbers: columns that are inputs of the model, or features of its one input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np

from compressctl.arrays import Array
from compressctl.data.fit import check, numpy_dtype
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds
from compressctl.data.table_labels import USUAL, joined, numbers, table_labels
from compressctl.data.tables import Row, Table, is_table, where
from compressctl.errors import DataError
from compressctl.notes import done

_TEXTS = ("tokenizer", "text", "file")  # options that say that the table is another


class NumberTable(NamedSource):
    """A table with a column for each input, of numbers or lists of them, and one of labels.

    `INPUT=COLUMN` names the column of an input of another name. Where the one input has no column of its name, all
    columns but the labels are its features, in their order.

    Raises:
        DataError: a column or a number is missing, or does not fit the model.
        UsageError: an unknown option.
    """

    named = ".csv, .tsv, .jsonl, .parquet or .arrow of numbers"
    reads = "a table of numbers"
    file_options = ("classes",)

    def __init__(self, notation: Notation, request: Request) -> None:
        super().__init__(notation.text, request.inputs)
        table, options = Table(Path(notation.source)), notation.options
        names = {spec.name: options.text(spec.name) or spec.name for spec in self.asked}
        self._labels = table_labels(table, options, [*names.values()])
        options.finish()
        label = None if self._labels is None else self._labels.column
        left = [name for name in table.columns if name != label]
        self._columns: dict[str, list[str]] = {}
        if (
            len(self.asked) == 1
            and names[self.asked[0].name] not in table.columns
            and options.text(self.asked[0].name) is None
        ):
            self._columns[self.asked[0].name] = left
        else:
            for name, column in names.items():
                self._columns[name] = [table.column(column, f"the model's input {name!r}")]
        used = [column for columns in self._columns.values() for column in columns]
        unused = [name for name in left if name not in used]
        self._table, self._rows = table, notation.select(len(table))
        self.notes = () if self._labels is None else self._labels.notes
        if unused:
            text = f"columns that are neither inputs nor labels are not used: {', '.join(unused)}"
            self.notes = (*self.notes, done(text, str(table.path)))

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request)

    @classmethod
    def takes(cls, notation: Notation) -> bool:
        """Return whether it is a table whose first row is of numbers, but for the label."""
        path = Path(notation.source)
        if not is_table(path) or path.is_dir() or any(map(notation.options.has, _TEXTS)):
            return False
        labels = notation.options.text("labels")
        first = next(Table(path).rows(range(1)))
        cells = [value for name, value in first.items() if name != labels and name.lower() not in USUAL]
        return bool(cells) and all(numbers(value) is not None for value in cells)

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the table, and the list of classes."""
        classes = notation.options.text("classes")
        return [(-1, Path(path)) for path in (notation.source, classes) if path is not None]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_labels(self) -> bool:
        """Say whether the table has a column of labels."""
        return self._labels is not None

    def _row_name(self, row: int) -> str:
        return f"row {self._rows[row] + 1}"

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        rows = zip(self._rows, self._table.rows(self._rows), strict=True)
        while chunk := [row for _, row in zip(range(size), rows)]:  # noqa: B905 - the last is shorter
            yield self._feeds(chunk), self._told(chunk)

    def _feeds(self, chunk: list[tuple[int, Row]]) -> Feeds:
        feeds = {}
        for spec in self.asked:
            columns = self._columns[spec.name]
            values = [_value(cells, columns, where(self._table.path, row)) for row, cells in chunk]
            if numpy_dtype(spec).kind == "f":  # what is written without a point is no other number
                values = [value.astype(np.float64) for value in values]
            for (row, _), value in zip(chunk, values, strict=True):
                here = f"{where(self._table.path, row)}: {columns[0] if len(columns) == 1 else spec.name!r}"
                if value.shape != values[0].shape:
                    first = f"row {chunk[0][0] + 1}"
                    raise DataError(f"{here} has {_dims(value)} numbers, but {first} has {_dims(values[0])}")
                if row == chunk[0][0]:
                    value = _shaped(value, len(spec.shape) - 1)
                    check((1, *value.shape), value.dtype, spec, here)
            feeds[spec.name] = np.stack([_shaped(value, len(spec.shape) - 1) for value in values])
        return feeds

    def _told(self, chunk: list[tuple[int, Row]]) -> Array | None:
        if self._labels is None:
            return None
        labels = [self._labels.of(cells.get(self._labels.column), row) for row, cells in chunk]
        return joined(labels, where(self._table.path, chunk[0][0]))


def _value(cells: Mapping[str, object], columns: list[str], here: str) -> Array:
    found = []
    for name in columns:
        value = numbers(cells.get(name))
        if value is None:
            raise DataError(f"{here}: {name!r} is {cells.get(name)!r:.60}, but numbers are wanted")
        found.append(value)
    if len(found) == 1:
        return found[0]
    return np.concatenate([np.atleast_1d(value) for value in found])


def _shaped(value: Array, rank: int) -> Array:
    """Return a single number as a list of one where the input takes lists."""
    return value.reshape(1) if value.ndim == 0 and rank == 1 else value


def _dims(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "1"
