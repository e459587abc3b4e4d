"""One notation for samples, in flags and recipes alike: `SOURCE[SLICE][,key=value]*`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from compressctl.data.arrays import ArraySource
from compressctl.data.digits import DigitsSource
from compressctl.data.file_table import FileTable
from compressctl.data.folder import SampleFolder
from compressctl.data.labelled_images import BoxesSource, MaskFolder
from compressctl.data.named import NamedSource, Request
from compressctl.data.number_table import NumberTable
from compressctl.data.parse import Notation, parse_notation
from compressctl.data.python import PythonSource
from compressctl.data.random import RandomSource
from compressctl.data.scenes import ScenesSource
from compressctl.data.source import Source
from compressctl.data.text import TextSource
from compressctl.data.tones import TonesSource
from compressctl.errors import DataError, nearest
from compressctl.tensorspec import TensorSpec

SOURCES: tuple[type[NamedSource], ...] = (
    ArraySource,
    BoxesSource,
    MaskFolder,
    SampleFolder,
    FileTable,
    NumberTable,
    TextSource,
    DigitsSource,
    ScenesSource,
    TonesSource,
    RandomSource,
    PythonSource,
)
_SCHEMES = {kind.scheme: kind for kind in SOURCES if kind.scheme is not None}
_AT_PATHS = tuple(kind for kind in SOURCES if kind.scheme is None)


def open_source(
    notation: str,
    inputs: Sequence[TensorSpec],
    *,
    seed: int = 0,
    allow_python: bool = False,
    sizes: Mapping[str, int] | None = None,
    limits: Mapping[str, int] | None = None,
    beside: Path | None = None,
) -> Source:
    """Open samples for a model with these inputs.

    Args:
        notation: for example `data.npz[:256],labels=y`, `images/train[:256],norm=imagenet`, `digits:test`,
            `random:64`, `python:module:function`.
        inputs: the model's inputs.
        seed: seed of `random`.
        allow_python: let `python:` import and call code.
        sizes: of `random`, where the notation gives none; see `random_feeds`.
        limits: of integer inputs, by what the model can look up; see `random_feeds`.
        beside: the model's file, where a tokenizer may lie.

    Raises:
        UsageError: the notation is wrong, or `python:` is used without leave.
        MissingExtraError: the source needs a package that is not installed.
        DataError: the data are missing, damaged, empty, or do not fit the inputs.
    """
    parsed = parse_notation(notation, beside)
    kind = source_class(parsed)
    if kind is not None:
        return kind.open(parsed, Request(inputs, seed, allow_python, sizes or {}, limits or {}))
    if not _exists(parsed.source):
        raise _missing(parsed)
    raise DataError(f"{Path(parsed.source)} is neither {' nor '.join(kind.reads for kind in _AT_PATHS)}")


def source_class(notation: Notation) -> type[NamedSource] | None:
    """Return what a notation names; None where there is nothing of the kind."""
    if notation.scheme in _SCHEMES:
        return _SCHEMES[notation.scheme]
    found = _AT_PATHS if _exists(notation.source) else ()
    return next((kind for kind in found if kind.takes(notation)), None)


def made_up(notation: str) -> bool:
    """Return whether samples are made up for the model's inputs, so that nothing can be judged on them.

    Raises:
        UsageError: the notation is wrong.
    """
    kind = _SCHEMES.get(parse_notation(notation).scheme)
    return kind is not None and not kind.judgeable


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises on names that the system refuses


def _missing(parsed: Notation) -> DataError:
    path = Path(parsed.source)
    names = [f"{scheme}{parsed.source.partition(':')[1]}" for scheme in _SCHEMES]
    with contextlib.suppress(OSError, ValueError):  # a folder that cannot be listed has no suggestions to make
        names += [str(path.with_name(entry.name)) for entry in path.parent.iterdir()]
    hint = nearest(parsed.source, names) or f"it takes {', '.join(kind.named for kind in SOURCES)}"
    return DataError(f"data {parsed.text!r}: there is no {parsed.source!r}", hint)
