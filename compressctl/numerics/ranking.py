"""How well scores rank what is right above what is wrong: ROC-AUC and average precision, on resamples."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Floats, Integers


def roc_auc(scores: Floats, right: Floats, weights: Floats) -> Floats:
    """Return the area under the ROC curve, [R]: the share of pairs in which what is right scores higher; ties are half.

    Args:
        scores: [N].
        right: [N], 1 where right, else 0.
        weights: [R, N]: how often each sample is in a resample. NaN where all of a resample are right, or none.
    """
    positives, negatives = _by_score(scores, right, weights)
    below = np.cumsum(negatives[:, ::-1], axis=1)[:, ::-1] - negatives / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positives * below).sum(1) / (positives.sum(1) * negatives.sum(1)))


def average_precision(scores: Floats, right: Floats, weights: Floats) -> Floats:
    """Return the sum over thresholds of precision times the rise in recall, [R] (Zhu 2004; scikit-learn's definition).

    Args:
        scores, right, weights: as of `roc_auc`. NaN where none of a resample is right.
    """
    positives, negatives = _by_score(scores, right, weights)
    found, all_found = np.cumsum(positives, axis=1), np.cumsum(positives + negatives, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(all_found > 0, found / all_found, 0)
        return np.asarray((precision * positives).sum(1) / positives.sum(1))


def counts(indices: Integers, count: int) -> Floats:
    """Return how often each of `count` samples is in each resample of `indices` [R, N]: [R, count]."""
    offset = count * np.arange(len(indices))[:, None]
    return np.bincount((indices + offset).ravel(), minlength=count * len(indices)).reshape(-1, count).astype(float)


def _by_score(scores: Floats, right: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return right and wrong ones at each different score, [R, S], from the highest down."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    starts = starts if len(starts) and starts[0] == 0 else np.concatenate([[0], starts])
    weights, right = weights[:, order], right[order]
    positives = np.add.reduceat(weights * right, starts, axis=1)
    negatives = np.add.reduceat(weights * (1 - right), starts, axis=1)
    return positives, negatives
