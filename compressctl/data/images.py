"""Images in folders, one sub-folder a class; decoded batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Self

import numpy as np

from compressctl.arrays import Array
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.preprocess import read_preprocess
from compressctl.data.source import Feeds
from compressctl.errors import DataError
from compressctl.notes import Note, skipped
from compressctl.tensorspec import TensorSpec

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


class ImageFolder(NamedSource):
    """A folder of class folders, or of images without labels.

    Class indices count the sub-folders in the order of their names. Samples are taken in turn from each class, in the
    order of their names, so that any slice is balanced.

    Raises:
        DataError: no images, or the model's input takes none.
        UsageError: an option has a bad value or is unknown.
    """

    named = "an image folder"
    reads = "a folder of images"
    library, extra = "pillow", "images"

    def __init__(self, notation: Notation, inputs: Sequence[TensorSpec]) -> None:
        super().__init__(notation.text, inputs)
        self._spec = self._one_input()
        self._preprocess = read_preprocess(notation.options, self._spec)
        notation.options.finish()
        folder = Path(notation.source)
        try:
            classes, images, others = scan_folder(folder)
        except OSError as error:
            raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
        self._labelled = bool(classes)
        by_class = [[(path, label) for path in paths] for label, paths in enumerate(classes)] or [
            [(p, 0) for p in images]
        ]
        samples = [sample for sample in chain.from_iterable(zip_longest(*by_class)) if sample is not None]
        if not samples:
            raise DataError(
                f"no images found in {folder}", f"files that end in {', '.join(sorted(SUFFIXES))} are images"
            )
        self._samples = [samples[row] for row in notation.select(len(samples))]
        self.notes = _left_out(others + (len(images) if classes else 0), folder)

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request.inputs)

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Return whether it is a folder."""
        return path.is_dir()

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the images."""
        folder = Path(notation.source)
        try:
            classes, images, _ = scan_folder(folder)
        except OSError as error:
            raise DataError(f"data {notation.text!r}: {folder} cannot be read: {error.strerror}") from error
        labelled = [(label, path) for label, paths in enumerate(classes) for path in paths]
        return labelled or [(-1, path) for path in images]

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def has_labels(self) -> bool:
        """Say whether the folder has class sub-folders."""
        return self._labelled

    def _row_name(self, row: int) -> str:
        return str(self._samples[row][0])

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        for start in range(0, len(self), size):
            batch = self._samples[start : start + size]
            images = [self._preprocess.load(path) for path, _ in batch]
            for (path, _), image in zip(batch, images, strict=True):
                if image.shape != images[0].shape:
                    shapes = f"{'x'.join(map(str, image.shape))} and {'x'.join(map(str, images[0].shape))}"
                    raise DataError(f"{path} differs in shape from {batch[0][0]}: {shapes}", "add resize=WxH")
            labels = np.array([label for _, label in batch]) if self._labelled else None
            yield {self._spec.name: np.stack(images)}, labels


def scan_folder(folder: Path) -> tuple[list[list[Path]], list[Path], int]:
    """Return the images of each sub-folder (at any depth), those of the folder itself, and how many files are none."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    in_classes = [
        sorted(path for path in entry.rglob("*") if path.is_file() and not path.name.startswith("."))
        for entry in entries
        if entry.is_dir()
    ]
    files = [entry for entry in entries if entry.is_file()]
    classes = [[path for path in paths if _is_image(path)] for paths in in_classes]
    images = [path for path in files if _is_image(path)]
    others = sum(map(len, in_classes)) + len(files) - sum(map(len, classes)) - len(images)
    return (classes if any(classes) else []), images, others


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _left_out(files: int, folder: Path) -> tuple[Note, ...]:
    if not files:
        return ()
    what = "1 file that is no image of a class is" if files == 1 else f"{files} files that are no images of a class are"
    return (skipped(f"{what} left out", str(folder)),)
