"""The few values, or short vectors, that weights share, and putting the nearest in each weight's place.

Source: Han, Mao and Dally 2016, Deep Compression (arXiv:1510.00149), section 3. Centroids start from the optimum of
merged points, not spread evenly as there: the error of the weights is never larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressctl.arrays import Array, Floats32
from compressctl.numerics.distinct import distinct
from compressctl.numerics.kmeans import kmeans, nearest
from compressctl.numerics.parallel import by_rows
from compressctl.numerics.points import collect
from compressctl.numerics.product_quantization import nearest_rows, train_codebook

Part = tuple[Array, Array | None]
"""A weight, and what each of its elements counts; None: all the same."""


@dataclass(frozen=True, eq=False)
class Codebook:
    """The values or vectors that weights may become.

    Attributes:
        rows: float32 [k, d]; ascending where d is 1; without the vector of zeros.
        zero: whether vectors of zeros stay zero; others never become so.
    """

    rows: Floats32
    zero: bool

    def codes(self, array: Array, importance: Array | None = None) -> NDArray[np.int16]:
        """Return the number of the nearest row for each vector of an array, [vectors]; -1 for zeros that stay.

        Args:
            array: as many elements as vectors need.
            importance: of its shape, by which distances of vectors are weighted; single weights need none.
        """
        width = self.rows.shape[1]
        vectors = array.reshape(-1, width)
        heavy = None if importance is None else importance.reshape(-1, width)
        result = np.empty(len(vectors), np.int16)

        def find(piece: slice) -> None:
            floats = vectors[piece].astype(np.float32, copy=False)
            if width == 1:
                result[piece] = nearest(floats[:, 0], self.rows[:, 0])
            else:
                result[piece] = nearest_rows(floats, self.rows, None if heavy is None else heavy[piece])
            if self.zero:
                result[piece][~floats.any(axis=1)] = -1

        by_rows(find, len(vectors), width)
        return result

    def nearest(self, array: Array, importance: Array | None = None) -> Array:
        """Return an array of the same shape and type with the nearest row in the place of each vector; see `codes`."""
        values = np.append(self.rows, np.zeros((1, self.rows.shape[1]), np.float32), axis=0).astype(array.dtype)
        return values[self.codes(array, importance)].reshape(array.shape)


def fit_codebook(parts: Callable[[], Iterable[Part]], clusters: int, *, vector: int = 1, seed: int = 0) -> Codebook:
    """Return at most `clusters` centroids, the zeros among them where some vectors are zero.

    Args:
        parts: gives the weights that share the codebook; finite, with more distinct vectors than clusters.
        clusters: 2 to 256.
        vector: elements of a vector, by which each weight's size can be divided.
        seed: of vectors' centroids.
    """
    if vector == 1:
        singles = [(array.size, int(np.count_nonzero(array))) for array, _ in parts()]
        total, used = (sum(numbers) for numbers in zip(*singles, strict=True))
        points = collect(((array.astype(np.float32, copy=False), heavy) for array, heavy in parts()), total)
        zero = used < total
        values = kmeans(points.without_zero() if zero else points, clusters - zero)
        return Codebook(values.astype(np.float32)[:, None], zero)
    listed = [(array.astype(np.float32, copy=False), heavy) for array, heavy in parts()]
    rows, importance = _vectors([array for array, _ in listed], vector), None
    if any(heavy is not None for _, heavy in listed):
        weighed = [np.ones(array.shape, np.float32) if heavy is None else heavy for array, heavy in listed]
        importance = _vectors(weighed, vector)
    kept = rows.any(axis=1)
    zero = not bool(kept.all())
    if zero:
        rows, importance = rows[kept], None if importance is None else importance[kept]
    found = distinct(rows)
    if found is not None and len(found.values) <= clusters - zero:
        return Codebook(found.values, zero)
    return Codebook(train_codebook(rows, clusters - zero, importance, seed=seed), zero)


def _vectors(arrays: Sequence[Array], width: int) -> Array:
    """Return the vectors of all arrays; those of one are not copied."""
    rows = [array.reshape(-1, width) for array in arrays]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)
