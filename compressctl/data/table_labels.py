"""The labels of a table: numbers as they are, or the indices of classes that are named."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressctl.arrays import Array
from compressctl.data.options import Options
from compressctl.data.tables import Table, where
from compressctl.errors import DataError, UsageError, nearest
from compressctl.notes import Note, done

USUAL = ("label", "labels", "class", "target", "targets", "category", "y")
_SHOWN = 10  # names of classes, in a note


def numbers(value: object) -> Array | None:
    """Return a cell as numbers: one, a list of them (of lists, too), or text that is either; None: it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return _written(value)
    if not isinstance(value, bool | int | float | list):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        return None
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    return array if array.dtype.kind in "fiu" else None


def _written(text: object) -> Array | None:
    """Return a number that Python writes otherwise than JSON: `.5`, `1.`, `nan`."""
    try:
        return np.asarray(float(str(text)))
    except ValueError:
        return None


@dataclass(frozen=True)
class TableLabels:
    """The labels of a table, one at a time.

    Attributes:
        table: the table.
        column: the column that has them.
        classes: the indices of the names that stand there; None: numbers do.
        notes: what the names became.
    """

    table: Table
    column: str
    classes: dict[str, int] | None = None
    notes: tuple[Note, ...] = ()

    def of(self, value: object, row: int) -> Array:
        """Return the label that stands in a row.

        Raises:
            DataError: none does, or it is of no class.
        """
        here = where(self.table.path, row)
        if value is None or value == "":
            raise DataError(f"{here} has no label in {self.column!r}", "fill it in or leave the row out")
        if self.classes is not None:
            name = str(value)
            if name not in self.classes:
                hint = nearest(name, self.classes) or f"there are {', '.join(self.classes)}"
                raise DataError(f"{here}: there is no class {name!r}", hint)
            return np.asarray(self.classes[name])
        found = numbers(value)
        if found is None:
            raise DataError(f"{here}: the label {value!r:.60} is no number", "labels are all numbers, or all names")
        return found


def table_labels(table: Table, options: Options, taken: Sequence[str]) -> TableLabels | None:
    """Return the labels of the column that `labels=` names, or of one of a usual name that is not taken.

    Names are the classes that the lines of `classes=FILE` list, in their order; else they are sorted.

    Raises:
        DataError: there is no such column, or no such file.
        UsageError: classes are given, but no labels.
    """
    column, file = label_column(table, options, taken), options.text("classes")
    if column is not None:
        return labels_in(table, column, options)
    if file is not None:
        raise UsageError(f"data {options.notation!r}: classes={file}, but no labels", "add labels=COLUMN")
    return None


def label_column(
    table: Table, options: Options, taken: Sequence[str | None], usual: Sequence[str] = USUAL
) -> str | None:
    """Return the column that `labels=` names, or the first of a usual name, in any case, that is not taken.

    Raises:
        DataError: there is no such column.
    """
    given = options.text("labels")
    if given is not None:
        return table.column(given, "the labels")
    left = [name for name in table.columns if name.lower() in usual and name not in taken]
    return min(left, key=lambda name: usual.index(name.lower()), default=None)


def labels_in(table: Table, column: str, options: Options) -> TableLabels:
    """Return the labels of a column; see `table_labels`.

    Raises:
        DataError: there is no such file of classes.
    """
    file = options.text("classes")
    if file is not None:
        classes = _listed(Path(file))
        return TableLabels(table, column, classes)
    values = {str(value) for value in _cells(table, column) if numbers(value) is None}
    if not values:
        return TableLabels(table, column)
    names = sorted({str(value) for value in _cells(table, column)})
    shown = ", ".join(f"{name} = {index}" for index, name in enumerate(names[:_SHOWN]))
    text = f"labels are the names in {column!r}, sorted: {shown}{', …' if len(names) > _SHOWN else ''}"
    return TableLabels(table, column, {name: index for index, name in enumerate(names)}, (done(text, str(table.path)),))


def _cells(table: Table, column: str) -> Iterator[object]:
    """Yield what stands in a column, but for what is missing."""
    for row in table.rows(range(len(table))):
        value = row.get(column)
        if value is not None and value != "":
            yield value


def _listed(path: Path) -> dict[str, int]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise DataError(f"classes={path} cannot be read: {reason}") from error
    while names and not names[-1]:
        names.pop()
    if not names or len(set(names)) < len(names):
        raise DataError(f"classes={path}: a name a line is wanted, each once")
    return {name: index for index, name in enumerate(names)}


def joined(labels: Sequence[Array], first: str) -> Array:
    """Return labels as one array, whole numbers as integers.

    Raises:
        DataError: they differ in shape.
    """
    if any(label.shape != labels[0].shape for label in labels):
        raise DataError(f"{first}: labels differ in shape", "make lists as long as each other")
    array = np.stack(labels)
    whole = array.dtype.kind == "f" and bool(np.isfinite(array).all() and (array == np.floor(array)).all())
    small = whole and float(np.abs(array).max(initial=0)) < math.ldexp(1, 53)
    return array.astype(np.int64) if small and array.ndim == 1 else array
