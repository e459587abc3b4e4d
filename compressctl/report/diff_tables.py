"""Reports and models side by side, as tables."""

from __future__ import annotations

import math
from collections import Counter

from compressctl.measure.interval import Interval
from compressctl.report.diff import Figure, ReportDiff, Unit, Value
from compressctl.report.formatting import change, decibels, drop, points, ratio, score, si, times
from compressctl.report.model_diff import ModelDiff, TensorForm
from compressctl.report.tables import Table, comparison
from compressctl.tensorspec import TensorSpec


def report_tables(diff: ReportDiff) -> list[Table]:
    """Return the difference as tables, those that have rows."""
    sections = {
        "Result": diff.result,
        "Budgets": diff.budgets,
        "After each pass": diff.passes,
        "Layers that differ": diff.layers,
        "Recipe keys that differ": diff.options,
        "Input, machine and versions that differ": diff.surroundings,
    }
    return [
        Table(title, ("", diff.a, diff.b, "change"), tuple(_row(figure, diff.metric or "") for figure in figures))
        for title, figures in sections.items()
        if figures
    ]


def model_tables(diff: ModelDiff, *, verbose: bool) -> list[Table]:
    """Return the difference as tables; each tensor only where `verbose`."""
    operators = tuple((op, str(a), str(b), f"{b - a:+}") for op, (a, b) in diff.operators.items())
    layers = tuple((row.name, row.op, "x".join(map(str, row.shape)), _layer_sqnr(row.sqnr_db)) for row in diff.layers)
    found = [_models(diff)]
    found += [Table("Operators", ("", diff.a.path, diff.b.path, "change"), operators)] if operators else []
    found += [Table("Layers with other weights", ("layer", "operator", "shape", "SQNR"), layers)] if layers else []
    if verbose and diff.tensors:
        rows = tuple((row.name, row.kind, _form(row.a), _form(row.b), _known(row.sqnr_db)) for row in diff.tensors)
        found.append(Table("Stored tensors", ("tensor", "", diff.a.path, diff.b.path, "SQNR"), rows))
    return [*found, *([comparison(diff.measured)] if diff.measured else [])]


def _models(diff: ModelDiff) -> Table:
    a, b = diff.a, diff.b
    kinds = Counter(row.kind for row in diff.tensors)
    told = ", ".join(f"{kinds[kind]} {kind}" for kind in ("added", "removed", "changed") if kinds[kind])
    rows = (
        ("size", si(a.bytes, "B"), si(b.bytes, "B"), change(a.bytes, b.bytes)),
        ("parameters", si(a.parameters), si(b.parameters), change(a.parameters, b.parameters)),
        ("non-zero", si(a.nonzeros), si(b.nonzeros), change(a.nonzeros, b.nonzeros)),
        ("MACs", si(a.macs), si(b.macs), change(a.macs, b.macs)),
        ("nodes", str(a.nodes), str(b.nodes), change(a.nodes, b.nodes)),
        ("opset", str(a.opset), str(b.opset), ""),
        ("inputs", _specs(a.inputs), _specs(b.inputs), "" if a.inputs == b.inputs else "differ"),
        ("outputs", _specs(a.outputs), _specs(b.outputs), "" if a.outputs == b.outputs else "differ"),
        ("stored tensors", "", f"{diff.same_tensors} the same", told),
    )
    return Table("Models", ("", a.path, b.path, "change"), rows)


def _row(figure: Figure, metric: str) -> tuple[str, ...]:
    texts = [_text(value, figure.unit, metric) for value in (figure.a, figure.b)]
    return (figure.name, *texts, _change(figure, metric))


def _text(value: Value, unit: Unit, metric: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Interval):
        if unit == "ratio":
            return ratio(value)
        return drop(metric, value) if unit == "drop" else score(metric, value)
    if unit == "ms":
        return f"{value:.3g} ms"
    if unit == "dB":
        return decibels(value)
    return times(value) if unit == "ratio" else si(value, "B" if unit == "B" else "")


def _change(figure: Figure, metric: str) -> str:
    a, b = (x.value if isinstance(x, Interval) else x for x in (figure.a, figure.b))
    if a is None or b is None or isinstance(a, str) or isinstance(b, str) or a == b:
        return ""
    if not (math.isfinite(a) and math.isfinite(b)):
        return ""
    if figure.unit in ("metric", "drop"):
        return points(metric, b - a)
    if figure.unit == "dB":
        return f"{b - a:+.1f} dB"
    return times(b / a) if a else ""


def _layer_sqnr(value: float | None) -> str:
    return "other shape or form" if value is None else decibels(value)


def _known(value: float | None) -> str:
    return "" if value is None else decibels(value)


def _form(form: TensorForm | None) -> str:
    return "" if form is None else f"{form.dtype} [{'x'.join(map(str, form.shape))}] {si(form.bytes, 'B')}"


def _specs(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(map(str, specs))
