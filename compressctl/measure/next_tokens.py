"""What a result says of next tokens against what the baseline says: its divergence, in nats a token, and its answers.

Of an output that is the logits of a vocabulary [N, T, V], values tell little: a constant that all logits of a place
have in common changes no probability, and most of the V are unlikely at any place. What counts is the distribution.
Kullback and Leibler's divergence of the baseline's from the result's, sum p log(p / q), is by how much cross-entropy
of a text rises where the baseline is right about what comes next; exp of it is the factor by which perplexity is
expected to rise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Floats, Integers, Mask
from compressctl.measure.interval import Interval
from compressctl.numerics.logits import divergence
from compressctl.numerics.statistics import bootstrap, percentile_interval


@dataclass(frozen=True)
class NextTokens:
    """Next tokens of a result against the baseline's.

    Attributes:
        kl: mean divergence in nats a token, with its 95 % interval: a percentile bootstrap over samples.
        agreement: share of tokens with the same next token on top.
        expected_drop: mean of what the baseline gives its own next token more than the result's.
        tokens: how many places were compared.
    """

    kl: Interval
    agreement: float
    expected_drop: float
    tokens: int


class NextTokenTally:
    """Sums a sample over an output [N, T, V]: divergence, tokens that agree, what is lost, tokens."""

    def __init__(self) -> None:
        self._sums: list[Floats] = []

    def add(self, baseline: Array, result: Array, mask: Mask | None) -> None:
        """Add the samples of a batch; `mask` [N, T] tells where there are tokens, None: everywhere."""
        for row, (expected, actual) in enumerate(zip(baseline, result, strict=True)):
            places = slice(None) if mask is None else mask[row]
            found = divergence(expected[places], actual[places])
            sums = (found.nats.sum(), np.count_nonzero(found.agrees), found.lost.sum(), len(found.nats))
            self._sums.append(np.array(sums, np.float64))

    def figures(self) -> NextTokens | None:
        """Return what was found; None where there was no token."""
        sums = np.stack(self._sums) if self._sums else np.zeros((0, 4))
        nats, agreeing, lost, tokens = sums.sum(axis=0)
        if not tokens:
            return None

        def means(indices: Integers) -> Floats:
            drawn = sums[indices].sum(axis=1)
            with np.errstate(invalid="ignore"):
                return np.asarray(drawn[:, 0] / np.maximum(drawn[:, 3], 1))

        kl = float(nats / tokens)
        low, high = percentile_interval(bootstrap(means, len(sums))) if math.isfinite(kl) else (kl, kl)
        return NextTokens(Interval(kl, low, high), float(agreeing / tokens), float(lost / tokens), int(tokens))
