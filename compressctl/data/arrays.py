"""Samples from .npz and .npy files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from compressctl.arrays import Array
from compressctl.data.columns import ChangedColumn, Column, PaddedColumn, PairedColumn, SeparateColumn, StepsColumn
from compressctl.data.fit import cast, check, fits
from compressctl.data.named import NamedSource, Request
from compressctl.data.npz import is_npy, is_npz, open_npy, open_npz
from compressctl.data.options import Options
from compressctl.data.parse import Notation
from compressctl.data.preprocess import image_layout, read_pixels
from compressctl.data.source import Feeds
from compressctl.errors import DataError, UsageError
from compressctl.notes import Note, skipped, warning
from compressctl.tensorspec import TensorSpec

LABEL_NAMES = ("labels", "label", "y", "target", "targets")


class ArraySource(NamedSource):
    """Arrays named as the inputs, and labels; `INPUT=ARRAY` names the array of an input that has another name.

    Each holds a row for every sample, whatever axis the model has them along. Inputs that take no samples may have an
    array too, of their own shape. Of a model with states that are not among the arrays, an array may have a dimension
    more, [sequences, steps, …]: the steps of a sequence are fed one after the other, and labels are of steps, or of
    sequences, to be judged by the last step.

    Arrays `NAME/0`, `NAME/1`, … are of one sample each. Where the input takes one sample at a time they may have sizes
    of their own; else `pad=0` fills them up to the largest.

    With `pairs=true` the inputs hold 2N rows, first the N first members of the pairs, then the N second; the slice and
    the labels count pairs. They are fed first, second, first, second, ….

    Of a model of tokens, masks and positions that are not among the arrays follow from the ids; a cache is empty.

    Raises:
        DataError: the file or an array is missing, damaged, or does not fit the model's inputs.
        UsageError: an unknown option.
    """

    named = ".npz, .npy"
    reads = "a .npz or .npy file"

    def __init__(self, notation: Notation, inputs: Sequence[TensorSpec]) -> None:
        options = notation.options
        labels, self.pairs, pad = options.text("labels"), options.flag("pairs"), _pad(options)
        super().__init__(notation.text, inputs)
        names = {spec.name: options.text(spec.name) or spec.name for spec in inputs}
        path = Path(notation.source)
        wanted = [spec for spec in self.asked if spec.name not in self.implied]
        arrays = open_npz(path) if is_npz(path) else _single(path, wanted)
        if labels is None:
            labels = next((name for name in LABEL_NAMES if name in arrays and name not in names.values()), None)
        names = _matched(names, arrays, labels, wanted)
        lone = {spec.name for spec in inputs if spec.lone}
        found = {name.removesuffix("/0") for name in arrays}
        columns = {
            spec.name: _column(arrays, names[spec.name], path, spec, lone=spec.name in lone, pad=pad)
            for spec in self.sampled
            if spec in wanted or names[spec.name] in found or names[spec.name] != spec.name
        }
        given = [spec for spec in self.asked if spec.name in columns]
        images = _images(options, columns, given)
        options.finish()
        for name, change in images.items():
            columns[name] = ChangedColumn(columns[name], change)
        self.fed |= {
            spec.name: _whole(_find(arrays, names[spec.name], path, "the model's input"), spec)
            for spec in inputs
            if spec.axis is None and names[spec.name] in arrays
        }
        self._states_given = all(spec.name in columns for spec in self.sampled if spec.state is not None)
        self.steps = 1 if self._states_given else _steps(columns, given)
        if self.pairs and self.steps > 1:
            raise DataError(f"{notation.text}: sequences make no pairs", "drop pairs=true")
        for spec in self.sampled:
            if spec.name in columns:
                columns[spec.name] = _checked(columns[spec.name], spec, self.steps, self.pairs)
        rows = _common_length(list(columns.values()))
        unused = [name for name in arrays if name != labels and name.partition("/")[0] not in names.values()]
        self.notes = (*_unused_note(unused, path), *_bytes_note(columns, given))
        self._columns = columns
        self._labels = None if labels is None else _labels(arrays, labels, path, rows, self.pairs)
        if self._labels is not None and self.steps > 1:
            self.judged_last = self._labels.shape[1:2] != (self.steps,)
            self._labels = StepsColumn(self._labels, self.steps, spread=self.judged_last)
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
        return len(self._rows) * (2 if self.pairs else self.steps)

    @property
    def has_labels(self) -> bool:
        """Say whether the file holds labels."""
        return self._labels is not None

    def _row_name(self, row: int) -> str:
        if self.pairs:
            return f"pair {self._rows[row // 2]}"
        if self.steps > 1:
            return f"step {row % self.steps} of sequence {self._rows[row // self.steps]}"
        return f"row {self._rows[row]}"

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        with ExitStack() as stack:
            readers = {name: stack.enter_context(column.open(self._rows)) for name, column in self._columns.items()}
            read_labels = stack.enter_context(self._labels.open(self._rows)) if self._labels else None
            for start in range(0, len(self), size):
                stop = min(start + size, len(self))
                count = stop // 2 - start // 2 if self.pairs else stop - start
                feeds = {name: read(stop - start) for name, read in readers.items()}
                yield feeds, read_labels(count) if read_labels else None


def _pad(options: Options) -> float | None:
    text = options.text("pad")
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = math.inf
    if value is not None and not math.isfinite(value):
        raise options.error("pad", "a number, as in pad=0", text or "")
    return value


def _single(path: Path, asked: Sequence[TensorSpec]) -> dict[str, Column | DataError]:
    if len(asked) != 1:
        names = ", ".join(spec.name for spec in asked)
        raise DataError(f"{path} holds one array, but the model has the inputs {names}", "use a .npz file")
    return {asked[0].name: open_npy(path)}


def _matched(
    names: dict[str, str], arrays: Mapping[str, object], labels: str | None, asked: Sequence[TensorSpec]
) -> dict[str, str]:
    """Return the names of the arrays; one array to one input needs none."""
    left = [name for name in arrays if name != labels and name not in names.values()]
    if len(asked) == 1 and len(left) == 1 and names[asked[0].name] == asked[0].name and asked[0].name not in arrays:
        return {**names, asked[0].name: left[0]}
    return names


def _images(
    options: Options, columns: Mapping[str, Column], asked: Sequence[TensorSpec]
) -> dict[str, Callable[[Array], Array]]:
    """Return what becomes of the one input that is images, by its name, where the options of images are given.

    Raises:
        UsageError: there is no such input, or an option has a bad value.
        DataError: the input takes no images.
    """
    given = [key for key in ("layout", "norm", "scale", "mean", "std") if options.text(key) is not None]
    if not given:
        return {}
    if len(asked) != 1:
        raise UsageError(f"data {options.notation!r}: {given[0]} is for images, which feed one input alone")
    (spec,) = asked
    column, (wanted, channels, _) = columns[spec.name], image_layout(None, spec)
    layout = options.choice("layout", ("nchw", "nhwc")) or wanted
    pixels = read_pixels(options, channels, 1 / 255 if column.dtype == np.uint8 else 1.0)

    def change(images: Array) -> Array:
        last = images if layout == "nhwc" else np.moveaxis(images, 1, -1)
        changed = last if pixels is None else pixels(last)
        return changed if wanted == "nhwc" else np.moveaxis(changed, -1, 1)

    if len(column.shape) != 4:
        raise DataError(f"{column.where} has {len(column.shape)} dimensions, but images are four: [N, C, H, W]")
    return {spec.name: change}


def _bytes_note(columns: Mapping[str, Column], asked: Sequence[TensorSpec]) -> tuple[Note, ...]:
    """Say where bytes are fed to floats as they are: most models want them scaled."""
    raw = [spec.name for spec in asked if columns[spec.name].dtype == np.uint8 and spec.dtype.startswith("float")]
    hint = "add scale=1/255 or norm=imagenet where the model was trained on scaled pixels"
    return tuple(warning(f"bytes from 0 to 255 are fed as floats; {hint}", name) for name in raw)


def _steps(columns: Mapping[str, Column], asked: Sequence[TensorSpec]) -> int:
    """Return how many steps sequences have: the second dimension of arrays that have one more than their input.

    Raises:
        DataError: it differs.
    """
    longer = [columns[spec.name] for spec in asked if len(columns[spec.name].shape) == len(spec.shape) + 1]
    for column in longer:
        if column.shape[1] != longer[0].shape[1]:
            raise DataError(
                f"{column.where} has {column.shape[1]} steps, but {longer[0].where} has {longer[0].shape[1]}"
            )
    return longer[0].shape[1] if longer else 1


def _checked(column: Column, spec: TensorSpec, steps: int, pairs: bool) -> Column:
    """Return a column of samples that fits an input."""
    if not column.shape:
        raise DataError(f"{column.where} is a single number", "arrays need one row a sample")
    sequence = steps > 1 and len(column.shape) == len(spec.shape) + 1
    shape = (column.shape[0], *column.shape[2:]) if sequence else column.shape
    try:
        check(shape, column.dtype, spec, column.where)
    except DataError as error:
        if len(shape) == 4 and fits((shape[0], shape[3], *shape[1:3]), spec):
            error.hint = "its channels are last: add ,layout=nhwc"
        elif len(shape) == 4 and fits((shape[0], *shape[2:], shape[1]), spec):
            error.hint = "its channels are first: add ,layout=nchw"
        raise
    if steps > 1:
        return StepsColumn(column, steps, spread=not sequence)
    return PairedColumn(column) if pairs else column


def _whole(column: Column, spec: TensorSpec) -> Array:
    """Return what an input is fed that takes no samples, from an array of its shape, or one such row for each sample.

    Raises:
        DataError: it does not fit, or its rows differ.
    """
    array = column.whole()
    if array.ndim == len(spec.shape) + 1 and len(array):
        if not (array == array[:1]).all():
            where = f"{column.where} differs between samples"
            raise DataError(f"{where}, but the input {spec} is the same for all of a batch", "use one file for each")
        array = array[0]
    check(array.shape, array.dtype, spec, column.where)
    return cast(array, spec, column.where)


def _find(arrays: dict[str, Column | DataError], name: str, path: Path, role: str) -> Column:
    column = arrays.get(name)
    if column is None:
        raise DataError(f"{path} has no array {name!r} for {role}", f"it has {', '.join(arrays)}")
    if isinstance(column, DataError):
        raise column
    return column


def _column(
    arrays: dict[str, Column | DataError], name: str, path: Path, spec: TensorSpec, *, lone: bool, pad: float | None
) -> Column:
    """Return the samples of an input: an array with a row for each, or arrays `NAME/0`, `NAME/1`, … of one each."""
    role = f"the model's input {spec.name!r}"
    if f"{name}/0" not in arrays or name in arrays:
        return _find(arrays, name, path, role)
    if not lone and pad is None:
        hint = "stack them along the first dimension, or add ,pad=0 to fill them up to one size"
        raise DataError(f"{path}: {name}/0, {name}/1, … are arrays of a sample each, but the input has a batch", hint)
    names = [f"{name}/{index}" for index in range(sum(one.startswith(f"{name}/") for one in arrays))]
    columns = [_find(arrays, one, path, role) for one in names]
    where = f"{path}: arrays {name}/0 to {names[-1]}"
    if pad is not None:
        for column in columns:
            _check_open(column, spec)
        return PaddedColumn(where, columns, pad)
    for column in columns:
        check((1, *column.shape), column.dtype, spec, column.where)
    return SeparateColumn(where, columns)


def _check_open(column: Column, spec: TensorSpec) -> None:
    """Refuse to pad what holds nothing, or is of another size where the model's is fixed."""
    sizes = zip(reversed(column.shape), reversed(spec.by_rows.shape[1:]), strict=False)
    if 0 in column.shape or any(isinstance(dim, int) and size != dim for size, dim in sizes):
        have = "x".join(map(str, column.shape))
        raise DataError(f"{column.where} has shape {have}, which no padding fits to {spec}", "one sample has no batch")


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
