"""The metrics that fit a model's outputs and its samples' labels, where the user names none."""

from __future__ import annotations

from pathlib import Path

from compressctl.data.source import Batch, Source
from compressctl.errors import DataError, UsageError
from compressctl.measure.metric import Outputs
from compressctl.measure.metrics import METRICS, parse_metric
from compressctl.measure.session import Session
from compressctl.notes import Note, skipped

_ROWS = 8  # that are looked at


def fitting_metrics(outputs: Outputs, batch: Batch) -> tuple[str, ...]:
    """Return the notations of the built-in metrics that suit these outputs and labels, the one to prefer first."""
    return tuple(fitting for name in METRICS if (fitting := _fitting(name, outputs, batch)) is not None)


def choose_metric(file: Path, source: Source, *, threads: int = 0) -> tuple[str | None, Note]:
    """Return the metric to measure on samples, or None where nothing judges them; and what to tell the user.

    Args:
        file: the model, which is run on the first samples.
        source: the samples.
        threads: of onnxruntime.
    """
    if not source.has_labels:
        return None, skipped(f"nothing is judged: {source.notation} has no labels; outputs alone are compared")
    batch = next(batch for batch in source.batches(_ROWS) if batch.judged)
    outputs = Session(file, threads=threads).run(batch.feeds)
    found = fitting_metrics(batch.counted(outputs), batch)
    if not found:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        labels = "none" if batch.labels is None else list(batch.labels.shape)
        text = f"nothing is judged: no metric fits labels {labels} and the outputs {shapes}"
        return None, skipped(f"{text}; --metric python:module:function takes one of your own")
    also = f"; so would {', '.join(found[1:])}" if found[1:] else ""
    return found[0], skipped(f"no metric is named: {found[0]} is measured, which fits outputs and labels{also}")


def _fitting(name: str, outputs: Outputs, batch: Batch) -> str | None:
    """Return a metric's notation that suits these outputs: of the only one that fits, or of the first one."""
    for notation in (name, *(f"{name}:{output}" for output in outputs)):
        try:
            metric = parse_metric(notation)
            metric.update(outputs, batch)
        except (DataError, UsageError):
            continue
        if metric.output is None or metric.suits(outputs[metric.output]):
            return notation
    return None
