"""Samples that are a file each, decoded batch by batch: images, arrays, sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from compressctl.arrays import Array
from compressctl.data import npy_files, preprocess, sound
from compressctl.data.fit import RATE
from compressctl.data.named import NamedSource
from compressctl.data.opened import Files, Opened
from compressctl.data.options import Options
from compressctl.data.source import Feeds
from compressctl.errors import DataError
from compressctl.notes import Note, skipped

_S = TypeVar("_S")

_NAMED = 3  # files that are left out, in a note


@dataclass(frozen=True)
class Kind:
    """A kind of files.

    Attributes:
        what: of several, for messages.
        suffixes: of their names.
        open: makes samples of them.
        read: decodes one, whatever the model takes, and raises DataError where it is broken.
        uneven: what to do where they differ in shape.
        library: the package that decodes them, and its extra; None: numpy does.
    """

    what: str
    suffixes: frozenset[str]
    open: Callable[[Files], Opened]
    read: Callable[[Path], object]
    uneven: str
    library: tuple[str, str] | None = None


KINDS = (
    Kind(
        *("images", preprocess.SUFFIXES, preprocess.open_images, preprocess.read_image),
        *("add resize=WxH", ("pillow", "images")),
    ),
    Kind("arrays", npy_files.SUFFIXES, npy_files.open_npy_files, npy_files.read_npy, "make them of one shape"),
    Kind(
        *("sounds", sound.SUFFIXES, sound.open_sounds, sound.read_sound),
        *("add length=N", ("soundfile", "audio")),
    ),
)


def kind_of(path: Path) -> Kind | None:
    """Return what kind of file a path names, by its suffix."""
    return next((kind for kind in KINDS if path.suffix.lower() in kind.suffixes), None)


@dataclass(frozen=True)
class Sample:
    """A file and its label; `target` is another file of the same kind, whose samples are the label."""

    path: Path
    label: Array | None = None
    target: Path | None = None


class FileSource(NamedSource):
    """Samples that are files of one kind.

    With `skip_broken=N` each file is decoded once before anything else, and up to N that cannot be are left out.
    """

    def _take(self, samples: Sequence[Sample], kind: Kind, options: Options) -> None:
        """Open the samples; reads the options of their kind.

        Raises:
            DataError: the first one does not fit, or more are broken than may be left out.
            UsageError: an option has a bad value or is unknown.
        """
        self._spec = self._one_input()
        most = options.size("skip_broken")
        broken: tuple[Note, ...] = ()
        if most is not None:
            samples, broken = without_broken(samples, lambda sample: _decode(sample, kind), most, self.notation)
        self._samples = samples
        rates = [
            int(self.fed[spec.name].item()) for spec in self.inputs if RATE.search(spec.name) and spec.axis is None
        ]
        files = Files(
            paths=[path for sample in self._samples for path in (sample.path, sample.target) if path is not None],
            spec=self._spec,
            options=options,
            stateful=any(spec.state is not None for spec in self.inputs),
            rate=rates[0] if rates else None,
        )
        self._kind, self._opened = kind, kind.open(files)
        options.finish()
        self.steps = self._opened.steps
        self.judged_last = self._samples[0].target is None
        self.notes = (*self.notes, *self._opened.notes, *broken)

    def __len__(self) -> int:
        return len(self._samples) * self.steps

    @property
    def has_labels(self) -> bool:
        """Say whether files have labels, or targets."""
        return self._samples[0].label is not None or self._samples[0].target is not None

    def _row_name(self, row: int) -> str:
        path = self._samples[row // self.steps].path
        return str(path) if self.steps == 1 else f"step {row % self.steps} of {path}"

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        rows: list[Array] = []
        labels: list[Array] = []
        first = self._samples[0].path
        for sample in self._samples:
            values = self._opened.load(sample.path)
            rows += list(values) if self.steps > 1 else [values]
            if rows[-1].shape != rows[0].shape:
                shapes = f"{_dims(rows[-1])} and {_dims(rows[0])}"
                raise DataError(f"{sample.path} differs in shape from {first}: {shapes}", self._kind.uneven)
            labels += self._label(sample)
            while len(rows) >= size:
                yield self._batch(rows[:size], labels[:size])
                rows, labels = rows[size:], labels[size:]
            if not rows:
                first = sample.path
        if rows:
            yield self._batch(rows, labels)

    def _label(self, sample: Sample) -> list[Array]:
        """Return the labels of the rows that a file makes."""
        if sample.target is not None:
            values = self._opened.load(sample.target)
            return list(values) if self.steps > 1 else [values]
        return [] if sample.label is None else [sample.label] * self.steps

    def _batch(self, rows: list[Array], labels: list[Array]) -> tuple[Feeds, Array | None]:
        return {self._spec.name: np.stack(rows)}, np.stack(labels) if labels else None


def without_broken(
    samples: Sequence[_S], read: Callable[[_S], object], most: int, notation: str
) -> tuple[list[_S], tuple[Note, ...]]:
    """Return the samples that can be read, and a note on the others.

    Args:
        samples: whatever names them.
        read: reads one, and raises DataError where it is broken.
        most: how many may be broken.
        notation: of the data, for messages.

    Raises:
        DataError: more are broken, or all.
    """
    kept, broken = [], []
    for sample in samples:
        try:
            read(sample)
        except DataError as error:
            broken.append(error)
            if len(broken) > most:
                text = f"more than {most} of {len(samples)} files are broken: {error.message}"
                raise DataError(text, "mend them, or raise skip_broken") from error
            continue
        kept.append(sample)
    if not kept:
        raise DataError(f"{notation}: none of its files can be read: {broken[0].message}")
    if not broken:
        return kept, ()
    named = "; ".join(error.message for error in broken[:_NAMED])
    more = "; …" if len(broken) > _NAMED else ""
    return kept, (skipped(f"{len(broken)} of {len(samples)} files are left out: {named}{more}", notation),)


def _decode(sample: Sample, kind: Kind) -> None:
    for path in (sample.path, sample.target):
        if path is not None:
            kind.read(path)


def _dims(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "a number"
