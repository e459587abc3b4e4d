"""Which range of an activation to spread 256 integers over: clip its tail, or represent it coarsely.

Each method maps a histogram to (low, high) with low <= 0 <= high, inside the range of what was seen (and 0).
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Floats, Integers
from compressctl.choices import RangeMethod
from compressctl.numerics.histogram import Histogram
from compressctl.numerics.qparams import affine, dequantize, quantize

Range = tuple[float, float]

LEVELS = 256
_CANDIDATES = 128  # of mse, for each end
_SMALLEST_CLIP = 1 / 64  # of the end that is clipped
_THRESHOLDS = 64  # candidates of entropy


def choose(histogram: Histogram, method: RangeMethod, *, percent: float = 99.999) -> Range:
    """Return the range that `method` picks; `percent` is for percentile only.

    All methods fall back to minmax where the histogram holds ends but no counts; nothing at all gives (0, 0). So does
    percentile where all values but zeros are so few that it might cut them all: the output of a branch that is seldom
    taken is no outlier.
    """
    if method == "minmax" or not histogram.counts.any():
        return minmax(histogram)
    if method == "percentile":
        rare = histogram.counts.sum() <= histogram.total * (100.0 - percent) / 100.0
        return minmax(histogram) if rare else percentile(histogram, percent)
    return entropy(histogram) if method == "entropy" else mse(histogram)


def minmax(histogram: Histogram) -> Range:
    """Return all that was seen, and 0."""
    return min(histogram.low, 0.0), max(histogram.high, 0.0)


def percentile(histogram: Histogram, percent: float) -> Range:
    """Return the range that keeps `percent` % of the values (zeros included), cutting as many on either side.

    The ends are exact to one bin of the histogram.
    """
    counts, edges = histogram.counts.copy(), histogram.edges
    counts[np.searchsorted(edges, 0.0)] += histogram.zeros
    cumulative = np.cumsum(counts)
    cut = cumulative[-1] * (100.0 - percent) / 200.0
    first = int(np.searchsorted(cumulative, cut, side="right"))
    last = int(np.searchsorted(cumulative, cumulative[-1] - cut, side="left"))
    low, high = minmax(histogram)
    return float(np.clip(edges[first], low, 0.0)), float(np.clip(edges[last + 1], 0.0, high))


def mse(histogram: Histogram) -> Range:
    """Return the range of least mean squared error after 8-bit rounding; both ends are searched together.

    Candidates are ranked by the usual model, step^2 / 12 for a value inside and the squared distance outside (zeros are
    exact); the best of them is then measured with the true quantizer against minmax, and the better one returned.
    """
    low, high = minmax(histogram)
    fractions = np.geomspace(_SMALLEST_CLIP, 1.0, _CANDIDATES)
    lows = low * fractions if low < 0 else np.zeros(1)
    highs = high * fractions if high > 0 else np.zeros(1)
    used, centers = _used(histogram)
    # Sums of counts, values and squares up to each end turn a candidate's cost into table look-ups.
    moments = np.zeros((3, centers.size + 1))
    np.cumsum(used * centers ** np.arange(3)[:, None], axis=1, out=moments[:, 1:])
    below = np.searchsorted(centers, lows)
    above = np.searchsorted(centers, highs)
    clipped_low = _squared_distance(moments[:, below], lows)
    clipped_high = _squared_distance(moments[:, -1:] - moments[:, above], highs)
    inside = moments[0, above][None, :] - moments[0, below][:, None]
    step = (highs[None, :] - lows[:, None]) / (LEVELS - 1)
    cost = clipped_low[:, None] + clipped_high[None, :] + inside * step**2 / 12
    i, j = np.unravel_index(int(np.argmin(cost)), cost.shape)
    best = float(lows[i]), float(highs[j])
    return min((low, high), best, key=lambda ends: squared_error(histogram, *ends))


def squared_error(histogram: Histogram, low: float, high: float) -> float:
    """Return the mean squared error of rounding the histogram's values (its bins' centers) to 8 bits in [low, high]."""
    used, centers = _used(histogram)
    values = centers.astype(np.float32)
    qparams = affine(low, high)
    error = dequantize(quantize(values, qparams), qparams).astype(np.float64) - values
    return float(used @ error**2) / max(histogram.total, 1)


def entropy(histogram: Histogram) -> Range:
    """Return the range whose 8-bit distribution diverges least (Kullback-Leibler) from the one seen.

    Source: Migacz, "8-bit Inference with TensorRT", GTC 2017, here with 256 levels over [low, high] instead of 128 over
    the absolute value: a candidate clips at -t and t, so a tail on one side does not widen the other. Exact zeros take
    no part: every candidate represents them exactly, and their spike would drown the divergence of all other values.
    """
    low, high = minmax(histogram)
    zero = int(np.searchsorted(histogram.edges, 0.0))
    used = np.flatnonzero(histogram.counts)
    if used.size <= LEVELS:  # values as discrete as the levels (pixels) lose nothing to rounding: no reason to clip
        return low, high
    reach = max(int(used[-1]) + 1 - zero, zero - int(used[0]))
    best, least = (low, high), np.inf
    # Below LEVELS bins every bin has a level of its own and rounding no longer shows.
    for clip in np.unique(np.linspace(min(LEVELS, reach), reach, _THRESHOLDS).astype(int)):
        kept = used[np.searchsorted(used, zero - clip) : np.searchsorted(used, zero + clip)]
        if kept.size == 0:
            continue
        start, stop = min(int(kept[0]), zero), max(int(kept[-1]) + 1, zero)
        divergence = _divergence(histogram.counts, start, stop)
        if divergence < least:
            least = divergence
            best = max(low, float(histogram.edges[start])), min(high, float(histogram.edges[stop]))
    return best


def _divergence(counts: Integers, start: int, stop: int) -> float:
    """KL(P || Q) of the bins [start, stop), some of which hold values.

    P has what lies outside in its outermost bins that hold values; Q spreads the values of each level, without those
    outliers, evenly over the level's bins that hold values.
    """
    inside = counts[start:stop].astype(np.float64)
    present = np.flatnonzero(inside)
    reference = inside[present]
    reference[0] += counts[:start].sum()
    reference[-1] += counts[stop:].sum()
    level = present * LEVELS // (stop - start)
    spread = np.bincount(level, inside[present], LEVELS) / np.maximum(np.bincount(level, minlength=LEVELS), 1)
    p, q = reference / reference.sum(), spread[level] / inside.sum()
    return float(p @ np.log(p / q))


def _used(histogram: Histogram) -> tuple[Floats, Floats]:
    """The counts and centers of the bins that hold values, kept inside the range seen."""
    bins = np.flatnonzero(histogram.counts)
    centers = histogram.edges[bins] + histogram.width / 2
    return histogram.counts[bins].astype(np.float64), np.clip(centers, histogram.low, histogram.high)


def _squared_distance(moments: Floats, end: Floats) -> Floats:
    """Sum of (v - end)^2 over values with these sums of 1, v and v^2."""
    distance: Floats = moments[2] - 2 * end * moments[1] + end**2 * moments[0]
    return distance
