"""Product quantization: vectors of a few weights that lie side by side share one codebook of at most 256 vectors.

Where weights count differently, the distance of a vector w to a centroid c is sum_j h_j (w_j - c_j)², which for the
mean squares h of what the weights multiply is the error of the layer's output, correlations aside.

Sources: Jégou et al. 2011, "Product Quantization for Nearest Neighbor Search"; Stock et al. 2020, "And the Bit Goes
Down" (arXiv:1907.05686), section 3.2, for distances weighted by activations; Arthur and Vassilvitskii 2007, k-means++.
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Bytes, Floats32
from compressctl.numerics.parallel import by_rows

_SAMPLE = 256  # rows a cluster are enough to place it
_STEPS = 50  # of Lloyd's algorithm


def train_codebook(
    rows: Floats32, clusters: int, weights: Array | None = None, *, seed: int = 0, steps: int = _STEPS
) -> Floats32:
    """Return [clusters, d] centroids: k-means++ and Lloyd's algorithm on some rows, and their means over all rows.

    Args:
        rows: [n, d], finite; more distinct ones than clusters.
        clusters: 2 to 256.
        weights: [n, d], at least 0; None: all count the same.
        seed: of the rows that are looked at, and of k-means++.
        steps: of Lloyd's algorithm, at most.
    """
    rng = np.random.default_rng(seed)
    some, heavy = rows, weights
    if len(rows) > _SAMPLE * clusters:
        chosen = np.sort(rng.choice(len(rows), _SAMPLE * clusters, replace=False))
        some, heavy = rows[chosen], None if weights is None else weights[chosen]
    book = _spread_out(some, clusters, heavy, rng)
    codes = None
    for _ in range(steps):
        before, codes = codes, nearest_rows(some, book, heavy)
        if before is not None and np.array_equal(before, codes):
            break
        book = _refilled(means(some, codes, book, heavy), some, codes, clusters)
    return book if some is rows else means(rows, nearest_rows(rows, book, weights), book, weights)


def nearest_rows(rows: Floats32, book: Floats32, weights: Array | None = None) -> Bytes:
    """Return the number [n] of the nearest centroid for each row."""
    codes = np.empty(len(rows), np.uint8)
    squares = np.square(book)

    def find(piece: slice) -> None:
        if weights is None:
            distances = squares.sum(axis=1) - 2 * (rows[piece] @ book.T)
        else:
            heavy = weights[piece].astype(np.float32)
            distances = heavy @ squares.T - 2 * ((heavy * rows[piece]) @ book.T)
        codes[piece] = distances.argmin(axis=1)

    by_rows(find, len(rows), len(book))
    return codes


def means(rows: Floats32, codes: Bytes, book: Floats32, weights: Array | None = None) -> Floats32:
    """Return the means of the rows of each cluster; what no weight reaches stays as `book` has it."""
    result = np.empty(book.shape)
    for column in range(book.shape[1]):
        values, heavy = rows[:, column], None if weights is None else weights[:, column]
        held = np.bincount(codes, heavy, len(book))
        sums = np.bincount(codes, values if heavy is None else heavy * values, len(book))
        result[:, column] = np.divide(sums, held, out=book[:, column].astype(np.float64), where=held > 0)
    return result.astype(np.float32)


def _spread_out(rows: Floats32, clusters: int, weights: Array | None, rng: np.random.Generator) -> Floats32:
    """Return rows drawn one after the other, each with the probability of its distance to the nearest so far."""
    heavy = np.ones((1, rows.shape[1])) if weights is None else weights
    total = heavy.sum(axis=1) * np.ones(len(rows))
    book = [rows[rng.choice(len(rows), p=total / total.sum()) if total.any() else 0]]
    distances = np.full(len(rows), np.inf)
    for _ in range(clusters - 1):
        np.minimum(distances, (heavy * np.square(rows - book[-1])).sum(axis=1), out=distances)
        places = np.cumsum(distances)
        book.append(rows[min(int(np.searchsorted(places, rng.random() * places[-1], "right")), len(rows) - 1)])
    return np.array(book)


def _refilled(book: Floats32, rows: Floats32, codes: Bytes, clusters: int) -> Floats32:
    """Move the centroids of empty clusters to the rows that are farthest from theirs."""
    empty = np.flatnonzero(np.bincount(codes, minlength=clusters) == 0)
    if len(empty):
        far = np.square(rows - book[codes]).sum(axis=1)
        book[empty] = rows[np.argsort(-far, kind="stable")[: len(empty)]]
    return book
