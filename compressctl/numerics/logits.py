"""Distributions over vocabularies from logits, in float64, a few rows at a time: no copy of all of them is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Floats, Integers

_PIECE = 1 << 16  # values at once, unless a row has more: what a core's cache holds


@dataclass(frozen=True)
class Divergence:
    """How far distributions are from those that they should be, place by place.

    Attributes:
        nats: Kullback and Leibler's divergence of the first from the second, sum p log(p / q), [P]; infinite where the
            second excludes what the first does not, NaN where one is no distribution.
        agrees: whether both have the same token on top, [P]; never where one is NaN.
        lost: what the first gives its own token more than the second's, [P].
    """

    nats: Floats
    agrees: Array
    lost: Floats


def surprise(logits: Array, tokens: Integers) -> Floats:
    """Return the negative log-likelihood of tokens [P] under logits [P, V], in nats, [P].

    Raises:
        IndexError: a token is not below V.
    """
    found = np.empty(len(logits))
    for rows in _pieces(logits):
        values = logits[rows].astype(np.float64)
        given = np.take_along_axis(values, tokens[rows, None], axis=1)[:, 0]
        highest, _, total = _exponentials(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[rows] = highest + np.log(total) - given
    return found


def divergence(expected: Array, actual: Array) -> Divergence:
    """Compare the distributions of logits [P, V] with those that they should be, [P, V] as well."""
    nats, agrees, lost = np.empty(len(expected)), np.empty(len(expected), bool), np.empty(len(expected))
    for rows in _pieces(expected):
        p, q = expected[rows].astype(np.float64), actual[rows].astype(np.float64)
        place, own, other = np.arange(len(p)), p.argmax(axis=1), q.argmax(axis=1)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            between = p - q
            p_highest, weights, p_total = _exponentials(p)
            q_highest, _, q_total = _exponentials(q)
            lost[rows] = (1 - weights[place, other]) / p_total
            excluded = weights == 0  # 0 log 0 = 0
            if excluded.any():
                between[excluded] = 0
            mean = np.einsum("pv,pv->p", weights, between) / p_total
            exact = mean - (p_highest + np.log(p_total)) + (q_highest + np.log(q_total))
        nats[rows] = np.maximum(exact, 0)  # rounding
        agrees[rows] = (own == other) & np.isfinite(p_highest + p_total + q_highest + q_total)
    return Divergence(nats, agrees, lost)


def _exponentials(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the highest value of each row, exp(value - highest) in the place of the values, and its sum."""
    highest = values.max(axis=1)
    with np.errstate(invalid="ignore"):
        np.subtract(values, highest[:, None], out=values)
    np.exp(values, out=values)
    return highest, values, values.sum(axis=1)


def _pieces(logits: Array) -> Iterator[slice]:
    rows = max(_PIECE // max(logits.shape[1], 1), 1)
    return (slice(start, start + rows) for start in range(0, len(logits), rows))
