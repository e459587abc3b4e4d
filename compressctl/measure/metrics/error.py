"""Metrics of how far numbers are from labels, and whether they rise with them: psnr, mse, spearman."""

from __future__ import annotations

import math

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import OutputMetric, squeeze
from compressctl.numerics.statistics import spearman


class Mse(OutputMetric):
    """Mean squared error against labels of the output's shape."""

    higher_is_better = False
    wanted = "an output against labels of the same shape"

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return squeeze(output).shape == squeeze(labels).shape

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        error = output.astype(np.float64) - labels.astype(np.float64).reshape(output.shape)
        return np.asarray(np.square(error).reshape(len(error), -1).mean(axis=1))


class Psnr(Mse):
    """Peak signal-to-noise ratio, 10 log10(peak² / MSE) over all samples; the peak is the range of all labels."""

    higher_is_better = True
    unit = "dB"

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return what is hardly seen."""
        return 0.5, "The metric may fall by this much, in its own unit (dB)."

    @classmethod
    def suits(cls, output: Array) -> bool:
        """Return whether it is images."""
        return output.ndim == 4

    def reset(self) -> None:
        """Forget what was fed, and the range of the labels."""
        super().reset()
        self._low, self._high = math.inf, -math.inf

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        self._low, self._high = min(self._low, float(labels.min())), max(self._high, float(labels.max()))
        return super()._compare(output, labels, batch)

    def _finish(self, per_sample: Array) -> Array:
        peak = self._high - self._low
        if peak <= 0:
            raise DataError(f"{self.name}: all labels are {self._low:g}, so there is no peak to measure errors against")
        return per_sample / peak**2

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the ratio on resamples, in dB; `per_sample` is the mean squared error over peak²."""
        with np.errstate(divide="ignore"):
            return np.asarray(-10 * np.log10(super().statistic(per_sample, indices)))


class Spearman(OutputMetric):
    """Rank correlation with the labels, of one number a sample, or of the dot product of a pair's two vectors."""

    wanted = "an output [N] (of pairs [N, D]) against labels [N]"

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return a hundredth."""
        return 0.01, "The metric may fall by this much, in its own unit (a correlation)."

    def reset(self) -> None:
        """Forget what was fed."""
        super().reset()
        self._waiting: Array | None = None  # a pair's first vector, while its second comes with the next batch

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        if batch.pairs:
            return output.ndim == 2 and output.shape[1] > 1 and squeeze(labels).ndim == 1
        return squeeze(output).shape == squeeze(labels).shape == (batch.count,)

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        answers = self._dot_products(output.astype(np.float64)) if batch.pairs else output.reshape(-1)
        return np.stack([answers.astype(np.float64), labels.reshape(-1).astype(np.float64)], axis=1)

    def _dot_products(self, vectors: Array) -> Floats:
        if self._waiting is not None:
            vectors = np.concatenate([self._waiting, vectors])
        whole = len(vectors) // 2 * 2
        self._waiting = vectors[whole:] if whole < len(vectors) else None
        return np.asarray((vectors[0:whole:2] * vectors[1:whole:2]).sum(axis=1))

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the correlation on resamples; `per_sample` is (answer, label)."""
        return spearman(per_sample[:, 0], per_sample[:, 1], indices)
