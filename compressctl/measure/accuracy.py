"""A metric of a model over a data set, and whether two models differ in it beyond chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Floats, Integers
from compressctl.data.source import Source
from compressctl.errors import UsageError
from compressctl.measure.interval import Interval
from compressctl.measure.metric import Metric, Score
from compressctl.measure.session import Session
from compressctl.measure.steps import Steps
from compressctl.numerics.statistics import (
    bootstrap,
    bootstrap_p_value,
    mcnemar_exact,
    paired_proportion_interval,
    percentile_interval,
)
from compressctl.progress import Progress, Silent


@dataclass(frozen=True)
class Comparison:
    """How much worse a result is than its baseline, on the same samples.

    Attributes:
        drop: in the metric's own unit; positive is worse, whichever direction is good. NaN where a score is.
        low, high: its 95 % interval: Bonett and Price's for proportions, else a paired bootstrap.
        p_value: of "no difference": exact McNemar for proportions, else from the paired bootstrap.
    """

    drop: float
    low: float
    high: float
    p_value: float

    @property
    def interval(self) -> Interval:
        """The drop with its interval."""
        return Interval(self.drop, self.low, self.high)


BATCH = 16
"""Samples that are judged at a time, where the model leaves it open."""


def evaluate(
    session: Session, source: Source, metric: Metric, progress: Progress | None = None, *, batch_size: int = BATCH
) -> Score:
    """Run a model over all samples of a source and score it; `metric` itself stays as it is.

    Raises:
        UsageError: accuracy cannot be judged from these data, or the metric does not say which output it judges.
        DataError: the samples or labels do not fit the model or the metric.
        ModelError: the model fails on a batch.
    """
    if not source.judgeable:
        raise UsageError(f"{metric.name} cannot be judged on {source.notation}", "give --data with real samples")
    metric = metric.fresh()
    outputs: list[str] | None = None  # all, so that a choice that does not fit is answered by those that do
    model = Steps(session, source.inputs)
    batches = -(-len(source) // (source.fixed_batch or batch_size))
    for batch in (progress or Silent()).track(source.batches(batch_size), f"evaluate {metric.name}", batches):
        metric.update(model.run(batch, outputs), batch)
        outputs = None if metric.output is None else [metric.output]
    return metric.result()


def compare(baseline: Score, result: Score, metric: Metric) -> Comparison:
    """Test in pairs whether a result is worse than its baseline.

    Args:
        baseline, result: scores of the same samples by the same metric, each with `per_sample`.
        metric: that metric.

    Raises:
        ValueError: the scores are not of the same samples.
    """
    before, after = baseline.per_sample, result.per_sample
    if before is None or after is None or len(before) != len(after):
        raise ValueError("scores can only be compared sample by sample")
    if before.dtype == after.dtype == bool:
        lost, gained = int(np.sum(before & ~after)), int(np.sum(after & ~before))
        interval = paired_proportion_interval(lost, gained, len(before))
        return Comparison((lost - gained) / len(before), *interval, mcnemar_exact(lost, gained))
    if np.array_equal(before, after):
        return Comparison(0.0, 0.0, 0.0, 1.0)
    sign = 1 if metric.higher_is_better else -1
    drop = sign * (baseline.value - result.value)
    if math.isnan(drop):
        return Comparison(drop, math.nan, math.nan, math.nan)

    def drops(indices: Integers) -> Floats:
        with np.errstate(invalid="ignore"):  # two perfect scores in dB differ by inf - inf
            return sign * (metric.statistic(before, indices) - metric.statistic(after, indices))

    resampled = bootstrap(drops, len(before))
    return Comparison(drop, *percentile_interval(resampled), bootstrap_p_value(resampled))
