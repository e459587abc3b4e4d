"""One notation for samples, in flags and recipes alike: `SOURCE[SLICE][,key=value]*`."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from compressctl.data.arrays import ArraySource
from compressctl.data.digits import DigitsSource
from compressctl.data.images import ImageFolder
from compressctl.data.npz import is_npy, is_npz
from compressctl.data.options import parse_size
from compressctl.data.parse import Notation, parse_notation
from compressctl.data.python import PythonSource
from compressctl.data.random import RandomSource, dynamic_sizes
from compressctl.data.source import Source
from compressctl.errors import DataError, UsageError
from compressctl.tensorspec import TensorSpec

SCHEMES = ("digits", "random", "python")
RANDOM_SAMPLES = 64


def open_source(
    notation: str,
    inputs: Sequence[TensorSpec],
    *,
    seed: int = 0,
    allow_python: bool = False,
    sizes: Mapping[str, int] | None = None,
    limits: Mapping[str, int] | None = None,
) -> Source:
    """Open samples for a model with these inputs.

    Args:
        notation: for example `data.npz[:256],labels=y`, `images/train[:256],norm=imagenet`, `digits:test`,
            `random:64`, `python:module:function`.
        inputs: the model's inputs.
        seed: seed of `random`.
        allow_python: let `python:` import and call code.
        sizes: of `random`, where the notation gives none; see `random_feeds`.
        limits: of the integers of `random`; see `random_feeds`.

    Raises:
        UsageError: the notation is wrong, or `python:` is used without leave.
        MissingExtraError: the source needs a package that is not installed.
        DataError: the data are missing, damaged, empty, or do not fit the inputs.
    """
    parsed = parse_notation(notation)
    scheme, _, rest = parsed.source.partition(":")
    if scheme == "random":
        return _random(parsed, rest, inputs, seed, sizes or {}, limits or {})
    if scheme == "digits":
        return DigitsSource(parsed, rest, inputs)
    if scheme == "python":
        return PythonSource(parsed, rest, inputs, allow_python=allow_python)
    path = Path(parsed.source)
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises on names that the system refuses
        raise _missing(parsed)
    if path.is_dir():
        return ImageFolder(parsed, inputs)
    if is_npz(path) or is_npy(path):
        return ArraySource(parsed, inputs)
    raise DataError(f"{path} is neither a .npz or .npy file nor a folder of images")


def _random(
    parsed: Notation,
    count: str,
    inputs: Sequence[TensorSpec],
    seed: int,
    usual: Mapping[str, int],
    limits: Mapping[str, int],
) -> RandomSource:
    samples = parse_size(count or str(RANDOM_SAMPLES))
    if samples is None:
        raise UsageError(f"data {parsed.text!r}: {count!r} is not a number of samples", "for example random:64")
    if parsed.slice != slice(None):
        raise UsageError(f"data {parsed.text!r}: random samples have no slices", "write random:N for N samples")
    sizes = {key: parsed.options.size(key) for key in dynamic_sizes(inputs)}
    parsed.options.finish()
    given = dict(usual) | {key: size for key, size in sizes.items() if size is not None}
    return RandomSource(parsed.text, inputs, samples, seed, given, limits)


def _missing(parsed: Notation) -> DataError:
    path = Path(parsed.source)
    names = [f"{scheme}{parsed.source.partition(':')[1]}" for scheme in SCHEMES]
    with contextlib.suppress(OSError, ValueError):  # a folder that cannot be listed has no suggestions to make
        names += [str(path.with_name(entry.name)) for entry in path.parent.iterdir()]
    close = difflib.get_close_matches(parsed.source, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "it takes .npz, .npy, an image folder, digits, random, python:"
    return DataError(f"data {parsed.text!r}: there is no {parsed.source!r}", hint)
