"""Samples from .npz and .npy files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from compressctl.arrays import Array
from compressctl.data.columns import Column, PairedColumn
from compressctl.data.fit import check
from compressctl.data.named import NamedSource, Request
from compressctl.data.npz import is_npy, is_npz, open_npy, open_npz
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds
from compressctl.errors import DataError
from compressctl.notes import Note, skipped
from compressctl.tensorspec import TensorSpec

LABEL_NAMES = ("labels", "label", "y", "target", "targets")


class ArraySource(NamedSource):
    """Arrays named as the inputs, and labels.

    With `pairs=true` the inputs hold 2N rows, first the N first members of the pairs, then the N second; the slice and
    the labels count pairs. They are fed first, second, first, second, ….

    Raises:
        DataError: the file or an array is missing, damaged, or does not fit the model's inputs.
        UsageError: an unknown option.
    """

    named = ".npz, .npy"
    reads = "a .npz or .npy file"

    def __init__(self, notation: Notation, inputs: Sequence[TensorSpec]) -> None:
        options = notation.options
        labels, self.pairs = options.text("labels"), options.flag("pairs")
        options.finish()
        path = Path(notation.source)
        arrays = open_npz(path) if is_npz(path) else _single(path, inputs)
        columns = {spec.name: _find(arrays, spec.name, path, "the model's input") for spec in inputs}
        if self.pairs:
            columns = {name: PairedColumn(column) for name, column in columns.items()}
        for spec in inputs:
            check(columns[spec.name].shape, columns[spec.name].dtype, spec, columns[spec.name].where)
        rows = _common_length(list(columns.values()))
        if labels is None:
            labels = next((name for name in LABEL_NAMES if name in arrays and name not in columns), None)
        unused = [name for name in arrays if name != labels and name not in columns]
        super().__init__(notation.text, inputs, _unused_note(unused, path))
        self._columns = columns
        self._labels = None if labels is None else _labels(arrays, labels, path, rows, self.pairs)
        self._rows = notation.select(rows // 2 if self.pairs else rows)

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request.inputs)

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Return whether it begins as such a file."""
        return not path.is_dir() and (is_npz(path) or is_npy(path))

    def __len__(self) -> int:
        return len(self._rows) * (2 if self.pairs else 1)

    @property
    def has_labels(self) -> bool:
        """Say whether the file holds labels."""
        return self._labels is not None

    def _row_name(self, row: int) -> str:
        return f"pair {self._rows[row // 2]}" if self.pairs else f"row {self._rows[row]}"

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        with ExitStack() as stack:
            readers = {name: stack.enter_context(column.open(self._rows)) for name, column in self._columns.items()}
            read_labels = stack.enter_context(self._labels.open(self._rows)) if self._labels else None
            for start in range(0, len(self), size):
                stop = min(start + size, len(self))
                count = stop // 2 - start // 2 if self.pairs else stop - start
                feeds = {name: read(stop - start) for name, read in readers.items()}
                yield feeds, read_labels(count) if read_labels else None


def _single(path: Path, inputs: Sequence[TensorSpec]) -> dict[str, Column | DataError]:
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise DataError(f"{path} holds one array, but the model has the inputs {names}", "use a .npz file")
    return {inputs[0].name: open_npy(path)}


def _find(arrays: dict[str, Column | DataError], name: str, path: Path, role: str) -> Column:
    column = arrays.get(name)
    if column is None:
        raise DataError(f"{path} has no array {name!r} for {role}", f"it has {', '.join(arrays)}")
    if isinstance(column, DataError):
        raise column
    return column


def _common_length(columns: list[Column]) -> int:
    first = columns[0]
    for column in columns:
        if column.shape[0] != first.shape[0]:
            raise DataError(f"{column.where} has {column.shape[0]} rows, but {first.where} has {first.shape[0]}")
    return first.shape[0]


def _labels(arrays: dict[str, Column | DataError], name: str, path: Path, rows: int, pairs: bool) -> Column:
    column = _find(arrays, name, path, "the labels")
    wanted = rows // 2 if pairs else rows
    if column.shape[0] != wanted:
        raise DataError(f"{column.where} has {column.shape[0]} labels for {wanted} {'pairs' if pairs else 'rows'}")
    if column.dtype.kind not in "fiub":
        raise DataError(f"{column.where} has type {column.dtype}, but labels are numbers")
    return column


def _unused_note(names: list[str], path: Path) -> tuple[Note, ...]:
    if not names:
        return ()
    return (skipped(f"arrays that are neither inputs nor labels are not used: {', '.join(names)}", str(path)),)
