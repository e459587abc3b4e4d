"""Metrics of classes of pixels: miou, dice."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.errors import DataError
from compressctl.measure.metric import OutputMetric
from compressctl.numerics.resize import resized

_MOST = 256  # classes that a mask can have


class PixelMetric(OutputMetric):
    """A mean over the classes that occur, as label or answer, of what pixels of all samples add up to.

    An output [N, C, H, W] answers with the class of the highest score; one that is smaller or larger than the labels is
    first scaled to them, bilinearly. An output [N, H, W] or [N, 1, H, W] has the classes themselves if it holds whole
    numbers; else it is that of two classes: probabilities, which answer 1 above .5, or logits, above 0. Pixels whose
    label is below 0 do not count.

    Of each sample three counts a class are kept: of pixels of that label and answer, label, and answer.
    """

    unit = "%"
    wanted = "an output [N, C, H, W] or [N, H, W] against classes of pixels [N, H, W]"

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return a point."""
        return 0.01, f"1 point of {name} at most."

    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        if labels.ndim != 3 or labels.dtype.kind not in "iub" or output.ndim not in (3, 4):
            return False
        return output.ndim == 4 or output.shape == labels.shape

    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        answers, classes = _answers(output, labels.shape[1:])
        counted = labels >= 0
        if (labels[counted] >= classes).any():
            row = int(np.argmax((labels >= classes).any(axis=(1, 2))))
            raise DataError(
                f"{self.name}: class {int(labels[row].max())} of sample {self.seen + row} is beyond those of output "
                f"{self.output!r}, which are 0 to {classes - 1}",
                "ignore=N in the data leaves pixels of that value out",
            )
        return np.stack([_counts(*one, classes) for one in zip(answers, labels, strict=True)])

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the mean over classes on resamples; `per_sample` is [N, C, 3]."""
        both, labels, answers = np.moveaxis(_sums(per_sample, indices), -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = self._share(both, labels, answers)
        there = labels + answers > 0
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(there, shares, 0).sum(axis=1) / there.sum(axis=1))

    @abstractmethod
    def _share(self, both: Floats, labels: Floats, answers: Floats) -> Floats:
        """Return how well each class is answered, given counts of its pixels."""


class MeanIou(PixelMetric):
    """Mean intersection over union (Jaccard index)."""

    def _share(self, both: Floats, labels: Floats, answers: Floats) -> Floats:
        return both / (labels + answers - both)


class Dice(PixelMetric):
    """Mean Dice coefficient, which is F1 of pixels."""

    def _share(self, both: Floats, labels: Floats, answers: Floats) -> Floats:
        return 2 * both / (labels + answers)


def _answers(output: Array, size: tuple[int, ...]) -> tuple[Integers, int]:
    """Return the class that is answered for each pixel, [N, H, W], and how many there are; -1 where it is NaN."""
    if output.ndim == 4 and output.shape[1] > 1:
        scores = output if output.shape[2:] == size else resized(output, size)
        return np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1)), output.shape[1]
    values = output[:, 0] if output.ndim == 4 else output
    if values.dtype.kind != "f" or (np.floor(values) == values).all():
        return _same(values, size).astype(np.int64), _MOST
    edge = 0.5 if (np.nan_to_num(values) >= 0).all() and (np.nan_to_num(values) <= 1).all() else 0.0
    scores = values if values.shape[1:] == size else resized(values[:, None], size)[:, 0]
    return np.where(np.isnan(scores), -1, scores > edge).astype(np.int64), 2


def _same(values: Array, size: tuple[int, ...]) -> Array:
    if values.shape[1:] != size:
        raise DataError(f"the output has classes of {list(values.shape[1:])} pixels, and the labels of {list(size)}")
    return values


def _counts(answers: Integers, labels: Array, classes: int) -> Array:
    """Return, of one sample, pixels of each class as label and answer, label, and answer: int64 [C, 3]."""
    counted = labels >= 0
    label, answer = labels[counted].astype(np.int64), answers[counted]
    known = (answer >= 0) & (answer < classes)
    return np.stack(
        [
            np.bincount(label[known & (label == answer)], minlength=classes),
            np.bincount(label, minlength=classes),
            np.bincount(answer[known], minlength=classes),
        ],
        axis=1,
    )


def _sums(per_sample: Array, indices: Integers) -> Floats:
    """Return the sums over each resample, [R, C, 3]."""
    count = len(per_sample)
    flat = indices + count * np.arange(len(indices))[:, None]
    weights = np.bincount(flat.ravel(), minlength=count * len(indices)).reshape(len(indices), count)
    sums = weights.astype(np.float64) @ per_sample.reshape(count, -1).astype(np.float64)
    return np.asarray(sums).reshape(len(indices), *per_sample.shape[1:])
