"""What passes measure models by: inputs to run them on, the drop of the metric, and how far layers can be pruned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from compressctl.data.random import random_feeds, random_walk
from compressctl.data.source import Feeds, Source
from compressctl.data.walk import Walk
from compressctl.errors import UsageError
from compressctl.measure.accuracy import compare, evaluate
from compressctl.measure.metric import Score
from compressctl.measure.session import Session
from compressctl.measure.trial import fit_random
from compressctl.model.load import interface
from compressctl.passes.base import Context
from compressctl.pruning.sensitivity import Build, Curve, Judge, sensitivity, table


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


def timed_feeds(model: ir.Model, context: Context, *, first: Source | None = None) -> Feeds:
    """Return feeds of an inference whose time counts: of the batch size that reports measure at."""
    return usual_feeds(model, context, context.batch_size, first=first)


def timed_walk(model: ir.Model, context: Context) -> Walk:
    """Return the steps whose latency counts: of a model without states, `timed_feeds` alone."""
    source = context.evaluation or context.calibration
    if source is not None:
        return source.walk(context.batch_size)
    fit = context.fit or fit_random(model, interface(model)[0], threads=context.threads)
    return random_walk(fit.inputs, context.batch_size, context.seed, fit.sizes, fit.limits)


def usual_feeds(model: ir.Model, context: Context, rows: int, *, first: Source | None = None) -> Feeds:
    """Return `rows` samples to run `model` on: of `first`, to measure accuracy on, to calibrate on, or random ones."""
    source = first or context.evaluation or context.calibration
    if source is not None:
        return source.first(rows)
    fit = context.fit or fit_random(model, interface(model)[0], threads=context.threads)
    return random_feeds(fit.inputs, rows, context.seed, fit.sizes, fit.limits)


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
    judge = Judge(model, source, metric, context, samples=samples)
    curves = sensitivity(build, layers, ratios, judge, context.progress)
    name = metric.name if metric is not None else None
    return curves, table(curves, judge.reference, samples=min(samples, len(source)), metric=name)
