"""k-means of weighted points on the line: exactly where that is quick, else from the exact solution of merged points.

A cluster is an interval of the sorted points, and the best last cluster of the first i points begins no later than that
of the first i + 1; so dynamic programming with divide and conquer finds the optimum in O(k n log n).

Sources: Wang and Song 2011, "Ckmeans.1d.dp: Optimal k-means Clustering in One Dimension by Dynamic Programming";
Grønlund et al. 2017 (arXiv:1701.07204), divide and conquer; Lloyd 1982, "Least squares quantization in PCM".
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Bytes, Floats, Integers32
from compressctl.numerics.points import Points

_QUICK = 2**21  # points times clusters that are solved exactly: about a second
_STEPS = 10_000  # of Lloyd's algorithm, each of microseconds


def kmeans(points: Points, clusters: int) -> Floats:
    """Return the centroids, ascending, of least weighted squared error; all values where they are no more.

    The error is the least possible where points times clusters are at most 2^21, else that of a local optimum close
    to it.
    """
    if len(points) <= clusters:
        return points.values
    if len(points) * clusters <= _QUICK:
        return optimal(points, clusters)
    return lloyd(points, optimal(points.merged(_QUICK // clusters), clusters))


def optimal(points: Points, clusters: int) -> Floats:
    """Return the centroids of least error, by dynamic programming; there are more points than clusters."""
    mean, weights, sums = _prefixes(points)
    count = len(points)
    # costs[i]: least error of the first i points, less the sum of their squares
    costs = np.append(0.0, -(sums[1:] ** 2) / weights[1:])
    starts = []  # of the last cluster of the first i points, by how many clusters came before it
    for before in range(1, clusters):
        costs, start = _add_cluster(costs, weights, sums, before)
        starts.append(start)
    borders = [count]
    for start in reversed(starts):
        borders.append(int(start[borders[-1]]))
    edges = np.array([0, *reversed(borders)])
    centroids: Floats = mean + np.diff(sums[edges]) / np.diff(weights[edges])
    return centroids


def lloyd(points: Points, start: Array) -> Floats:
    """Return the centroids to which Lloyd's algorithm moves those of `start`, ascending; no step is worse."""
    mean, weights, sums = _prefixes(points)
    values, centroids = points.values - mean, np.sort(start.astype(np.float64)) - mean
    before = None
    for _ in range(_STEPS):
        edges = np.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2)
        if before is not None and np.array_equal(edges, before):
            break
        before = edges
        edges = np.concatenate([[0], edges, [len(values)]])
        held = np.diff(weights[edges])
        centroids = np.divide(np.diff(sums[edges]), held, out=centroids, where=held > 0)
    return mean + centroids


def nearest(values: Array, centroids: Array) -> Bytes:
    """Return the number of the nearest of at most 256 ascending centroids for each value, of the values' shape."""
    borders = ((centroids[1:].astype(np.float64) + centroids[:-1]) / 2).astype(values.dtype)
    return np.searchsorted(borders, values).astype(np.uint8)


def _prefixes(points: Points) -> tuple[float, Floats, Floats]:
    """Return the mean, and the sums of the first 0, 1, … weights and of them times the deviations from the mean."""
    mean = float(np.average(points.values, weights=points.weights))
    products = points.weights * (points.values - mean)
    return mean, np.append(0.0, np.cumsum(points.weights)), np.append(0.0, np.cumsum(products))


def _add_cluster(costs: Floats, weights: Floats, sums: Floats, before: int) -> tuple[Floats, Integers32]:
    """Return the least costs of the first i points with one cluster more, and where that one starts.

    Every second, fourth, … number of points is solved before those between, for which only the starts between theirs
    are left: all numbers of one level are looked at at once.
    """
    count = len(costs) - 1
    result = np.full(count + 1, np.inf)
    start = np.full(count + 1, before, np.int32)
    step = 1 << (count - before).bit_length()
    while step:
        ends = np.arange(before + step, count + 1, 2 * step)
        if len(ends):
            lows = start[ends - step].astype(np.int64)
            highs = np.minimum(np.where(ends + step <= count, start[np.minimum(ends + step, count)], count), ends - 1)
            sizes = highs - lows + 1
            firsts = np.cumsum(sizes) - sizes
            tried = np.arange(sizes.sum()) + np.repeat(lows - firsts, sizes)
            found = np.repeat(sums[ends], sizes) - sums[tried]
            found *= found
            found /= np.repeat(weights[ends], sizes) - weights[tried]
            np.subtract(costs[tried], found, out=found)
            result[ends] = np.minimum.reduceat(found, firsts)
            hits = np.flatnonzero(found == np.repeat(result[ends], sizes))
            start[ends] = tried[hits[np.searchsorted(hits, firsts)]]
        step //= 2
    return result, start
