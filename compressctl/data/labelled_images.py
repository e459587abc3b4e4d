"""Images whose labels are boxes or masks; decoded batch by batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from compressctl.arrays import Array
from compressctl.data.annotations import Annotated, is_coco, is_voc, is_yolo, read_annotations
from compressctl.data.boxes import Truth, pack
from compressctl.data.files import without_broken
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.preprocess import SUFFIXES, read_preprocess
from compressctl.data.source import Feeds
from compressctl.errors import DataError
from compressctl.tensorspec import TensorSpec


class _LabelledImages(NamedSource):
    """Images, each with labels of its own; those of one size, one after another, make a batch."""

    library, extra = "pillow", "images"

    def __init__(self, notation: Notation, inputs: Sequence[TensorSpec]) -> None:
        super().__init__(notation.text, inputs)
        self._spec = self._one_input()
        self._preprocess = read_preprocess(notation.options, self._spec)
        skip = notation.options.size("skip_broken")
        images = self._find(notation)
        notation.options.finish()
        chosen = list(notation.select(len(images)))
        self._images = images
        if skip is not None:
            chosen, self.notes = without_broken(chosen, self._load, skip, notation.text)
        self._chosen = chosen

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request.inputs)

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def has_labels(self) -> bool:
        """All have."""
        return True

    @abstractmethod
    def _find(self, notation: Notation) -> list[Path]:
        """Return the images, and read the options that say where they are."""

    @abstractmethod
    def _load(self, number: int) -> tuple[Array, Array | Truth]:
        """Read an image by its number, with its label.

        Raises:
            DataError: it cannot be read, or the label does not fit.
        """

    @abstractmethod
    def _labels(self, labels: list[Array | Truth]) -> Array:
        """Return the labels of a batch."""

    def _row_name(self, row: int) -> str:
        return str(self._images[self._chosen[row]])

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        images: list[Array] = []
        labels: list[Array | Truth] = []
        for number in self._chosen:
            image, label = self._load(number)
            if len(images) == size or (images and image.shape != images[0].shape):
                yield {self._spec.name: np.stack(images)}, self._labels(labels)
                images, labels = [], []
            images.append(image)
            labels.append(label)
        yield {self._spec.name: np.stack(images)}, self._labels(labels)


class BoxesSource(_LabelledImages):
    """Images with boxes: COCO's .json, a folder or data.yaml as Ultralytics has it, a folder as Pascal VOC's.

    Labels are as `data.boxes` lays them out, in pixels of the images as they came.

    Raises:
        DataError: a file is missing or damaged, a box lies outside its image, or the model's input takes no images.
        UsageError: an option has a bad value or is unknown.
    """

    named = "images with boxes (COCO .json, YOLO, Pascal VOC)"
    reads = "labels of boxes"
    file_options = ("images",)

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Return whether it is one of them."""
        return is_coco(path) or is_yolo(path) or is_voc(path)

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return the images and the files of their labels."""
        found = read_annotations(notation)
        labels = dict.fromkeys(Path(one.where) for one in found)
        own = [Path(notation.source)] if Path(notation.source).is_file() else []
        return [(-1, path) for path in (*own, *(one.image for one in found), *(p for p in labels if p.exists()))]

    def _find(self, notation: Notation) -> list[Path]:
        self._annotated: list[Annotated] = read_annotations(notation)
        self._most = max(len(one.boxes) for one in self._annotated)
        return [one.image for one in self._annotated]

    def _load(self, number: int) -> tuple[Array, Array | Truth]:
        one = self._annotated[number]
        image, frame = self._preprocess.load_framed(one.image)
        return image, Truth(frame, one.in_pixels(frame.image))

    def _labels(self, labels: list[Array | Truth]) -> Array:
        return pack([label for label in labels if isinstance(label, Truth)], self._most)


class MaskFolder(_LabelledImages):
    """A folder of images/ and masks/, matched by name: a mask's numbers are classes of the pixels of its image.

    Labels are [N, height, width] of the model's input; -1 where nothing is judged: values of `ignore` (255 unless
    said), and what fills the input beside the image.

    Raises:
        DataError: an image has no mask, a mask no image, a file is damaged or of another size.
        UsageError: an option has a bad value or is unknown.
    """

    named = "images with masks"
    reads = "a folder of images/ and masks/"

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Return whether it has both folders."""
        return (path / "images").is_dir() and (path / "masks").is_dir()

    @classmethod
    def files(cls, notation: Notation) -> list[tuple[int, Path]]:
        """Return images and masks."""
        return [(-1, path) for pair in _pairs(Path(notation.source)) for path in pair]

    def _find(self, notation: Notation) -> list[Path]:
        ignore = notation.options.natural("ignore")
        self._ignore = 255 if ignore is None else ignore
        pairs = _pairs(Path(notation.source))
        self._masks = [mask for _, mask in pairs]
        return [image for image, _ in pairs]

    def _load(self, number: int) -> tuple[Array, Array | Truth]:
        image, frame = self._preprocess.load_framed(self._images[number])
        mask = self._preprocess.load_mask(self._masks[number], frame, outside=-1)
        return image, np.where(mask == self._ignore, np.int16(-1), mask)

    def _labels(self, labels: list[Array | Truth]) -> Array:
        return np.stack([label for label in labels if isinstance(label, np.ndarray)])


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return images and their masks in the order of their names."""
    images, masks = (_by_stem(folder / part) for part in ("images", "masks"))
    for name, image in images.items():
        if name not in masks:
            raise DataError(f"{image} has no mask: there is no {folder / 'masks' / name}.png")
    for name, mask in masks.items():
        if name not in images:
            raise DataError(f"{mask} is a mask of an image that does not exist", "remove it, or add the image")
    if not images:
        raise DataError(f"no images found in {folder / 'images'}")
    return [(images[name], masks[name]) for name in images]


def _by_stem(folder: Path) -> dict[str, Path]:
    try:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    return {str(path.relative_to(folder).with_suffix("")): path for path in found if not path.name.startswith(".")}
