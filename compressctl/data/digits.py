"""scikit-learn's 1,797 handwritten digits, 8x8 pixels in [0, 1] (the test set of UCI's optdigits)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from compressctl.arrays import Array, Floats32, Integers
from compressctl.data.fit import check
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds
from compressctl.errors import DataError, MissingExtraError, UsageError
from compressctl.tensorspec import TensorSpec

PIXELS = 64
TEST_EVERY = 5
_USUAL_SHAPES: tuple[tuple[int, ...], ...] = ((64,), (8, 8), (1, 8, 8), (8, 8, 1))


class DigitsSource(NamedSource):
    """`digits`, `digits:train` or `digits:test`: row i of the data set is held out for testing where i % 5 == 0.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        UsageError: an unknown split or option.
        DataError: the model's input does not take 64 values a sample.
    """

    scheme = named = "digits"
    library, extra = "scikit-learn", "digits"

    def __init__(self, notation: Notation, split: str, inputs: Sequence[TensorSpec]) -> None:
        if split not in ("", "train", "test"):
            raise UsageError(
                f"data {notation.text!r}: the digits have no split {split!r}", "digits:train or digits:test"
            )
        notation.options.finish()
        super().__init__(notation.text, inputs)
        self._spec = self._one_input()
        shape = _sample_shape(self._spec)
        check((1, *shape), np.dtype(np.float32), self._spec, notation.text)
        images, labels = load_digit_images()
        row = np.arange(len(labels))
        in_split = {"": row >= 0, "train": row % TEST_EVERY != 0, "test": row % TEST_EVERY == 0}[split]
        chosen = notation.select(int(in_split.sum()))
        taken = slice(chosen.start, chosen.stop, chosen.step)
        self._images = images[in_split][taken].reshape(-1, *shape)
        self._digits = labels[in_split][taken]

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, notation.rest, request.inputs)

    def __len__(self) -> int:
        return len(self._digits)

    @property
    def has_labels(self) -> bool:
        """Every image has its digit."""
        return True

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield {self._spec.name: self._images[rows]}, self._digits[rows]


def load_digit_images() -> tuple[Floats32, Integers]:
    """Return the images [1797, 64] with pixels in [0, 1], and the digits that they show [1797].

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("the digits data", "digits") from None
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), labels.astype(np.int64)


def _sample_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Shape 64 values as the input wants them: its fixed dimensions are kept, a dynamic one is filled in."""
    dims = spec.shape[1:]
    for shape in _USUAL_SHAPES:
        if len(shape) == len(dims) and all(d == s or not isinstance(d, int) for d, s in zip(dims, shape, strict=True)):
            return shape
    fixed = math.prod(dim for dim in dims if isinstance(dim, int))
    dynamic = sum(not isinstance(dim, int) for dim in dims)
    if fixed == PIXELS or (dynamic == 1 and fixed and PIXELS % fixed == 0):
        return tuple(dim if isinstance(dim, int) else PIXELS // fixed for dim in dims)
    raise DataError(f"the digits have {PIXELS} values a sample, which do not fill the model's input {spec}")
