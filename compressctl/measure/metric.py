"""What every metric is: how good a model's answers are, judged sample by sample, most against labels.

A metric keeps a few numbers a sample, never outputs, so that scores have intervals and two models can be compared in
pairs. An output that is NaN counts as wrong where answers are right or wrong, and makes other scores NaN.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.source import Batch
from compressctl.errors import CompressctlError, DataError, UsageError
from compressctl.measure.interval import Interval
from compressctl.numerics.statistics import bootstrap, percentile_interval, wilson_interval

Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Score:
    """A metric over a data set.

    Attributes:
        value: the metric; accuracies are fractions from 0 to 1.
        low, high: its 95 % interval: Wilson's for proportions, else a percentile bootstrap over samples.
        count: number of samples (of pairs, where samples are pairs).
        per_sample: what the metric knows of each sample, [count] or [count, 2]; bool where it is right or wrong.
        output: the one output of the model that was judged; None where all were.
    """

    value: float
    low: float
    high: float
    count: int
    per_sample: Array | None = None
    output: str | None = None

    @property
    def interval(self) -> Interval:
        """The value with its interval."""
        return Interval(self.value, self.low, self.high)


class Metric(ABC):
    """A metric, fed batch by batch.

    Attributes:
        name: as the user wrote it.
        output: the one output of the model that is judged; None as long as that is open, or where all are.
        higher_is_better: the direction of good.
        unit: "%" for fractions that are shown times 100, "dB", or "".
    """

    output: str | None = None
    higher_is_better: bool = True
    unit: str = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget what was fed."""
        self._parts: list[Array] = []

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str] | None:
        """Return by how much the metric, called `name`, may get worse in a recipe to start from, and why; None: that
        depends on what the labels are."""
        return None

    @classmethod
    def suits(cls, output: Array) -> bool:
        """Return whether the metric is one to propose for an output that it can judge."""
        return True

    def fresh(self) -> Self:
        """Return this metric with nothing fed yet."""
        twin = copy.copy(self)
        twin.reset()
        return twin

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Judge the outputs of one batch; rows that only pad it are dropped.

        Raises:
            DataError: labels are missing or do not fit the output.
            UsageError: there is no such output, or it is not clear which one is meant.
        """
        if not batch.judged:
            return
        self._parts.append(self._judge(batch.counted(outputs), batch))

    def result(self) -> Score:
        """Return the score of everything that was fed.

        Raises:
            DataError: nothing was.
        """
        if not self.seen:
            raise DataError(f"{self.name} has no samples to judge")
        per_sample = self._finish(np.concatenate(self._parts))
        count = len(per_sample)
        if per_sample.dtype == bool:
            right = int(per_sample.sum())
            return Score(right / count, *wilson_interval(right, count), count, per_sample, self.output)
        value = float(self.statistic(per_sample, np.arange(count)[None])[0])
        if math.isnan(value):
            return Score(value, value, value, count, per_sample, self.output)
        resampled = bootstrap(lambda indices: self.statistic(per_sample, indices), count)
        return Score(value, *percentile_interval(resampled), count, per_sample, self.output)

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return the metric on R resamples, [R], of `per_sample` by `indices` [R, N]: the mean unless overridden."""
        return np.asarray(per_sample.astype(np.float64)[indices].mean(axis=1))

    @property
    def seen(self) -> int:
        """Number of samples judged so far."""
        return sum(map(len, self._parts))

    @abstractmethod
    def _judge(self, outputs: Outputs, batch: Batch) -> Array:
        """Return what is to be known of each sample of a batch."""

    def _finish(self, per_sample: Array) -> Array:
        """Return what is to be known of each sample once all are seen."""
        return per_sample


class OutputMetric(Metric):
    """A metric on one output against labels, or what stands in for them.

    Args:
        name: as the user wrote it.
        output: the output to judge; None for the only one that fits the labels.
    """

    wanted: str  # the outputs and labels that it judges, for error messages
    retrieves = False  # it judges queries and documents, and no other samples
    transcribes = False  # it judges transcripts, and no other labels

    def __init__(self, name: str, output: str | None) -> None:
        self._named = output
        super().__init__(name)

    def reset(self) -> None:
        """Forget what was fed, and which output was chosen for want of a name."""
        super().reset()
        self.output = self._named

    @abstractmethod
    def _fits(self, output: Array, labels: Array, batch: Batch) -> bool:
        """Say whether an output [count, …] is of a kind that can be judged against the labels."""

    @abstractmethod
    def _compare(self, output: Array, labels: Array, batch: Batch) -> Array:
        """Return what is to be known of each sample of a batch."""

    def _labels(self, batch: Batch) -> Array:
        """Return what the output is judged against.

        Raises:
            DataError: there is nothing.
        """
        if batch.labels is None:
            raise DataError(f"{self.name} needs labels, and the data have none", "labels=NAME names them")
        return batch.labels

    def _judge(self, outputs: Outputs, batch: Batch) -> Array:
        labels = self._labels(batch)
        if self.retrieves != (batch.relevance is not None):
            task = "queries and documents are judged by recall@k and ndcg@k"
            hint = "add documents=FILE,relevance=FILE to a table of queries" if self.retrieves else "--metric ndcg@10"
            raise DataError(f"{self.name} does not judge these data: {task} alone", hint)
        if self.transcribes != (batch.vocabulary is not None):
            hint = "name their column: labels.csv,text=COLUMN" if self.transcribes else "--metric wer"
            raise DataError(f"{self.name} does not judge these data: transcripts are judged by wer and cer alone", hint)
        fitting = [
            name
            for name, array in outputs.items()
            if array.ndim and len(array) == batch.count and self._fits(array, labels, batch)
        ]
        if self.output is None and len(fitting) == 1:
            self.output = fitting[0]
        if self.output not in fitting:
            raise self._misfit(outputs, fitting, labels)
        return self._compare(outputs[self.output], labels, batch)

    def _misfit(self, outputs: Outputs, fitting: list[str], labels: Array) -> CompressctlError:
        chosen = self.output
        if chosen is None and fitting:
            return UsageError(
                f"{self.name} could judge the outputs {', '.join(fitting)}", f"choose one: {self.name}:{fitting[0]}"
            )
        if chosen is not None and chosen not in outputs:
            return UsageError(f"{self.name}: there is no output {chosen!r}", f"there are {', '.join(outputs)}")
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        return DataError(
            f"{self.name} judges {self.wanted}: {'no output fits' if chosen is None else f'{chosen!r} does not fit'}",
            f"these do: {', '.join(fitting)}" if fitting else f"a batch gave {shapes} and labels {list(labels.shape)}",
        )


def squeeze(array: Array) -> Array:
    """Drop dimensions of 1 behind the first."""
    return array.reshape([size for axis, size in enumerate(array.shape) if axis == 0 or size != 1])
