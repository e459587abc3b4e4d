"""Connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Floats, Integers


def greedy(scores: Floats, blank: int) -> Integers:
    """Return the labelling of the best path: the best class of each step, repeats as one, without blanks.

    Args:
        scores: [T, V], logits or probabilities.
        blank: the class of the blank.
    """
    best = scores.argmax(axis=1)
    first = np.append(True, best[1:] != best[:-1])
    return np.asarray(best[first & (best != blank)])
