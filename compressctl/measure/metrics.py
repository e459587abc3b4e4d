"""The metrics: top1, top5, f1, mse, psnr, spearman, and functions of the user's own."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressctl.arrays import Array, Floats
from compressctl.data.python import load_function
from compressctl.data.source import Batch
from compressctl.errors import DataError, UsageError
from compressctl.measure.metric import Metric, OutputMetric, Outputs, Score
from compressctl.numerics.statistics import spearman

__all__ = ["METRICS", "Metric", "Score", "parse_metric"]


def parse_metric(notation: str, *, allow_python: bool = False) -> Metric:
    """Return the metric of `name[:output]` or `python:module:function`.

    Raises:
        UsageError: there is no such metric, or `python:` is used without leave.
        DataError: the function cannot be imported.
    """
    name, _, rest = notation.partition(":")
    if name == "python":
        return PythonMetric(notation, load_function(rest, allow_python=allow_python))
    kind = METRICS.get(name)
    if kind is None:
        close = difflib.get_close_matches(name, METRICS, n=1)
        known = ", ".join([*METRICS, "python:module:function"])
        raise UsageError(
            f"there is no metric {name!r}", f"did you mean {close[0]!r}?" if close else f"there are {known}"
        )
    return kind(notation, rest or None)


class ClassMetric(OutputMetric):
    """A metric on class scores [N, C], C above 1, and class indices [N] (further dimensions of 1 allowed)."""

    unit = "%"
    wanted = "an output [N, C] against class labels [N]"

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return _squeeze(output).ndim == 2 and _squeeze(labels).shape == (batch.count,)

    def _indices(self, labels: Array, classes: int) -> NDArray[np.int64]:
        """Return the labels as class indices.

        Raises:
            DataError: one is not a whole number from 0 to classes - 1.
        """
        labels = _squeeze(labels)
        bad = (labels != np.floor(labels)) | (labels < 0) | (labels >= classes)
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"{self.name}: label {labels[row]} of sample {self.seen + row} is not a class of output "
                f"{self.output!r}, which are 0 to {classes - 1}"
            )
        return labels.astype(np.int64)


class TopK(ClassMetric):
    """The share of samples whose label is among the k highest scores; of equal scores, the first ones count."""

    def __init__(self, name: str, output: str | None, k: int) -> None:
        super().__init__(name, output)
        self._k = k

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return super()._fits(output, labels, batch) and _squeeze(output).shape[1] > self._k

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        scores = _squeeze(output)
        indices = self._indices(labels, scores.shape[1])[:, None]
        own = np.take_along_axis(scores, indices, axis=1)
        earlier = np.arange(scores.shape[1]) < indices
        rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
        return np.asarray((rank < self._k) & ~np.isnan(scores).any(axis=1))


class F1(ClassMetric):
    """Macro F1: the mean over the classes that occur, as label or answer, of 2 TP / (labels + answers)."""

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        scores = _squeeze(output)
        answers = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))
        return np.stack([self._indices(labels, scores.shape[1]), answers], axis=1)

    def statistic(self, per_sample: Array, indices: NDArray[np.int64]) -> Floats:
        """Return macro F1 on resamples; `per_sample` is (label, answer), where -1 is no answer."""
        labels, answers = (per_sample[:, column][indices] + 1 for column in (0, 1))
        width = int(per_sample.max()) + 2  # column 0 counts what is no class
        resample = width * np.arange(len(indices))[:, None]

        def count(cells: Array, weights: Array | None = None) -> Floats:
            counted = np.bincount((cells + resample).ravel(), weights, minlength=width * len(indices))
            return counted.reshape(-1, width)[:, 1:].astype(np.float64)

        right = count(labels, (labels == answers).ravel())
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean(2 * right / (count(labels) + count(answers)), axis=1))


class Mse(OutputMetric):
    """Mean squared error against labels of the output's shape."""

    higher_is_better = False
    wanted = "an output against labels of the same shape"

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        return _squeeze(output).shape == _squeeze(labels).shape

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        error = output.astype(np.float64) - labels.astype(np.float64).reshape(output.shape)
        return np.asarray(np.square(error).reshape(len(error), -1).mean(axis=1))


class Psnr(Mse):
    """Peak signal-to-noise ratio, 10 log10(peak² / MSE) over all samples; the peak is the range of all labels."""

    higher_is_better = True
    unit = "dB"

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

    def statistic(self, per_sample: Array, indices: NDArray[np.int64]) -> Floats:
        """Return the ratio on resamples, in dB; `per_sample` is the mean squared error over peak²."""
        with np.errstate(divide="ignore"):
            return np.asarray(-10 * np.log10(super().statistic(per_sample, indices)))


class Spearman(OutputMetric):
    """Rank correlation with the labels, of one number a sample, or of the dot product of a pair's two vectors."""

    wanted = "an output [N] (of pairs [N, D]) against labels [N]"

    def reset(self) -> None:
        """Forget what was fed."""
        super().reset()
        self._waiting: Array | None = None  # a pair's first vector, while its second comes with the next batch

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        if batch.pairs:
            return output.ndim == 2 and output.shape[1] > 1 and _squeeze(labels).ndim == 1
        return _squeeze(output).shape == _squeeze(labels).shape == (batch.count,)

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        answers = self._dot_products(output.astype(np.float64)) if batch.pairs else output.reshape(-1)
        return np.stack([answers.astype(np.float64), labels.reshape(-1).astype(np.float64)], axis=1)

    def _dot_products(self, vectors: Array) -> Floats:
        if self._waiting is not None:
            vectors = np.concatenate([self._waiting, vectors])
        whole = len(vectors) // 2 * 2
        self._waiting = vectors[whole:] if whole < len(vectors) else None
        return np.asarray((vectors[0:whole:2] * vectors[1:whole:2]).sum(axis=1))

    def statistic(self, per_sample: Array, indices: NDArray[np.int64]) -> Floats:
        """Return the correlation on resamples; `per_sample` is (answer, label)."""
        return spearman(per_sample[:, 0], per_sample[:, 1], indices)


class PythonMetric(Metric):
    """The mean of what `function(outputs, labels)` returns: a number or bool for each sample, higher is better.

    It is called once a batch; `labels` is None where the data have none.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(name)
        self._function = function

    def _judge(self, outputs: Outputs, batch: Batch) -> Array:
        try:
            values = np.asarray(self._function(outputs, batch.labels))
        except Exception as error:  # the user's function may raise anything
            raise DataError(f"{self.name} raised {type(error).__name__}: {' '.join(str(error).split())}") from error
        if values.shape != (batch.count,) or values.dtype.kind not in "fiub":
            got = f"{values.dtype} {list(values.shape)}"
            raise DataError(f"{self.name} gave {got}, but one number for each of {batch.count} samples is wanted")
        return values


def _squeeze(array: Array) -> Array:
    """Drop dimensions of 1 behind the first."""
    return array.reshape([size for axis, size in enumerate(array.shape) if axis == 0 or size != 1])


METRICS: dict[str, Callable[[str, str | None], Metric]] = {
    "top1": lambda name, output: TopK(name, output, 1),
    "top5": lambda name, output: TopK(name, output, 5),
    "f1": F1,
    "mse": Mse,
    "psnr": Psnr,
    "spearman": Spearman,
}
