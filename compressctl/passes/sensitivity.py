"""How far each layer can be pruned, measured: curves for the report, and whether a model keeps the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.measure.accuracy import compare, evaluate
from compressctl.measure.metric import Score
from compressctl.measure.session import Session
from compressctl.passes.base import Context
from compressctl.pruning.judge import Judge
from compressctl.pruning.sensitivity import Build, Curve, sensitivity, table

_EVALUATION_BATCH = 16


def sensitivity_curves(
    model: ir.Model, build: Build, layers: Sequence[str], ratios: Sequence[float], samples: int, context: Context
) -> tuple[list[Curve], dict[str, Any]]:
    """Return what pruning each layer alone does, and the same as a table for the report.

    Args:
        model: not pruned.
        build: prunes a clone of it.
        layers: their names.
        ratios: at which to measure, ascending.
        samples: how many to measure on.
        context: of the pass.

    Raises:
        UsageError: there are no samples.
    """
    source = context.evaluation or context.calibration
    if source is None:
        raise UsageError("sensitivity is measured on samples, and there are none", "add --data D or --calibrate D")
    metric = context.metric if source is context.evaluation else None
    judge = Judge(model, source, metric, samples=samples, threads=context.threads, workdir=context.workdir)
    curves = sensitivity(build, layers, ratios, judge, context.progress)
    name = metric.name if metric is not None else None
    return curves, table(curves, judge.reference, samples=min(samples, len(source)), metric=name)


def budget_keeper(context: Context) -> Callable[[ir.Model], bool]:
    """Return what says of a model whether the metric stays within the budget, on all samples.

    Raises:
        UsageError: there is no budget.
    """
    budget, metric, evaluation = context.max_accuracy_drop, context.metric, context.evaluation
    if budget is None or metric is None or evaluation is None:
        raise UsageError("ratio auto needs a budget", "add --data D, --metric M and --max-accuracy-drop B")

    def score(candidate: ir.Model) -> Score:
        session = Session(candidate, threads=context.threads, workdir=context.workdir)
        return evaluate(session, evaluation, metric, _EVALUATION_BATCH, context.progress)

    reference = score(context.baseline)
    return lambda model: compare(reference, score(model), metric).drop <= budget
