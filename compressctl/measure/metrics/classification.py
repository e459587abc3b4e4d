"""Metrics of classes: top1, top5, f1, f1_binary, matthews."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import OutputMetric, squeeze

_SURE = 1000  # samples from which a point is more than chance


class ClassMetric(OutputMetric):
    """A metric on class scores [N, C], C above 1, and class indices [N] (further dimensions of 1 allowed)."""

    unit = "%"
    wanted = "an output [N, C] against class labels [N]"

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return what is more than chance."""
        drop = 0.01 if samples >= _SURE else 0.02
        return drop, f"{100 * drop:g} points of {name} at most; one of {samples:,} is {100 / samples:.2g}."

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return squeeze(output).ndim == 2 and squeeze(labels).shape == (batch.count,)

    def _indices(self, labels: Array, classes: int) -> Integers:
        """Return the labels as class indices.

        Raises:
            DataError: one is not a whole number from 0 to classes - 1.
        """
        labels = squeeze(labels)
        bad = (labels != np.floor(labels)) | (labels < 0) | (labels >= classes)
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"{self.name}: label {labels[row]} of sample {self.seen + row} is not a class of output "
                f"{self.output!r}, which are 0 to {classes - 1}"
            )
        return labels.astype(np.int64)


class Top1(ClassMetric):
    """The share of samples whose label is among the k highest scores; of equal scores, the first ones count."""

    k = 1

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return super()._fits(output, labels, batch) and squeeze(output).shape[1] > self.k

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        scores = squeeze(output)
        indices = self._indices(labels, scores.shape[1])[:, None]
        own = np.take_along_axis(scores, indices, axis=1)
        earlier = np.arange(scores.shape[1]) < indices
        rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
        return np.asarray((rank < self.k) & ~np.isnan(scores).any(axis=1))


class Top5(Top1):
    """The same of five."""

    k = 5


class CountsMetric(ClassMetric):
    """A metric of how often each class is label, answer, and both; the highest score is the answer."""

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        scores = squeeze(output)
        answers = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))
        return np.stack([self._indices(labels, scores.shape[1]), answers], axis=1)

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the metric on resamples; `per_sample` is (label, answer), where -1 is no answer."""
        labels, answers = (per_sample[:, column][indices] + 1 for column in (0, 1))
        width = int(per_sample.max()) + 2
        resample = width * np.arange(len(indices))[:, None]

        def count(cells: Array, weights: Array | None = None) -> Floats:
            counted = np.bincount((cells + resample).ravel(), weights, minlength=width * len(indices))
            return counted.reshape(-1, width).astype(np.float64)

        return self._of_counts(count(labels, (labels == answers).ravel()), count(labels), count(answers))

    @abstractmethod
    def _of_counts(self, right: Floats, labels: Floats, answers: Floats) -> Floats:
        """Return the metric, [R], of counts [R, 1 + classes]; the first column counts what is no answer."""


class F1(CountsMetric):
    """Macro F1: the mean over the classes that occur, as label or answer, of 2 TP / (labels + answers)."""

    def _of_counts(self, right: Floats, labels: Floats, answers: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean(2 * right[:, 1:] / (labels + answers)[:, 1:], axis=1))


class BinaryF1(CountsMetric):
    """F1 of class 1 of two: 2 TP / (labels + answers); 0 where it never occurs."""

    wanted = "an output [N, 2] against class labels [N]"

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return super()._fits(output, labels, batch) and squeeze(output).shape[1] == 2

    def _of_counts(self, right: Floats, labels: Floats, answers: Floats) -> Floats:
        if right.shape[1] < 3:
            return np.zeros(len(right))
        return np.asarray(2 * right[:, 2] / np.maximum((labels + answers)[:, 2], 1))


class Matthews(CountsMetric):
    """Matthews' correlation coefficient, from -1 to 1, of any number of classes (Gorodkin 2004); 0 is chance."""

    unit = ""

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return two hundredths."""
        return 0.02, "The metric may fall by this much, in its own unit (a correlation)."

    def _of_counts(self, right: Floats, labels: Floats, answers: Floats) -> Floats:
        count = labels.sum(axis=1)
        covariance = right.sum(axis=1) * count - (labels * answers).sum(axis=1)
        spread = [count**2 - np.square(counts).sum(axis=1) for counts in (labels, answers)]
        both = np.sqrt(spread[0] * spread[1])
        return np.asarray(np.divide(covariance, both, out=np.zeros_like(both), where=both > 0))
