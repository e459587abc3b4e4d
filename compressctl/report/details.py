"""Tables of what is in a report where it was asked for: layers, robustness, the Pareto front of a search."""

from __future__ import annotations

from compressctl.explanation.schema import Cost, Explanation, LayerRow
from compressctl.report.formatting import decibels, drop, percent, ratio, score, si, times
from compressctl.report.schema import Report
from compressctl.report.tables import Table
from compressctl.robustness.schema import Robustness


def details(report: Report, *, verbose: bool = True) -> list[Table]:
    """Return the tables that the report has something for; all layers only where `verbose`."""
    tables = []
    if report.explanation:
        tables += [layers(report.explanation)] if verbose else []
        tables += [worst(report.explanation)] if report.explanation.worst else []
    if report.robustness:
        tables.append(robustness(report.robustness))
    return [*tables, *([front(report)] if report.front else [])]


def layers(explanation: Explanation) -> Table:
    """One row a layer: what it costs before and after, and what its weights do to its output and to the model's."""
    ends = [row.after for row in explanation.layers[0].sqnr] if explanation.layers else []
    header = ["layer", "operator", "bytes", "MACs", "time share", *(f"SQNR after {end}" for end in ends)]
    header += ["SQNR of it alone", *(["drop of it alone [95 %]"] if explanation.metric else [])]
    rows = [_layer_row(row, explanation.metric) for row in explanation.layers]
    other = ("others", "", *_costs(explanation.other_before, explanation.other_after))
    rows.append((*other, *[""] * (len(header) - len(other))))
    return Table("Layers", tuple(header), tuple(rows))


def worst(explanation: Explanation) -> Table:
    """The most sensitive layers."""
    rows = tuple((layer.name, layer.after or "", layer.why) for layer in explanation.worst)
    return Table("Worst layers", ("layer", "harmed by", "why"), rows)


def robustness(found: Robustness) -> Table:
    """The metric of input and result under each change of the samples."""
    rows = tuple(
        (
            row.name,
            row.text,
            score(found.metric, row.baseline),
            score(found.metric, row.result),
            drop(found.metric, row.drop),
        )
        for row in found.conditions
    )
    header = ("condition", "change", f"{found.metric} of the input", "of the result", "drop [95 %]")
    return Table(f"Robustness on {found.samples} samples", header, rows)


def front(report: Report) -> Table:
    """The Pareto front, the smallest model first, numbered as in the plots."""
    rows = tuple(
        (
            str(number),
            point.label,
            si(point.bytes, "B"),
            times(point.size_ratio),
            ratio(point.latency_ratio),
            *((drop(report.metric, point.drop),) if report.metric else ()),
            ", ".join(["chosen"] * point.chosen + ["breaks a budget"] * (not point.feasible)),
            point.recipe_path,
        )
        for number, point in enumerate(report.front, 1)
    )
    header = ["", "passes", "size", "size ratio", "latency ratio [95 %]", *(["drop [95 %]"] if report.metric else [])]
    return Table("Pareto front", (*header, "", "recipe"), rows)


def _layer_row(row: LayerRow, metric: str | None) -> tuple[str, ...]:
    sensitivity = decibels(row.sensitivity.sqnr_db) if row.sensitivity else ""
    drops = (drop(metric, row.sensitivity.drop) if row.sensitivity else "",) if metric else ()
    return (
        row.name,
        row.op,
        *_costs(row.before, row.after),
        *(decibels(found.sqnr_db) for found in row.sqnr),
        sensitivity,
        *drops,
    )


def _costs(before: Cost, after: Cost) -> tuple[str, str, str]:
    return (
        f"{si(before.bytes, 'B')} → {si(after.bytes, 'B')}",
        f"{si(before.macs)} → {si(after.macs)}",
        f"{percent(before.time_share)} → {percent(after.time_share)}",
    )
