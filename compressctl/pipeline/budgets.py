"""Budgets: what was asked of the result, judged by what was measured and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from compressctl.measure.clocks import UNTOLD, told
from compressctl.measure.floor import below
from compressctl.measure.interval import Interval
from compressctl.measure.measurement import Measurement
from compressctl.numerics.statistics import wilson_interval
from compressctl.pipeline.stages import Stage
from compressctl.recipe import Recipe
from compressctl.report.schema import BudgetVerdict

Measured = Interval | float | None


@dataclass(frozen=True)
class _Budget:
    """A key of the recipe, and what is measured against it."""

    key: str
    measured: Callable[[Measurement], Measured]
    at_least: bool = False
    told: Callable[[Interval], str] | None = None  # of what depends on the machine, and on what else it does
    absent: str = "this system cannot measure it"


def judge(recipe: Recipe, after: Measurement) -> tuple[BudgetVerdict, ...]:
    """Judge a measured result by the budgets of a recipe."""
    return tuple(
        _verdict(budget, limit, budget.measured(after), strict=recipe.strict)
        for budget in _BUDGETS
        if (limit := getattr(recipe, budget.key)) is not None
    )


def missed(recipe: Recipe, after: Measurement) -> tuple[int, float]:
    """Return how many budgets a result misses, an output below the fidelity floor counted as one, and by what share of
    their limits in sum; candidates of a search are ranked by it."""
    verdicts = judge(recipe, after)
    short = below(after)
    count = sum(not verdict.met for verdict in verdicts) + len({one.output for one in short})
    return count, sum(map(excess, verdicts)) + sum(abs(one.value - one.limit) / max(one.limit, 1e-9) for one in short)


def judge_targets(stages: Sequence[Stage], taken_back: Collection[int]) -> tuple[BudgetVerdict, ...]:
    """Judge what passes were asked to reach; the result of one that was taken back has not reached it."""
    verdicts = []
    for index, stage in enumerate(stages):
        for target in stage.outcome.targets:
            met = target.value <= target.limit and index not in taken_back
            reason = (
                f"{stage.config.type}: {target.key} at most {target.limit:g} was asked for, {target.value:.4g} reached"
            )
            reason += ", but the pass was taken back" if index in taken_back else ""
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


def _verdict(budget: _Budget, limit: float, measured: Measured, *, strict: bool) -> BudgetVerdict:
    if measured is None:
        reason = f"{budget.key} was asked for, and {budget.absent}"
        return BudgetVerdict(budget.key, limit, math.nan, False, math.nan, math.nan, reason)
    found = measured if isinstance(measured, Interval) else Interval(measured, measured, measured)

    def keeps(value: float) -> bool:
        return value >= limit if budget.at_least else value <= limit

    sure = keeps(found.low) and keeps(found.high)
    never = not keeps(found.low) and not keeps(found.high)
    met = sure if strict else keeps(found.value)
    side = "at least" if budget.at_least else "at most"
    reason = f"{budget.key}: {side} {limit:g} was asked for, {found.value:.4g} measured"
    if found.low != found.high:
        reason += f" [{found.low:.4g}, {found.high:.4g}]"
        if not (sure or never):
            why = "not sure, the limit lies within the interval"
            reason += f": {f'{UNTOLD}: {budget.told(found)} against {limit:g}' if budget.told else why}"
    return BudgetVerdict(budget.key, limit, found.value, met, found.low, found.high, reason)


def _drop(after: Measurement) -> Measured:
    return Interval(after.drop.drop, after.drop.low, after.drop.high) if after.drop else None


def _latency(after: Measurement) -> Measured:
    latency = after.latency
    if math.isnan(latency.low_ms):
        return latency.median_ms
    return Interval(latency.median_ms, latency.low_ms, latency.high_ms)


def _milliseconds(latency: Interval) -> str:
    return f"{latency.value:.3g} ms [{latency.low:.3g}, {latency.high:.3g}]"


def _sqnr(after: Measurement) -> Measured:
    """Of the worst output; NaN where one has it."""
    found = [output.sqnr_db for output in after.fidelity if output.values != 0]
    return (math.nan if any(map(math.isnan, found)) else min(found)) if found else None


def _agreement(after: Measurement) -> Measured:
    """Of the worst output that is scores of classes, with Wilson's interval."""
    found = [(output.agreement, output.count) for output in after.fidelity if output.agreement is not None]
    if not found:
        return None
    share, count = min(found)
    return Interval(share, *wilson_interval(share * count, count))


_BUDGETS = (
    _Budget("max_accuracy_drop", _drop),
    _Budget("min_accuracy", lambda after: after.score, at_least=True),
    _Budget("size_ratio", lambda after: after.size_ratio),
    _Budget("max_size", lambda after: after.bytes),
    _Budget("latency_ratio", lambda after: after.latency_ratio, told=told),
    _Budget("max_latency_ms", _latency, told=_milliseconds),
    _Budget("max_memory", lambda after: after.peak_memory),
    _Budget("min_sqnr", _sqnr, at_least=True, absent="no output has values to compare"),
    _Budget("min_agreement", _agreement, at_least=True, absent="no output is scores of classes"),
)
