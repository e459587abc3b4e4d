"""How far each layer can be pruned, measured: curves for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from compressctl.errors import UsageError
from compressctl.passes.base import Context
from compressctl.pruning.judge import Judge
from compressctl.pruning.sensitivity import Build, Curve, sensitivity, table


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
