"""Metrics of how far numbers are from labels: psnr, mse."""

from __future__ import annotations

import math

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import OutputMetric, squeeze


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
