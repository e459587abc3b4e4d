"""Whether a model stays within the budget that a pass has: the drop of the metric."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.measure.accuracy import compare, evaluate
from compressctl.measure.metric import Score
from compressctl.measure.session import Session
from compressctl.passes.base import Context


def has_budget(context: Context) -> bool:
    """Return whether there are a largest drop, a metric, and samples to judge by."""
    return None not in (context.max_accuracy_drop, context.metric, context.evaluation)


def budget_keeper(context: Context) -> Callable[[ir.Model], bool]:
    """Return what says of a model whether the metric stays within the budget, on all samples.

    Raises:
        UsageError: there is no budget, which only ratio auto finds out here.
    """
    budget, metric, evaluation = context.max_accuracy_drop, context.metric, context.evaluation
    if budget is None or metric is None or evaluation is None:
        raise UsageError("ratio auto needs a budget", "add --data D, --metric M and --max-accuracy-drop B")

    def score(candidate: ir.Model) -> Score:
        session = Session(candidate, threads=context.threads, workdir=context.workdir)
        return evaluate(session, evaluation, metric, context.progress)

    reference = score(context.baseline)
    return lambda model: compare(reference, score(model), metric).drop <= budget
