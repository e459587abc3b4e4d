"""Points on the line with weights, as clustering sees many numbers: each distinct one once, or fine bins of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Floats, Floats32
from compressctl.numerics.parallel import by_rows

_DROPPED = 12  # bits of 32
_PIECE = 1 << 22  # elements counted at once
_FEW = 1 << 17
_BINS = 1 << (32 - _DROPPED)


@dataclass(frozen=True, eq=False)
class Points:
    """Distinct points.

    Attributes:
        values: [n], ascending.
        weights: [n], each above 0.
    """

    values: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.values)

    def without_zero(self) -> Points:
        """Return the points other than 0."""
        kept = self.values != 0
        return Points(self.values[kept], self.weights[kept])

    def merged(self, count: int) -> Points:
        """Return at most `count` points, and about as many, each the mean of neighbours.

        Their density is the cube root of that of the weight, as for the centroids of many clusters (Panter and Dite
        1951), so that neither a far outlier nor a peak is merged with much else.
        """
        gaps = np.diff(self.values, prepend=self.values[0], append=self.values[-1])
        room = (gaps[1:] + gaps[:-1]) / 2
        places = np.cumsum(np.cbrt(self.weights * room**2))
        bins = np.minimum(places / places[-1] * count, count - 1).astype(np.int64)
        weights, sums = _sums(bins, self.weights, count), _sums(bins, self.weights * self.values, count)
        return Points(sums[weights > 0] / weights[weights > 0], weights[weights > 0])


def distinct_points(values: Array, weights: Array | None = None) -> Points:
    """Return the distinct values, each with the number of times it occurs, or with the sum of its weights.

    Args:
        values: finite, of any shape.
        weights: of its shape, at least 0; values whose weights sum to 0 are left out. None: 1 each.
    """
    if weights is None:
        found, counts = np.unique(values, return_counts=True)
        return Points(found.astype(np.float64), counts.astype(np.float64))
    found, inverse = np.unique(values, return_inverse=True)
    sums = _sums(inverse.reshape(-1), weights.reshape(-1), len(found))
    return Points(found[sums > 0].astype(np.float64), sums[sums > 0])


class Bins:
    """Bins of the first 20 bits of a float32: at most 2^-11 of a value wide, which keep sum and weight exactly.

    For more numbers than are quick to sort. No border between clusters lies within a bin, which costs 256 clusters
    about 1e-4 of their error.
    """

    def __init__(self) -> None:
        self._weights, self._sums = np.zeros(_BINS), np.zeros(_BINS)

    def add(self, values: Floats32, weights: Array | None = None) -> None:
        """Count values, and their weights, of one shape."""
        flat, heavy = values.reshape(-1), None if weights is None else weights.reshape(-1)

        def count(piece: slice) -> tuple[Floats, Floats]:
            part = slice(piece.start * _PIECE, piece.stop * _PIECE)
            bits = flat[part].view(np.uint32)
            ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))  # as the floats are
            keys = (ordered >> _DROPPED).astype(np.int64)
            if heavy is None:
                return np.bincount(keys, minlength=_BINS).astype(np.float64), _sums(keys, flat[part], _BINS)
            products = np.multiply(flat[part], heavy[part], dtype=np.float64)
            return _sums(keys, heavy[part], _BINS), _sums(keys, products, _BINS)

        for held, sums in by_rows(count, -(-flat.size // _PIECE), _PIECE):
            self._weights += held
            self._sums += sums

    def points(self) -> Points:
        """Return the means of the bins that have weight."""
        found = np.flatnonzero(self._weights > 0)
        return Points(self._sums[found] / self._weights[found], self._weights[found])


def collect(parts: Iterable[tuple[Floats32, Array | None]], total: int) -> Points:
    """Return the points of values with their weights (None: 1 each): distinct ones of few values, bins of many.

    Args:
        parts: C-contiguous arrays.
        total: elements in all parts; up to 131,072 are few.
    """
    if total > _FEW:
        bins = Bins()
        for values, weights in parts:
            bins.add(values, weights)
        return bins.points()
    listed = [(v.reshape(-1), np.ones(v.size) if w is None else w.reshape(-1)) for v, w in parts]
    values, weights = (np.concatenate(arrays) for arrays in zip(*listed, strict=True))
    return distinct_points(values, weights)


def _sums(bins: Array, terms: Array, count: int) -> Floats:
    """Return the sum of the terms in each of `count` bins."""
    return np.bincount(bins, terms, count).astype(np.float64, copy=False)
