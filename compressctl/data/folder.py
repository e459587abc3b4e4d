"""Files in folders, one sub-folder a class: images, .npy arrays, sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Self

import numpy as np

from compressctl.data.files import KINDS, FileSource, Kind, Sample
from compressctl.data.named import Request
from compressctl.data.parse import Notation
from compressctl.errors import DataError
from compressctl.notes import Note, skipped
from compressctl.tensorspec import TensorSpec


class SampleFolder(FileSource):
    """A folder of class folders, or of files without labels; the kind of files is that which it has most of.

    Class indices count the sub-folders in the order of their names. Samples are taken in turn from each class, in the
    order of their names, so that any slice is balanced. With `target=DIR` the label of each file is the one of the same
    place and name there, and folders are no classes.

    Raises:
        DataError: no samples, a target is missing, or the model's input takes none.
        UsageError: an option has a bad value or is unknown.
    """

    named = "a folder of images, .npy or sound files"
    reads = "a folder of images, .npy or sound files"
    file_options = ("target",)

    def __init__(self, notation: Notation, inputs: Sequence[TensorSpec]) -> None:
        super().__init__(notation.text, inputs)
        self._one_input()
        folder, target = Path(notation.source), notation.options.text("target")
        found = _scanned(notation)
        samples = _paired(found, folder, Path(target)) if target is not None else _in_turn(found)
        self.notes = _left_out(found.others if target is None else found.none, folder, found.kind)
        self._take([samples[row] for row in notation.select(len(samples))], found.kind, notation.options)

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request.inputs)

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Return whether it is a folder."""
        return path.is_dir()

    @classmethod
    def made_by(cls, notation: Notation) -> tuple[str, str] | None:
        """Return what decodes its kind of files."""
        return _scanned(notation).kind.library

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the samples, and their targets."""
        found, target = _scanned(notation), notation.options.text("target")
        if target is not None:
            samples = _paired(found, Path(notation.source), Path(target))
            return [(-1, path) for sample in samples for path in (sample.path, sample.target) if path is not None]
        labelled = [(label, path) for label, paths in enumerate(found.classes) for path in paths]
        return labelled or [(-1, path) for path in found.alone]


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Attributes:
        kind: of the files that there are most of.
        classes: those of each sub-folder, at any depth; empty where they hold none.
        alone: those of the folder itself.
        none: how many other files there are.
    """

    kind: Kind
    classes: list[list[Path]]
    alone: list[Path]
    none: int

    @property
    def others(self) -> int:
        """How many files are no samples of a class, where there are classes; else no samples."""
        return self.none + (len(self.alone) if self.classes else 0)


def scan_folder(folder: Path) -> Scan:
    """Return what a folder holds; names that begin with a dot are not looked at.

    Raises:
        DataError: it holds no samples.
        OSError: it cannot be read.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    in_classes = [
        sorted(path for path in entry.rglob("*") if path.is_file() and not path.name.startswith("."))
        for entry in entries
        if entry.is_dir()
    ]
    files = [entry for entry in entries if entry.is_file()]
    suffixes = [path.suffix.lower() for path in (*files, *chain.from_iterable(in_classes))]
    counts = [sum(suffix in kind.suffixes for suffix in suffixes) for kind in KINDS]
    if not any(counts):
        known = ", ".join(f"{kind.what} ({', '.join(sorted(kind.suffixes))})" for kind in KINDS)
        raise DataError(f"no samples found in {folder}", f"by the ends of their names, files are {known}")
    kind = KINDS[counts.index(max(counts))]
    classes = [[path for path in paths if path.suffix.lower() in kind.suffixes] for paths in in_classes]
    alone = [path for path in files if path.suffix.lower() in kind.suffixes]
    return Scan(kind, classes if any(classes) else [], alone, len(suffixes) - max(counts))


def _scanned(notation: Notation) -> Scan:
    folder = Path(notation.source)
    try:
        return scan_folder(folder)
    except OSError as error:
        where = error.filename or folder
        raise DataError(f"data {notation.text!r}: {where} cannot be read: {error.strerror}") from error


def _in_turn(found: Scan) -> list[Sample]:
    if not found.classes:
        return [Sample(path) for path in found.alone]
    by_class = [[Sample(path, np.array(label)) for path in paths] for label, paths in enumerate(found.classes)]
    return [sample for sample in chain.from_iterable(zip_longest(*by_class)) if sample is not None]


def _paired(found: Scan, folder: Path, targets: Path) -> list[Sample]:
    """Return the files with those of the same place below the folder of targets."""
    samples = []
    for path in sorted([*found.alone, *chain.from_iterable(found.classes)]):
        target = targets / path.relative_to(folder)
        if not target.is_file():
            raise DataError(f"{path} has no target: there is no file {target}")
        samples.append(Sample(path, target=target))
    return samples


def _left_out(files: int, folder: Path, kind: Kind) -> tuple[Note, ...]:
    if not files:
        return ()
    what = kind.what
    text = f"1 file that is none of the {what} is" if files == 1 else f"{files} files that are none of the {what} are"
    return (skipped(f"{text} left out", str(folder)),)
