"""Budgets: what was asked of the result, judged by what was measured and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from compressctl.budgets import Budget
from compressctl.measure.clocks import UNTOLD
from compressctl.measure.floor import below
from compressctl.measure.interval import Interval
from compressctl.measure.measurement import Measurement
from compressctl.pipeline.stages import Stage
from compressctl.recipe.model import Recipe
from compressctl.report.schema import BudgetVerdict


def judge(recipe: Recipe, after: Measurement) -> tuple[BudgetVerdict, ...]:
    """Judge a measured result by the budgets of a recipe."""
    return tuple(
        _verdict(name, budget, limit, budget.measured(after), strict=recipe.strict)
        for name, budget, limit in recipe.limits()
    )


def missed(recipe: Recipe, after: Measurement) -> tuple[int, float]:
    """Return how many budgets a result misses, an output below the fidelity floor counted as one, and by what share of
    their limits in sum; candidates of a search are ranked by it."""
    verdicts = judge(recipe, after)
    short = below(after)
    count = sum(not verdict.met for verdict in verdicts) + len({one.output for one in short})
    return count, sum(map(excess, verdicts)) + sum(abs(one.value - one.limit) / max(one.limit, 1e-9) for one in short)


def judge_targets(stages: Sequence[Stage], rolled_back: Collection[int]) -> tuple[BudgetVerdict, ...]:
    """Judge what passes were asked to reach; the result of one that was rolled back has not reached it."""
    verdicts = []
    for index, stage in enumerate(stages):
        for target in stage.outcome.targets:
            met = target.value <= target.limit and index not in rolled_back
            reason = (
                f"{stage.config.type}: {target.key} at most {target.limit:g} was asked for, {target.value:.4g} reached"
            )
            reason += ", but the pass was rolled back" if index in rolled_back else ""
            verdicts.append(
                BudgetVerdict(target.key, target.limit, target.value, met, target.value, target.value, reason)
            )
    return tuple(verdicts)


def excess(verdict: BudgetVerdict) -> float:
    """Return by how much a budget is missed, as a share of the limit; 0 where it is met."""
    if verdict.met:
        return 0.0
    distance = abs(verdict.value - verdict.limit)
    return distance / max(abs(verdict.limit), 1e-9) if math.isfinite(distance) else math.inf


def _verdict(
    name: str, budget: Budget, limit: float, measured: Interval | float | None, *, strict: bool
) -> BudgetVerdict:
    if measured is None:
        reason = f"{name} was asked for, and {budget.absent}"
        return BudgetVerdict(name, limit, math.nan, False, math.nan, math.nan, reason)
    found = measured if isinstance(measured, Interval) else Interval(measured, measured, measured)

    def keeps(value: float) -> bool:
        return value >= limit if budget.at_least else value <= limit

    sure = keeps(found.low) and keeps(found.high)
    never = not keeps(found.low) and not keeps(found.high)
    met = sure if strict else keeps(found.value)
    side = "at least" if budget.at_least else "at most"
    reason = f"{name}: {side} {limit:g} was asked for, {found.value:.4g} measured"
    if found.low != found.high:
        reason += f" [{found.low:.4g}, {found.high:.4g}]"
        if not (sure or never):
            reason += f": {_unsure(budget, found, limit)}"
    return BudgetVerdict(name, limit, found.value, met, found.low, found.high, reason)


def _unsure(budget: Budget, found: Interval, limit: float) -> str:
    """Say why an interval that spans the limit decides nothing."""
    if budget.clock is None:
        return "not sure, the limit lies within the interval"
    value, low, high = (f"{figure:{budget.clock}}" for figure in (found.value, found.low, found.high))
    return f"{UNTOLD}: {budget.unit.form.format(value)} [{low}, {high}] against {limit:g}"
