"""The metric of a model and of its compressed form on samples that are changed."""

from __future__ import annotations

from pathlib import Path

from compressctl.data.first import First
from compressctl.data.source import Source
from compressctl.measure.accuracy import compare
from compressctl.measure.interval import Interval
from compressctl.measure.metric import Metric, Score
from compressctl.measure.session import Session
from compressctl.resources import Resources
from compressctl.robustness.changed import Changed
from compressctl.robustness.inputs import spreads
from compressctl.robustness.schema import Condition, Robustness
from compressctl.robustness.trials import trials

SAMPLES = 512  # rows that are judged, at most
_BATCH = 16


def measure_robustness(
    baseline: Path, result: Path, source: Source, metric: Metric, resources: Resources
) -> Robustness:
    """Measure both models on the first 512 samples: as they are, with noise, and, of images, blur, other brightness and
    contrast; and on adversarial samples made against the baseline, and against the result where it has gradients.

    Both models see the same samples. The same seed gives the same ones.

    Args:
        baseline, result: files that onnxruntime opens.
        source: samples, with the labels that `metric` needs.
        metric: left as it is.
        resources: threads, work folder, the seed of the noise, and progress: one condition after the other.

    Raises:
        ModelError, DataError, UsageError: a model cannot be run on the samples, or the metric does not fit.
    """
    samples = First(source, SAMPLES, labels=True)
    spread = {name: one for name, one in spreads(samples, _BATCH).items() if one.std > 0}
    found, notes = trials(baseline, result, samples, metric, spread, resources)
    sessions = [Session(path, threads=resources.threads, spinning="never") for path in (baseline, result)]
    conditions = []
    for trial in resources.progress.track(found, "measure robustness", len(found)):
        changed = samples if trial.change is None else Changed(samples, trial.change)
        before, after = _scores(sessions, changed, metric)
        drop = compare(before, after, metric)
        conditions.append(Condition(trial.name, trial.strength, trial.text, _interval(before), _interval(after), drop))
    return Robustness(metric.name, len(samples), tuple(conditions), notes)


def _scores(sessions: list[Session], source: Source, metric: Metric) -> tuple[Score, Score]:
    """Score both models on one run over the samples, which may cost more to make than to judge."""
    before, after = metric.fresh(), metric.fresh()
    for batch in source.batches(_BATCH):
        for one, session in zip((before, after), sessions, strict=True):
            one.update(session.run(batch.feeds), batch)
    return before.result(), after.result()


def _interval(score: Score) -> Interval:
    return Interval(score.value, score.low, score.high)
