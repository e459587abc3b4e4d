"""Which weights become zero, from a score each: below a threshold, a share, or N of M; and how a share grows.

Masks are True where a weight becomes zero. Among equal scores the first in C order goes first.

Sources: Han et al. 2015 (arXiv:1506.02626), thresholds; Mishra et al. 2021 (arXiv:2104.08378), N:M; Zhu and Gupta 2017
(arXiv:1710.01878), the cubic schedule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compressctl.arrays import Array, Floats, Mask


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


def shares(scores: Sequence[Array], ratio: float) -> list[Mask]:
    """Return the masks of the smallest scores of several arrays, a share `ratio` of them all together."""
    if not scores:
        return []
    flat = share(np.concatenate([one.reshape(-1) for one in scores]), ratio)
    parts = np.split(flat, np.cumsum([one.size for one in scores])[:-1])
    return [part.reshape(one.shape) for part, one in zip(parts, scores, strict=True)]


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
    squares = np.square(weight, dtype=np.float64).reshape(-1)
    order = np.argsort(squares, kind="stable")[::-1]
    sums = np.cumsum(squares[order])
    scores = np.zeros_like(squares)
    scores[order] = np.divide(squares[order], sums, out=np.zeros_like(sums), where=sums > 0)
    result: Floats = scores.reshape(weight.shape)
    return result


def cubic(final: float, steps: int) -> list[float]:
    """Return the share of zeros after each of `steps` prunings: s_k = s (1 - (1 - k / n)³), which ends at `final`.

    Early on, while there is much to spare, a step takes more than later.
    """
    return [final * (1 - (1 - step / steps) ** 3) for step in range(1, steps + 1)]
