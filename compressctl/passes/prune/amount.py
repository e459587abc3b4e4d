"""How much the pass `prune` cuts: a ratio, what reaches a target, or what keeps the budget on accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.measure.measurement import sizes_of
from compressctl.model.load import interface
from compressctl.model.save import save_model
from compressctl.model.size import count
from compressctl.passes.base import Context, Target
from compressctl.passes.measuring import budget_keeper, sensitivity_curves, timed_walk, usual_feeds
from compressctl.passes.prune import Config
from compressctl.pruning import costs, targets
from compressctl.pruning.cutting import original_sizes, without
from compressctl.pruning.search import Steps
from compressctl.pruning.selection import Even, Ranking, Removed, by_layer
from compressctl.pruning.sensitivity import Curve
from compressctl.structure.groups import Group

_SENSITIVITY_RATIOS = (0.25, 0.5, 0.75)
_LATENCY_LEVELS = 20  # cuts to choose from: few, so that noise seldom decides


def by_ratio(model: ir.Model, groups: Sequence[Group], scores: Mapping[str, Floats], config: Config) -> Removed:
    """Return the units to remove so that the ratio is gone, of what there was before the first cut of this run."""
    assert isinstance(config.ratio, float)
    originals = original_sizes(model, groups)
    if config.scope != "global":
        return by_layer(groups, scores, config.ratio, config.round_to, originals)
    units = sum(originals[group.name] for group in groups)
    gone = units - sum(group.size for group in groups)
    return Ranking(groups, scores, config.round_to).first(max(0, round(config.ratio * units) - gone))


def to_target(
    model: ir.Model, groups: Sequence[Group], scores: Mapping[str, Floats], key: str, config: Config, context: Context
) -> tuple[Removed, Target]:
    """Return the smallest cut that meets the target of this name, or the largest there is, and what it reaches."""
    original, folder = context.baseline, context.workdir
    walk, limit = timed_walk(original, context), getattr(config, key)
    sizes = sizes_of(interface(original)[0], walk.first)
    if key == "target_macs":
        saved, measure = costs.macs_saved(model, groups, count(model, sizes)), targets.macs_left(original, sizes)
    elif key == "target_size":
        saved, measure = costs.bytes_saved(model, groups), targets.size_left(original, folder)
    else:
        file = folder / "profiled.onnx"
        save_model(model, file, overwrite=True)
        saved = costs.time_saved(model, groups, count(model, sizes), file, walk.first, threads=context.threads)
        measure = targets.latency_left(original, walk, limit, context)
    make = Even if config.scope == "layer" else partial(Ranking, costs=saved)
    order = make(groups, scores, config.round_to)
    levels = _LATENCY_LEVELS if key == "target_latency" else None
    found = targets.smallest_cut(order, lambda removed: without(model, groups, removed), measure, limit, levels=levels)
    return found.removed, Target(key, limit, found.value)


def sensitivities(
    model: ir.Model, groups: Sequence[Group], scores: Mapping[str, Floats], config: Config, context: Context
) -> tuple[list[Curve], dict[str, Any]]:
    """Return what cutting each group alone does, without reconstruction, and the same as a table for the report.

    Raises:
        UsageError: there are no samples.
    """

    def build(ratios: Mapping[str, float]) -> ir.Model:
        return without(model, groups, by_layer(groups, scores, ratios, config.round_to))

    names = [group.name for group in groups]
    return sensitivity_curves(model, build, names, _SENSITIVITY_RATIOS, config.sensitivity_samples, context)


def automatic(
    model: ir.Model,
    groups: Sequence[Group],
    curves: Sequence[Curve],
    removed: Callable[[Mapping[str, float]], Removed],
    build: Callable[[Removed], ir.Model],
    context: Context,
) -> Removed:
    """Return the largest cut with which the metric stays within the budget, first of what costs least for its work.

    Args:
        model: the model.
        groups: what may be cut.
        curves: their sensitivities.
        removed: returns the units that a ratio of each group removes.
        build: cuts, and reconstructs where the pass will.
        context: of the pass.

    Raises:
        UsageError: there is no budget.
    """
    keeps = budget_keeper(context)
    sizes = sizes_of(interface(model)[0], usual_feeds(model, context, 1))
    saved = costs.macs_saved(model, groups, count(model, sizes))
    worth = {group.name: saved[group.name] * group.size for group in groups}
    useful = [curve for curve in curves if worth[curve.layer] > 0]
    return removed(Steps(useful, worth).longest(lambda ratios: keeps(build(removed(ratios)))))
