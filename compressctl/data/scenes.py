"""Scenes of scikit-learn's handwritten digits: some of them, of several sizes, on a dark canvas of 64x64 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from compressctl.arrays import Array, Floats, Floats32, Integers
from compressctl.data.boxes import Frame, Truth, pack
from compressctl.data.digits import TEST_EVERY, load_digit_images
from compressctl.data.fit import check
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds
from compressctl.errors import UsageError
from compressctl.numerics.resize import resized

SIDE = 64
MOST = 5
"""Digits of a scene at most."""

_SIZES = (12, 25)  # pixels of a digit's square: from, to below
_SPLITS = {"train": 800, "test": 200}  # scenes of each
_TRIES = 50  # places drawn for a digit before it is left out
_INK = 0.25  # of white, from which on a pixel is the digit's


class ScenesSource(NamedSource):
    """`scenes:train` (800) or `scenes:test` (200): digits of that split alone, each scene drawn by its number.

    Labels are boxes of digits (see `data.boxes`), or with `labels=masks` classes of pixels [N, 64, 64]: 0 is the
    canvas, 1 + d the digit d.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        UsageError: an unknown split or option.
        DataError: the model's input does not take images [N, 1, 64, 64].
    """

    scheme = named = "scenes"
    library, extra = "scikit-learn", "digits"

    def __init__(self, notation: Notation, request: Request) -> None:
        split = notation.rest or "test"
        if split not in _SPLITS:
            raise UsageError(f"data {notation.text!r}: scenes have no split {split!r}", "scenes:train or scenes:test")
        self._masks = notation.options.choice("labels", ("boxes", "masks")) == "masks"
        notation.options.finish()
        super().__init__(notation.text, request.inputs)
        self._spec = self._one_input()
        check((1, 1, SIDE, SIDE), np.dtype(np.float32), self._spec, notation.text)
        self._digits, self._split = split_digits(split), list(_SPLITS).index(split)
        self._rows = notation.select(_SPLITS[split])

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_labels(self) -> bool:
        """Every scene has its digits."""
        return True

    def _row_name(self, row: int) -> str:
        return f"scene {self._rows[row]}"

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        for start in range(0, len(self), size):
            drawn = [
                draw_scene(*self._digits, seed=(self._split, number)) for number in self._rows[start : start + size]
            ]
            images = np.stack([image for image, _, _ in drawn])[:, None]
            frame = Frame((SIDE, SIDE), (SIDE, SIDE))
            masks = np.stack([mask for _, mask, _ in drawn])
            yield (
                {self._spec.name: images},
                masks if self._masks else pack([Truth(frame, boxes) for _, _, boxes in drawn], MOST),
            )


def split_digits(split: str) -> tuple[Floats32, Integers]:
    """Return the digits that the scenes of a split are made of: [N, 8, 8] in 0..1, and [N].

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    images, digits = load_digit_images()
    held = np.arange(len(digits)) % TEST_EVERY == 0
    chosen = held if split == "test" else ~held
    return images[chosen].reshape(-1, 8, 8), digits[chosen]


def draw_scene(images: Floats32, digits: Integers, seed: Sequence[int]) -> tuple[Floats32, Array, Floats]:
    """Draw a scene of 1 to 5 of these digits, which do not overlap, in grey noise.

    Args:
        images: [N, 8, 8] in 0..1.
        digits: [N].
        seed: numbers that decide what is drawn.

    Returns:
        The image [64, 64] in 0..1; the class of each pixel, int16 [64, 64]; the boxes [K, 6], see `data.boxes`.
    """
    rng = np.random.default_rng(seed)
    canvas, mask = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.int16)
    boxes: list[tuple[float, ...]] = []
    for _ in range(rng.integers(1, MOST + 1)):
        row, side = rng.integers(len(digits)), int(rng.integers(*_SIZES))
        for _ in range(_TRIES):
            top, left = rng.integers(0, SIDE - side + 1, 2)
            place = np.s_[top : top + side, left : left + side]
            if not mask[place].any():
                break
        else:
            continue
        drawn = resized(images[row][None, None], (side, side))[0, 0] * rng.uniform(0.6, 1.0)
        ink = drawn >= _INK
        down, across = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
        canvas[place] = np.maximum(canvas[place], drawn)
        mask[place] = np.where(ink, 1 + digits[row], mask[place])
        edges = (left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1)
        boxes.append((digits[row], *edges, 0))
    noise = rng.uniform(0, 0.1, canvas.shape).astype(np.float32)
    return np.clip(canvas + noise, 0, 1), mask, np.array(boxes, np.float64).reshape(-1, 6)
