"""Which weights become zero, from a score each: below a threshold, a share, or N of M; and how a share grows.

Masks are True where a weight becomes zero. Among equal scores the first in C order goes first.

Sources: Han et al. 2015 (arXiv:1506.02626), thresholds; Mishra et al. 2021 (arXiv:2104.08378), N:M; Zhu and Gupta 2017
(arXiv:1710.01878), the cubic schedule.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from compressctl.arrays import Array, Floats, Integers, Mask

_PIECE = 1 << 20  # scores that are looked at together
_DROPPED = np.uint64(46)  # bits of 64: what is left tells scores apart to 2^-6 of them
_BINS = 1 << 18


def smallest(scores: Array, count: int) -> Mask:
    """Return the mask of the `count` smallest scores; all of them where there are no more."""
    flat = scores.reshape(-1)
    mask = np.zeros(flat.size, bool)
    if count >= flat.size:
        mask[:] = True
    elif count > 0:
        limit = np.partition(flat, count - 1)[count - 1]
        mask = flat < limit
        mask[np.flatnonzero(flat == limit)[: count - int(mask.sum())]] = True
    return mask.reshape(scores.shape)


def share(scores: Array, ratio: float) -> Mask:
    """Return the mask of the smallest scores, a share `ratio` of them, rounded to the nearest number."""
    return smallest(scores, round(ratio * scores.size))


def shares(scores: Collection[Array], ratio: float) -> Iterator[Mask]:
    """Yield the masks of the smallest scores of several arrays, a share `ratio` of them all together.

    Args:
        scores: gone through three times, no two arrays held at once.
        ratio: rounded to the nearest number of scores.
    """
    limit, left = _limit(scores, ratio)
    for one in scores:
        flat = one.reshape(-1)
        mask = flat < limit
        ties = np.flatnonzero(flat == limit)[:left]
        mask[ties] = True
        left -= len(ties)
        yield mask.reshape(one.shape)


def _limit(scores: Collection[Array], ratio: float) -> tuple[float, int]:
    """Return the largest score that goes, and how many of those equal to it do."""
    counts = np.zeros(_BINS, np.int64)
    for keys, _ in _keyed(scores):
        counts += np.bincount(keys, minlength=_BINS)
    wanted = round(ratio * int(counts.sum()))
    if wanted == 0:
        return -math.inf, 0
    ends = np.cumsum(counts)
    bin_ = int(np.searchsorted(ends, wanted))
    found = [np.unique(piece[keys == bin_], return_counts=True) for keys, piece in _keyed(scores)]
    values, inverse = np.unique(np.concatenate([values for values, _ in found]), return_inverse=True)
    times = np.bincount(inverse, np.concatenate([times for _, times in found]))
    below = int(ends[bin_] - counts[bin_])
    last = int(np.searchsorted(below + np.cumsum(times), wanted))
    return float(values[last]), wanted - below - int(times[:last].sum())


def _keyed(scores: Iterable[Array]) -> Iterator[tuple[Integers, Floats]]:
    """Yield scores piece by piece, and of each its first bits, as a number that grows with it."""
    for one in scores:
        flat = one.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE].astype(np.float64) + 0.0  # no zero below 0
            bits = piece.view(np.int64)
            ordered = np.where(bits < 0, ~bits, bits | np.int64(-1 << 63)).view(np.uint64)
            yield (ordered >> _DROPPED).astype(np.int64), piece


def n_of_m(scores: Array, n: int, m: int) -> Mask:
    """Return the mask that leaves the `n` largest of every `m` consecutive scores along the last axis.

    Raises:
        ValueError: the last axis is no multiple of `m`.
    """
    if scores.shape[-1] % m:
        raise ValueError(f"{scores.shape[-1]} scores are no multiple of {m}")
    order = np.argsort(scores.reshape(-1, m), axis=1, kind="stable")
    mask = np.zeros(order.shape, bool)
    np.put_along_axis(mask, order[:, : m - n], True, axis=1)
    return mask.reshape(scores.shape)


def layer_adaptive(weight: Array) -> Floats:
    """Return w² over the sum of it and of all larger squares: ranks as |w| does, and compares between layers.

    It is the share that a weight has in the energy of what is left just before it goes. The largest weight scores 1
    whatever the layer's scale, so that no layer is emptied. Source: LAMP, Lee et al. 2021 (arXiv:2010.07611).
    """
    flat = np.abs(weight).reshape(-1)
    order = np.argsort(flat, kind="stable")[::-1]
    squares = np.square(flat[order], dtype=np.float64)
    del flat
    sums = np.cumsum(squares)
    np.divide(squares, sums, out=squares, where=sums > 0)
    scores = sums  # of its memory, which is as much as all else in a large model may take
    scores[order] = squares
    result: Floats = scores.reshape(weight.shape)
    return result


def cubic(final: float, steps: int) -> list[float]:
    """Return the share of zeros after each of `steps` prunings: s_k = s (1 - (1 - k / n)³), which ends at `final`.

    Early on, while there is much to spare, a step takes more than later.
    """
    return [final * (1 - (1 - step / steps) ** 3) for step in range(1, steps + 1)]
