"""How files that are a sample each are read: what every kind of them gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressctl.arrays import Array
from compressctl.data.options import Options
from compressctl.notes import Note
from compressctl.tensorspec import TensorSpec


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files to open as samples.

    Attributes:
        paths: the files; at least one.
        spec: the input that is fed, as rows.
        options: of the notation.
        stateful: whether the model has states, so that a file may be a sequence of steps.
        rate: of the sounds that the model takes, where it is said elsewhere.
    """

    paths: Sequence[Path]
    spec: TensorSpec
    options: Options
    stateful: bool = False
    rate: int | None = None


@dataclass(frozen=True)
class Opened:
    """Files as samples.

    Attributes:
        load: returns the sample of a file, [...] as the input takes it, or [steps, ...] of a sequence; raises DataError
            where the file is damaged or does not fit.
        steps: of a sequence; 1: files are samples.
        notes: what the user should know.
    """

    load: Callable[[Path], Array]
    steps: int = 1
    notes: tuple[Note, ...] = ()
