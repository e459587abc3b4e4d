"""Budgets in words."""

from __future__ import annotations

import math

from compressctl.budgets import BUDGETS, PLAIN, Unit
from compressctl.measure.metrics import is_share
from compressctl.report.formatting import si
from compressctl.report.schema import BudgetVerdict, Report
from compressctl.report.tables import Table

_DIGITS = 5  # so that what just misses a limit does not read like it


def budgets(report: Report) -> Table:
    """Each budget, what was measured, and whether it holds."""
    rows = tuple(
        (verdict.budget, limit(verdict, report.metric), measured(verdict, report.metric), judged(verdict))
        for verdict in report.budgets
    )
    return Table("Budgets", ("budget", "limit", "measured [95 %]", "verdict"), rows)


def unsettled(report: Report) -> list[BudgetVerdict]:
    """Return the budgets whose reason is worth reading: missed, or met without being sure."""
    return [verdict for verdict in report.budgets if not (verdict.met and _is_sure(verdict))]


def limit(verdict: BudgetVerdict, metric: str | None) -> str:
    """What was asked for."""
    side = "at least" if verdict.budget in BUDGETS and BUDGETS[verdict.budget].at_least else "at most"
    return f"{side} {_figure(verdict.budget, metric, verdict.limit).removeprefix('+')}"


def measured(verdict: BudgetVerdict, metric: str | None) -> str:
    """What was measured, with its interval where it is not exact."""
    if verdict.value == math.inf:
        return "equal" if verdict.budget in BUDGETS and BUDGETS[verdict.budget].at_least else "infinite"
    if math.isnan(verdict.value):
        return "equal" if verdict.met else "not measured"  # infinity, which JSON lacks
    if verdict.low == verdict.high:
        return _figure(verdict.budget, metric, verdict.value)
    unit = _unit(verdict.budget, metric)
    interval = f"[{unit.factor * verdict.low:{unit.digits}}, {unit.factor * verdict.high:{unit.digits}}]"
    return f"{_figure(verdict.budget, metric, verdict.value)} {interval}"


def judged(verdict: BudgetVerdict) -> str:
    """The verdict, and whether it is sure."""
    clock = verdict.budget in BUDGETS and BUDGETS[verdict.budget].clock is not None
    unsure = ", cannot tell" if clock else ", not sure"
    return ("met" if verdict.met else "MISSED") + ("" if _is_sure(verdict) else unsure)


def _is_sure(verdict: BudgetVerdict) -> bool:
    return not verdict.low < verdict.limit < verdict.high


def _figure(budget: str, metric: str | None, value: float) -> str:
    unit = _unit(budget, metric)
    return si(value, unit.form, _DIGITS) if unit.si else unit.form.format(f"{unit.factor * value:{unit.digits}}")


def _unit(name: str, metric: str | None) -> Unit:
    """Return how the figures of a budget are written; of a pass's target as they are."""
    budget = BUDGETS.get(name)
    if budget is None:
        return PLAIN
    share = metric is not None and is_share(metric)
    return budget.unit_of_shares if share and budget.unit_of_shares is not None else budget.unit
