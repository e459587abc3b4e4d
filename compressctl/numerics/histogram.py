"""A histogram that streams: its range grows as values arrive, two of them merge exactly, its memory is fixed."""

from __future__ import annotations

import math

import numpy as np

from compressctl.arrays import Array, Floats, Integers

BINS = 4096
_FINEST = -148  # bins of 2**-148: no two float32 are closer than 2**-149
_CHUNK = 16_384  # the temporaries of as many values stay in the cache and in reused memory: 3 times faster


class Histogram:
    """Counts of values in `BINS` bins of width 2**exponent, whose edges are integer multiples of the width.

    The bins cover 0, all values seen and the ends given to `cover`. When a value falls outside, pairs of bins join and
    the width doubles. All histograms share one grid, so the counts depend on the values only: not on their order, and
    not on how they were split over histograms before a merge. Exact zeros, the spike that Relu leaves, are counted
    apart and are in no bin.

    Attributes:
        low: smallest value seen or covered, +inf at the start.
        high: largest value seen or covered, -inf at the start.
        zeros: how many values were exactly 0.
        counts: int64 [BINS]; bin i counts values v != 0 with edges[i] <= v < edges[i + 1].
    """

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.zeros = 0
        self.counts: Integers = np.zeros(BINS, np.int64)
        self._exponent = _FINEST
        self._first = 0  # the lowest edge, in widths

    @property
    def total(self) -> int:
        """How many values were counted, zeros included."""
        return self.zeros + int(self.counts.sum())

    @property
    def width(self) -> float:
        """The width of a bin."""
        return math.ldexp(1.0, self._exponent)

    @property
    def edges(self) -> Floats:
        """The edges of the bins, float64 [BINS + 1]; one of them is 0."""
        return np.arange(self._first, self._first + BINS + 1, dtype=np.float64) * np.float64(self.width)

    def cover(self, low: float, high: float) -> None:
        """Widen the range to [low, high]: ends that are known to occur, in values that are not counted here.

        Raises:
            ValueError: an end is NaN or infinite.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("a histogram counts finite values only")
        self.low, self.high = min(self.low, low), max(self.high, high)
        grid = _grid(min(self.low, 0.0), max(self.high, 0.0))
        if grid != (self._exponent, self._first):
            self.counts = _rebinned(self.counts, (self._exponent, self._first), grid)
            self._exponent, self._first = grid

    def update(self, values: Array) -> None:
        """Count `values`, of any shape.

        Raises:
            ValueError: a value is NaN or infinite.
        """
        if values.size == 0:
            return
        values = values.reshape(-1)
        self.cover(float(values.min()), float(values.max()))
        per_width = math.ldexp(1.0, -self._exponent)
        for start in range(0, values.size, _CHUNK):
            chunk = values[start : start + _CHUNK]
            # A product with a power of two is exact in float64, so a value's bin does not depend on when it came.
            widths = np.multiply(chunk, per_width, dtype=np.float64)
            bins = np.floor(widths, out=widths).astype(np.int64)
            bins -= self._first
            self.counts += np.bincount(bins, minlength=BINS)
            zeros = int(np.count_nonzero(chunk == 0))
            self.zeros += zeros
            self.counts[-self._first] -= zeros


def _grid(low: float, high: float) -> tuple[int, int]:
    """Return the exponent of the smallest width, and the first bin's index, of a grid that covers [low, high]."""
    exponent = _FINEST if low == high else max(math.frexp(high - low)[1] - BINS.bit_length(), _FINEST)
    while math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= BINS:
        exponent += 1
    return exponent, math.floor(math.ldexp(low, -exponent))


def _rebinned(counts: Integers, old: tuple[int, int], new: tuple[int, int]) -> Integers:
    """Move the counts of a grid to a grid that is as coarse or coarser, and covers them; both are (exponent, first)."""
    result = np.zeros_like(counts)
    used = np.flatnonzero(counts)
    np.add.at(result, ((used + old[1]) >> (new[0] - old[0])) - new[1], counts[used])
    return result
