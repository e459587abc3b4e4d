"""Which of the models after some of the passes becomes the result: passes that made things worse are rolled back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compressctl.measure.clocks import MATERIAL
from compressctl.measure.floor import below
from compressctl.measure.measurement import Measurement
from compressctl.passes.base import PassConfig
from compressctl.pipeline.budgets import excess, judge
from compressctl.pipeline.fidelity import told
from compressctl.recipe.model import Recipe
from compressctl.report.schema import BudgetVerdict


@dataclass(frozen=True)
class ChosenResult:
    """The result.

    Attributes:
        length: how many passes lead to it.
        rolled_back: why, by the index of a pass whose result was dropped.
    """

    length: int
    rolled_back: dict[int, str]


def lengths(passes: Sequence[PassConfig]) -> list[int]:
    """Return after how many passes a model is measured: after each that does not merely prepare, and after the last."""
    return [count for count, config in enumerate(passes, 1) if count == len(passes) or not config.prepares]


def choose(recipe: Recipe, passes: int, measured: Callable[[int], Measurement], known: Sequence[int]) -> ChosenResult:
    """Choose the result.

    Passes are rolled back, last first, while the result is slower and not smaller than the input, or an output of it is
    below the fidelity floor. If what remains breaks a budget, the longest run of passes whose result keeps all of them
    is the result; where there is none, the one that misses the fewest, by the least.

    Args:
        recipe: with the budgets, and `on_regression: keep`, by which nothing is rolled back.
        passes: how many there are.
        measured: returns what the model measures after so many passes.
        known: after how many passes it is measured already.
    """
    if recipe.on_regression == "keep":
        return ChosenResult(passes, {})
    rolled_back: dict[int, str] = {}
    length = passes
    while length and (why := _worse(measured(length))):
        length -= 1
        rolled_back[length] = why
    verdicts = judge(recipe, measured(length))
    if all(verdict.met for verdict in verdicts) or not length:
        return ChosenResult(length, rolled_back)
    others = [count for count in known if count < length and not _worse(measured(count))]
    judged = {count: judge(recipe, measured(count)) for count in others} | {length: verdicts}
    best = min(judged, key=lambda count: (*_shortfall(judged[count]), -count))
    why = _reason(verdicts, judged[best])
    return ChosenResult(best, rolled_back | dict.fromkeys(range(best, length), why))


def slower_and_not_smaller(after: Measurement) -> bool:
    """Whether a result is slower than the input, beyond chance, and no smaller."""
    if after.latency_ratio is None or after.size_ratio is None:
        return False
    return after.latency_ratio.low > 1 + MATERIAL and after.size_ratio > 1 - MATERIAL


def _worse(after: Measurement) -> str | None:
    if found := below(after):
        return f"its result is below the fidelity floor: {'; '.join(map(told, found))}"
    return _regression(after)


def _regression(after: Measurement) -> str | None:
    if not slower_and_not_smaller(after):
        return None
    assert after.latency_ratio is not None
    return (
        f"the result was slower than the input (x {after.latency_ratio.value:.2f}) and not smaller"
        f" (x {after.size_ratio:.2f})"
    )


def _shortfall(verdicts: Sequence[BudgetVerdict]) -> tuple[int, float]:
    return sum(not verdict.met for verdict in verdicts), sum(map(excess, verdicts))


def _reason(last: Sequence[BudgetVerdict], best: Sequence[BudgetVerdict]) -> str:
    kept: Mapping[str, bool] = {verdict.budget: verdict.met for verdict in best}
    mended = [verdict.reason for verdict in last if not verdict.met and kept[verdict.budget]]
    if mended:
        return f"its result broke a budget that the one before it keeps: {'; '.join(mended)}"
    return f"its result missed budgets by more than the one before it: {'; '.join(v.reason for v in last if not v.met)}"
