"""Metrics of scores that rank what is right above what is wrong: roc_auc, average_precision."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import OutputMetric, squeeze
from compressctl.numerics.ranking import average_precision, counts, roc_auc


class RankingMetric(OutputMetric):
    """A metric of scores against what is right, for one class or as the mean over classes (macro).

    Outputs and labels: [N] and 0 or 1 [N] (binary; [N, 2] are scores of no and yes); [N, C] and 0 or 1 [N, C] (several
    events at once); [N, C] and class indices [N] (one against the rest). Scores may be logits where only their order
    counts; of [N, C] with class indices each class is ranked over the samples by its own column, so logits and
    probabilities differ there. Classes that never or always occur are left out of the mean.
    """

    unit = "%"
    wanted = "scores [N] or [N, C] against 0 and 1 of the same shape, or class indices [N]"

    @staticmethod
    @abstractmethod
    def _of_one(scores: Floats, right: Floats, weights: Floats) -> Floats:
        """Return the metric of one class on resamples, [R]; see `numerics.ranking`."""

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return what is more than chance."""
        return 0.01, f"{name} may fall by a point."

    @classmethod
    def suits(cls, output: Array) -> bool:
        """Return whether it is scores of one class, which nothing else judges."""
        return squeeze(output).ndim == 1

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        scores, told = squeeze(output), squeeze(labels)
        if scores.ndim == told.ndim or told.shape != (batch.count,):
            return scores.ndim in (1, 2) and scores.shape == told.shape and bool(np.isin(told, (0, 1)).all())
        return scores.ndim == 2

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        scores, told = squeeze(output).astype(np.float64), squeeze(labels)
        if scores.ndim == 2 and told.ndim == 1:
            classes = scores.shape[1]
            bad = (told != np.floor(told)) | (told < 0) | (told >= classes)
            if bad.any():
                row = int(np.argmax(bad))
                text = f"{self.name}: label {told[row]} of sample {self.seen + row} is not a class of output"
                raise DataError(f"{text} {self.output!r}, which are 0 to {classes - 1}")
            told = told[:, None] == np.arange(classes)
            if classes == 2:
                scores, told = scores[:, 1:] - scores[:, :1], told[:, 1:]
        return np.stack([scores.reshape(len(scores), -1), told.reshape(len(told), -1)], axis=1)

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the mean over classes on resamples; `per_sample` is [N, 2, C]: scores, and 1 where right."""
        if np.isnan(per_sample).any():
            return np.full(len(indices), np.nan)
        weights = counts(indices, len(per_sample))
        found = np.stack([self._of_one(column[0], column[1], weights) for column in per_sample.transpose(2, 1, 0)])
        known = ~np.isnan(found)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, found, 0).sum(0) / known.sum(0))

    def _finish(self, per_sample: Array) -> Array:
        right = per_sample[:, 1]
        if not ((right.min(axis=0) == 0) & (right.max(axis=0) == 1)).any():
            raise DataError(f"{self.name}: labels are all the same, so nothing is ranked")
        return per_sample


class RocAuc(RankingMetric):
    """Area under the ROC curve."""

    _of_one = staticmethod(roc_auc)


class AveragePrecision(RankingMetric):
    """Average precision: the sum over thresholds of precision times the rise in recall."""

    _of_one = staticmethod(average_precision)
