"""Budgets in words."""

from __future__ import annotations

import math

from compressctl.report.schema import BudgetVerdict, Report
from compressctl.report.tables import Table
from compressctl.report.words import is_fraction, si

AT_LEAST = ("min_accuracy", "min_sqnr", "min_agreement")
_DIGITS = 5  # so that what just misses a limit does not read like it
_RATIOS = ("size_ratio", "latency_ratio")
_UNSURE = dict.fromkeys(("latency_ratio", "max_latency_ms"), ", cannot tell")
_BYTES = ("max_size", "max_memory")


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
    side = "at least" if verdict.budget in AT_LEAST else "at most"
    return f"{side} {_figure(verdict.budget, metric, verdict.limit).removeprefix('+')}"


def measured(verdict: BudgetVerdict, metric: str | None) -> str:
    """What was measured, with its interval where it is not exact."""
    if verdict.value == math.inf:
        return "equal"
    if math.isnan(verdict.value):
        return "equal" if verdict.met else "not measured"  # infinity, which JSON lacks
    if verdict.low == verdict.high:
        return _figure(verdict.budget, metric, verdict.value)
    _, factor, digits = _form(verdict.budget, metric)
    interval = f"[{factor * verdict.low:{digits}}, {factor * verdict.high:{digits}}]"
    return f"{_figure(verdict.budget, metric, verdict.value)} {interval}"


def judged(verdict: BudgetVerdict) -> str:
    """The verdict, and whether it is sure."""
    unsure = _UNSURE.get(verdict.budget, ", not sure")
    return ("met" if verdict.met else "MISSED") + ("" if _is_sure(verdict) else unsure)


def _is_sure(verdict: BudgetVerdict) -> bool:
    return not verdict.low < verdict.limit < verdict.high


def _figure(budget: str, metric: str | None, value: float) -> str:
    if budget in _BYTES:
        return si(value, "B", _DIGITS)
    form, factor, digits = _form(budget, metric)
    return form.format(f"{factor * value:{digits}}")


def _form(budget: str, metric: str | None) -> tuple[str, float, str]:
    """Return how a figure is written: with its unit, the factor to that unit, and its digits."""
    if budget in _RATIOS:
        return "x {}", 1, ".4g"
    if budget == "max_latency_ms":
        return "{} ms", 1, ".4g"
    if budget == "min_sqnr":
        return "{} dB", 1, ".4g"
    if budget == "min_agreement":
        return "{} %", 100, ".4g"
    share = metric is not None and is_fraction(metric)
    if budget == "min_accuracy":
        return ("{} %", 100, ".4g") if share else ("{}", 1, ".4g")
    if budget == "max_accuracy_drop":
        return ("{} points", 100, "+.2f") if share else ("{}", 1, "+.4g")
    return "{}", 1, ".4g"
