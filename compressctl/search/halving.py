"""Accuracy by stages: on few samples first, on four times as many next, and on all for those that may still win.

A candidate is dropped where even the good end of its interval is not good enough, as in races (Maron and Moore 1994);
numbers of samples grow as in successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from compressctl.data.source import Source
from compressctl.measure.accuracy import BATCH, Comparison, compare
from compressctl.measure.metric import Metric, Score
from compressctl.measure.session import Session
from compressctl.measure.steps import Steps

_FIRST = 64  # samples of the first stage
_FACTOR = 4


@dataclass(frozen=True)
class PartialScore:
    """How a candidate does after some of the samples.

    Attributes:
        score: on them.
        drop: against the input model, on the same.
        last: whether these are all samples.
    """

    score: Score
    drop: Comparison
    last: bool


class SuccessiveHalving:
    """The samples, and what the input model scores on them after each stage.

    Args:
        baseline: the input model's file.
        source: the samples.
        metric: how they are judged.
        threads: of onnxruntime.

    Attributes:
        inference: seconds that a sample takes the input model, reading it included.
        seconds: what all samples take it.
    """

    def __init__(self, baseline: Path, source: Source, metric: Metric, threads: int) -> None:
        self._source, self._metric, self._threads = source, metric, threads
        begun = perf_counter()
        self._reference = list(self._scores(baseline))
        self.seconds = perf_counter() - begun
        self.inference = self.seconds / max(len(source), 1)

    def run(self, file: Path, hopeless: Callable[[PartialScore], bool]) -> PartialScore:
        """Score a candidate until all samples are used or it is hopeless; return how it stands then.

        Raises:
            DataError, ModelError: it cannot be run on the samples.
        """
        for number, score in enumerate(self._scores(file)):
            last = number == len(self._reference) - 1
            partial = PartialScore(score, compare(self._reference[number], score, self._metric), last)
            if last or hopeless(partial):
                return partial
        raise AssertionError("a source has at least one sample")

    def _scores(self, file: Path) -> Iterator[Score]:
        """Yield the score after each stage."""
        model = Steps(Session(file, threads=self._threads), self._source.inputs)
        metric = self._metric.fresh()
        outputs: list[str] | None = None
        seen, goal = 0, _FIRST
        for batch in self._source.batches(BATCH):
            metric.update(model.run(batch, outputs), batch)
            outputs = None if metric.output is None else [metric.output]
            seen += batch.count
            if goal <= seen < len(self._source):
                yield metric.result()
                goal *= _FACTOR
        yield metric.result()
