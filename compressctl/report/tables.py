"""The rows of a report as words, shared by the console and Markdown renderers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressctl.measure.accuracy import Comparison
from compressctl.measure.measurement import Interval, Measurement
from compressctl.notes import Note
from compressctl.report.schema import BenchReport, Report

FRACTIONS = ("top1", "top5", "f1")
_SPARSE = 0.9  # a smaller share of parameters that are not zero is worth a row
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Table:
    """A titled table of words; the first column names the rows."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary(report: Report) -> Table:
    """Input and output side by side."""
    before, after = report.input, report.output
    rows = [
        ("size", si(before.bytes, "B"), si(after.bytes, "B"), f"x {after.bytes / max(before.bytes, 1):.3f}"),
        ("parameters", si(before.parameters), si(after.parameters), _change(before.parameters, after.parameters)),
    ]
    if after.nonzeros < _SPARSE * after.parameters:
        rows.append(("non-zero", si(before.nonzeros), si(after.nonzeros), _change(before.nonzeros, after.nonzeros)))
    if before.macs is not None and after.macs is not None and before.macs != after.macs:
        rows.append(("MACs", si(before.macs), si(after.macs), _change(before.macs, after.macs)))
    rows.append(("latency (median)", ms(before), ms(after), ratio(after.latency_ratio)))
    if before.score and after.score and report.metric:
        change = ""
        if after.drop:
            change = f"drop {points(report.metric, after.drop.drop)} [{_pair(report.metric, after.drop)}]"
        rows.append((report.metric, score(report.metric, before), score(report.metric, after), change))
    rows += [
        (f"fidelity of {output.name}", "", f"SQNR {output.sqnr_db:.1f} dB", _agreement(output.agreement, output.scale))
        for output in after.fidelity
    ]
    return Table("Result", ("", "input", "output", "change"), tuple(rows))


def _change(before: int, after: int) -> str:
    """Return the ratio where it is not 1."""
    return f"x {after / before:.3f}" if before and before != after else ""


def budgets(report: Report) -> Table:
    """Each budget, what was measured, and whether it holds."""
    rows = tuple(
        (verdict.budget, f"<= {verdict.limit:g}", f"{verdict.value:.4g}", "met" if verdict.met else "MISSED")
        for verdict in report.budgets
    )
    return Table("Budgets", ("budget", "limit", "measured", "verdict"), rows)


def comparison(report: BenchReport) -> Table:
    """One row a model."""
    several = len(report.models) > 1
    header = ["model", "size", "parameters", "non-zero", "MACs", "load", "median", "p95", "peak memory"]
    header += ["latency ratio [95 %]", "size ratio"] if several else []
    header += [report.metric] if report.metric else []
    header += ["drop [95 %]", "p"] if report.metric and several else []
    header += ["SQNR"] if several else []
    return Table("Models", tuple(header), tuple(_bench_row(report, model, several) for model in report.models))


def executed(model: Measurement) -> Table:
    """The operators that onnxruntime runs after its optimisations."""
    rows = tuple((op, str(count)) for op, count in Counter(model.executed_ops).most_common())
    return Table(f"Executed operators of {Path(model.path).name}", ("operator", "count"), rows)


def grouped(notes: Sequence[Note]) -> list[tuple[str, str]]:
    """Notes as (kind, sentence), equal sentences merged with the names of their nodes."""
    merged: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        merged.setdefault((note.kind, note.text), []).extend([note.node] if note.node else [])
    return [(kind, text + _nodes(nodes)) for (kind, text), nodes in merged.items()]


def si(value: float | None, unit: str = "") -> str:
    """A number with an SI prefix and three digits: 1.12 MB."""
    if value is None:
        return "?"
    for factor, prefix in _UNITS:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:g} {unit}".strip()


def ms(model: Measurement) -> str:
    """The median latency."""
    return f"{model.latency.median_ms:.3g} ms"


def ratio(interval: Interval | None) -> str:
    """A ratio with its interval."""
    return "" if interval is None else f"x {interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def score(metric: str, model: Measurement) -> str:
    """A metric's value with its interval; fractions in percent."""
    if model.score is None:
        return ""
    if metric.split(":")[0] in FRACTIONS:
        return f"{100 * model.score.value:.2f} % [{100 * model.score.low:.2f}, {100 * model.score.high:.2f}]"
    return f"{model.score.value:.4f} [{model.score.low:.4f}, {model.score.high:.4f}]"


def points(metric: str, value: float) -> str:
    """A difference of a metric: percentage points for fractions."""
    return f"{100 * value:+.2f} points" if metric.split(":")[0] in FRACTIONS else f"{value:+.4f}"


def _pair(metric: str, interval: Comparison) -> str:
    if metric.split(":")[0] in FRACTIONS:
        return f"{100 * interval.low:+.2f}, {100 * interval.high:+.2f}"
    return f"{interval.low:+.4f}, {interval.high:+.4f}"


def _agreement(agreement: float | None, scale: float) -> str:
    words = [] if agreement is None else [f"agrees {100 * agreement:.2f} %"]
    return ", ".join([*words, f"scale {scale:.4f}"])


def _nodes(nodes: Sequence[str]) -> str:
    if not nodes:
        return ""
    shown = ", ".join(nodes[:4])
    return f": {shown}" + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else "")


def _bench_row(report: BenchReport, model: Measurement, several: bool) -> tuple[str, ...]:
    row = [
        model.path,
        si(model.bytes, "B"),
        si(model.parameters),
        f"{100 * model.nonzeros / max(model.parameters, 1):.1f} %",
        si(model.macs),
        f"{model.latency.load_ms:.3g} ms",
        ms(model),
        f"{model.latency.p95_ms:.3g} ms",
        si(model.peak_memory, "B"),
    ]
    if several:
        row += [ratio(model.latency_ratio), "" if model.size_ratio is None else f"x {model.size_ratio:.3f}"]
    if report.metric:
        row.append(score(report.metric, model))
        if several and model.drop:
            drop = f"{points(report.metric, model.drop.drop)} [{_pair(report.metric, model.drop)}]"
            row += [drop, f"{model.drop.p_value:.3f}"]
        elif several:
            row += ["", ""]
    if several:
        row.append(", ".join(f"{output.sqnr_db:.1f} dB" for output in model.fidelity))
    return tuple(row)
