"""Metrics of signals against what they should be, in dB: si_sdr, snr."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import OutputMetric, Outputs, squeeze

_SHORT = 256  # values of a sample below which it is hardly a signal


class SignalMetric(OutputMetric):
    """The mean over samples of a ratio in dB of signals against targets of the same shape.

    Of sequences that are fed step by step, a sample is the whole sequence. Of each sample its sums alone are kept: the
    number of values n, and the sums of s, e, s², e² and s e, where s is the target and e what the model gives.
    """

    unit = "dB"
    wanted = "an output against target signals of the same shape"

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return what is hardly heard."""
        return 0.1, f"{name} may fall by this much, in dB."

    @classmethod
    def suits(cls, output: Array) -> bool:
        """Return whether an output may be a signal."""
        return squeeze(output).ndim == 2 and output[0].size >= _SHORT

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Judge one batch; what follows on the batch before is added to its samples."""
        before = len(self._parts)
        super().update(outputs, batch)
        if batch.follows and 0 < before < len(self._parts):
            step = self._parts.pop()
            self._parts[-1] = self._parts[-1] + step

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return output.ndim > 1 and squeeze(output).shape == squeeze(labels).shape and output[0].size > 1

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        e = output.reshape(len(output), -1).astype(np.float64)
        s = labels.reshape(len(labels), -1).astype(np.float64)
        count = np.full(len(s), s.shape[1])
        return np.stack([count, s.sum(1), e.sum(1), (s * s).sum(1), (e * e).sum(1), (s * e).sum(1)], axis=1)

    def _finish(self, per_sample: Array) -> Array:
        silent = np.flatnonzero(per_sample[:, 3] * per_sample[:, 0] <= per_sample[:, 1] ** 2 * (1 + 1e-12))
        if len(silent):
            text = f"{self.name}: the target of sample {silent[0]} is silent, so there is no ratio to it"
            raise DataError(text, "leave it out")
        return self._ratio(*per_sample.T)

    @abstractmethod
    def _ratio(self, n: Floats, s: Floats, e: Floats, ss: Floats, ee: Floats, se: Floats) -> Floats:
        """Return the ratio of each sample in dB."""

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the mean on resamples; two infinities of different sign have none."""
        with np.errstate(invalid="ignore"):
            return super().statistic(per_sample, indices)


class SiSdr(SignalMetric):
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 3).

    10 log10(||a s||² / ||a s - e||²), a = <e, s> / ||s||², of signals less their means.
    """

    def _ratio(self, n: Floats, s: Floats, e: Floats, ss: Floats, ee: Floats, se: Floats) -> Floats:
        ss, ee, se = ss - s * s / n, ee - e * e / n, se - s * e / n
        with np.errstate(divide="ignore", invalid="ignore"):
            target = se * se / ss
            return _decibels(target, ee - target)


class Snr(SignalMetric):
    """Signal-to-noise ratio, 10 log10(||s||² / ||s - e||²)."""

    def _ratio(self, n: Floats, s: Floats, e: Floats, ss: Floats, ee: Floats, se: Floats) -> Floats:
        return _decibels(ss, ss - 2 * se + ee)


def _decibels(signal: Floats, noise: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(10 * np.log10(signal / np.maximum(noise, 0)))
