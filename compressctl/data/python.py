"""Samples from a function of the user's own: `python:module:function[,key=value]*`. Runs only with leave."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from compressctl.arrays import Array
from compressctl.data.fit import cast, check
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec


def load_function(text: str, *, allow_python: bool) -> Callable[..., Any]:
    """Import the function that `module:function` names, from the current folder or `sys.path`.

    Raises:
        UsageError: no leave was given, or the text is not `module:function`.
        DataError: the module cannot be imported, or has no such function.
    """
    where = f"python:{text}"
    module_name, _, name = text.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise UsageError(f"{where!r} is not python:module:function")
    if not allow_python:
        raise UsageError(f"{where} runs code of yours, which needs leave", "add --allow-python")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # the user's module may raise anything at import
        raise DataError(f"{where} cannot be imported: {_reason(error)}") from error
    finally:
        sys.path.remove(folder)
    if not callable(function):
        raise DataError(f"{where} is not a function")
    return function  # type: ignore[no-any-return]


class PythonSource(NamedSource):
    """What `function(**options)` returns: an iterable of batches, each `{input: array}` or `({input: array}, labels)`.

    Arrays are as the model takes them, with any number of samples; option values arrive as text. The function is called
    once for each pass over the data, and must then give the same batches again.

    Raises:
        UsageError: no leave was given to run code.
        DataError: the function raises, or gives no batches that fit the model's inputs.
    """

    scheme, named = "python", "python:"

    def __init__(self, notation: Notation, name: str, inputs: Sequence[TensorSpec], *, allow_python: bool) -> None:
        super().__init__(notation.text, inputs)
        self._function = load_function(name, allow_python=allow_python)
        self._options = notation.options.all()
        self._where = f"python:{name}"
        self._has_labels = False
        self._given: set[str] = set()
        self._named: set[str] = set()
        self._rows = notation.select(self._count(notation.slice))
        self._states_given = all(spec.name in self._named for spec in self.sampled)

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, notation.rest, request.inputs, allow_python=request.allow_python)

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the module's source, not what that imports or reads."""
        return [(-1, _module_file(notation.rest.partition(":")[0], notation.text))]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_labels(self) -> bool:
        """Say whether the function gives labels."""
        return self._has_labels

    def _row_name(self, row: int) -> str:
        return f"row {self._rows[row]}"

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        start = 0
        for feeds, labels in self._call():
            stop = start + _rows(feeds)
            kept = [row - start for row in range(start, stop) if row in self._rows]
            for first in range(0, len(kept), size):
                chunk = kept[first : first + size]
                yield {name: array[chunk] for name, array in feeds.items()}, None if labels is None else labels[chunk]
            start = stop
            if start > self._rows[-1]:
                return
        raise DataError(
            f"{self._where} gave fewer rows when it was called again", "it must give the same ones each time"
        )

    def _count(self, selected: slice) -> int:
        """Count the rows, or as many of them as the slice can reach: the function may never end."""
        reach = selected.stop if (selected.start or 0) >= 0 and (selected.stop or -1) >= 0 else None
        rows = 0
        for index, (feeds, labels) in enumerate(self._call()):
            if index and self._has_labels != (labels is not None):
                raise DataError(f"{self._where} gives labels with some batches only")
            self._has_labels = labels is not None
            rows += _rows(feeds)
            if reach is not None and rows >= reach:
                break
        return rows

    def _call(self) -> Iterator[tuple[Feeds, Array | None]]:
        """Call the function and yield its batches, checked."""
        try:
            for item in self._function(**self._options):
                yield self._checked(item)
        except DataError:
            raise
        except Exception as error:  # the user's function may raise anything
            raise DataError(f"{self._where} raised {_reason(error)}") from error

    def _checked(self, item: object) -> tuple[Feeds, Array | None]:
        feeds, labels = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if not isinstance(feeds, Mapping):
            raise DataError(f"{self._where} gave {type(feeds).__name__}", "{input: array} or ({input: array}, labels)")
        missing = [spec.name for spec in self.asked if spec.name not in {*feeds, *self.implied}]
        if missing:
            given = ", ".join(map(str, feeds)) or "nothing"
            raise DataError(f"{self._where} gave no input {missing[0]!r}", f"it gave {given}")
        arrays = {}
        for spec in self.inputs:
            if spec.name not in feeds:
                continue
            array, where = np.asarray(feeds[spec.name]), f"{self._where}: input {spec.name!r}"
            check(array.shape, array.dtype, spec, where)
            self._named.add(spec.name)
            if spec.axis is not None:
                arrays[spec.name] = array[None] if spec.lone else np.moveaxis(array, spec.axis, 0)
            elif spec.name not in self._given:
                self._given.add(spec.name)
                self.fed[spec.name] = cast(array, spec, where)
            elif not np.array_equal(self.fed[spec.name], array):
                raise DataError(f"{where} differs between batches", "it takes no samples, and is the same for all")
        targets = None if labels is None else np.asarray(labels)
        if targets is not None and (targets.dtype.kind not in "fiub" or targets.ndim == 0):
            raise DataError(
                f"{self._where} gave labels of type {targets.dtype} and shape {targets.shape}", "numbers, one a row"
            )
        lengths = {len(array) for array in [*arrays.values(), *([] if targets is None else [targets])]}
        if len(lengths) > 1 or 0 in lengths:
            raise DataError(f"{self._where} gave arrays of {sorted(lengths)} rows in one batch")
        return arrays, targets


def _module_file(name: str, notation: str) -> Path:
    """Return the file of a module, found as `import` would, but without running any of it."""
    path: list[str] | None = [str(Path.cwd()), *sys.path]
    spec = None
    for end in range(len(parts := name.split("."))):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[: end + 1]), path)
        if spec is None:
            raise DataError(f"data {notation!r}: there is no Python module {name!r}")
        path = spec.submodule_search_locations
    if spec is None or spec.origin is None:
        raise DataError(f"data {notation!r}: the module {name!r} has no file")
    return Path(spec.origin)


def _rows(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
