"""How far each layer can be made sparse, measured: the curves for the report, and ratios that keep a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from compressctl.arrays import Mask
from compressctl.layers.weights import Weight
from compressctl.passes.base import Context
from compressctl.passes.budget import budget_keeper
from compressctl.passes.sensitivity import sensitivity_curves
from compressctl.pruning.search import Steps
from compressctl.pruning.sensitivity import Curve
from compressctl.pruning.sparse import Scores, smallest, sparse_weights
from compressctl.pruning.zeroing import Zeroing

_RATIOS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def measure(
    model: ir.Model, weights: Sequence[Weight], scores: Scores, samples: int, context: Context
) -> tuple[list[Curve], dict[str, Any]]:
    """Return what zeros in each layer alone do, without reconstruction, and the same as a table for the report.

    Raises:
        UsageError: there are no samples.
    """

    def build(ratios: Mapping[str, float]) -> ir.Model:
        clone = model.clone()
        twins = [weight for weight in sparse_weights(clone.graph)[0] if weight.nodes[0] in ratios]
        masks = _masks(twins, scores, ratios)
        for weight in twins:
            weight.zero(masks[weight.name])
        return clone

    return sensitivity_curves(model, build, [weight.nodes[0] for weight in weights], _RATIOS, samples, context)


def automatic(
    model: ir.Model,
    weights: Sequence[Weight],
    scores: Scores,
    curves: Sequence[Curve],
    zeroing: Zeroing,
    context: Context,
) -> dict[str, Mask]:
    """Return the masks of the most zeros with which the metric stays within the budget, on all samples.

    Raises:
        UsageError: there is no budget.
    """
    keeps = budget_keeper(context)
    names = {weight.name for weight in weights}

    def holds(ratios: Mapping[str, float]) -> bool:
        clone = model.clone()
        twins = [weight for weight in sparse_weights(clone.graph)[0] if weight.name in names]
        zeroing.zero(clone, twins, _masks(twins, scores, ratios))
        return keeps(clone)

    steps = Steps(curves, {weight.nodes[0]: weight.array.size for weight in weights})
    return _masks(weights, scores, steps.longest(holds))


def _masks(weights: Sequence[Weight], scores: Scores, ratios: Mapping[str, float]) -> dict[str, Mask]:
    """Return the masks at each layer's own ratio, 0 where none is given."""
    each = (smallest([weight], scores, ratios.get(weight.nodes[0], 0.0), each=True) for weight in weights)
    return {name: mask for one in each for name, mask in one.items()}
