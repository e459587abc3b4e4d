"""Two reports side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from compressctl.measure.interval import Interval
from compressctl.measure.measurement import Measurement
from compressctl.notes import Note, warning
from compressctl.report.budgets import judged, limit, measured
from compressctl.report.schema import Report
from compressctl.report.tables import labels, numbered

Unit = Literal["B", "ms", "ratio", "count", "metric", "drop", "dB", "text"]
Value = Interval | int | float | str | None


@dataclass(frozen=True)
class Figure:
    """One thing that two reports tell.

    Attributes:
        name: what it is.
        unit: "ratio" is over the report's own input; "metric" and "drop" are in the unit of the metric.
        a, b: the values; None where a report does not have it.
    """

    name: str
    unit: Unit
    a: Value
    b: Value


@dataclass(frozen=True)
class ReportDiff:
    """Two reports side by side.

    Attributes:
        a, b: what the reports are called.
        metric: of both, or None.
        result: verdict, size, latency, metric of the two results, and how close each output is to the input's.
        budgets: what came of each.
        passes: size, latency and metric after each pass that one of them measured.
        layers: of layers that both explain, bytes and errors.
        options: keys of the recipes that differ.
        surroundings: what differs in input, machine and versions.
        notes: what makes figures hard to compare.
    """

    a: str
    b: str
    metric: str | None
    result: tuple[Figure, ...]
    budgets: tuple[Figure, ...]
    passes: tuple[Figure, ...]
    layers: tuple[Figure, ...]
    options: tuple[Figure, ...]
    surroundings: tuple[Figure, ...]
    notes: tuple[Note, ...]


def diff_reports(a: Report, b: Report, names: tuple[str, str]) -> ReportDiff:
    """Put two reports, called `names`, side by side."""
    verdict = Figure("verdict", "text", a.verdict, b.verdict)
    input_ms = Figure("latency of the input", "ms", *(_median_ms(report.input) for report in (a, b)))
    run = Figure("run", "text", *(f"{report.seconds:.1f} s" for report in (a, b)))
    metric = a.metric if a.metric == b.metric else None

    def comparable(figures: Iterable[Figure]) -> Iterator[Figure]:
        return (figure for figure in figures if metric or figure.unit not in ("metric", "drop"))

    return ReportDiff(
        *names,
        metric=metric,
        result=(verdict, *comparable(_measured(a.output, b.output)), *_fidelity(a.output, b.output), input_ms, run),
        budgets=tuple(_differing_or_not(_budgets(a), _budgets(b))),
        passes=tuple(comparable(_passes(a, b))),
        layers=tuple(figure for figure in _layers(a, b) if str(figure.a) != str(figure.b)),
        options=tuple(_options(a.recipe, b.recipe)),
        surroundings=tuple(_differing(_surroundings(a), _surroundings(b))),
        notes=tuple(_notes(a, b)),
    )


def _measured(a: Measurement | None, b: Measurement | None, prefix: str = "") -> Iterator[Figure]:
    """Yield what is measured of a model by both or by one; after a pass, `prefix`, less than of a result."""
    for name, unit, read in (*_OF_EACH, *(() if prefix else _OF_RESULTS)):
        values = [None if model is None else read(model) for model in (a, b)]
        if values != [None, None]:
            yield Figure(f"{prefix}{name}", unit, *values)


def _fidelity(a: Measurement, b: Measurement) -> Iterator[Figure]:
    """Yield the SQNR of each output; of one without values there is none."""
    found = [{one.name: one.sqnr_db for one in model.fidelity if one.values != 0} for model in (a, b)]
    for name in dict.fromkeys([*found[0], *found[1]]):
        yield Figure(f"SQNR of {name}", "dB", found[0].get(name), found[1].get(name))


def _passes(a: Report, b: Report) -> Iterator[Figure]:
    found = [dict(zip(labels(report), (item.measured for item in report.passes), strict=True)) for report in (a, b)]
    for label in dict.fromkeys([*found[0], *found[1]]):
        yield from _measured(found[0].get(label), found[1].get(label), f"{label}: ")


def _layers(a: Report, b: Report) -> Iterator[Figure]:
    if a.explanation is None or b.explanation is None:
        return
    theirs = {row.name: row for row in b.explanation.layers}
    for row in a.explanation.layers:
        if (other := theirs.get(row.name)) is not None:
            last = [rows.sqnr[-1].sqnr_db if rows.sqnr else None for rows in (row, other)]
            alone = [rows.sensitivity.sqnr_db if rows.sensitivity else None for rows in (row, other)]
            yield Figure(f"{row.name}: bytes", "B", row.after.bytes, other.after.bytes)
            yield Figure(f"{row.name}: SQNR of its output", "dB", *last)
            yield Figure(f"{row.name}: SQNR of it alone", "dB", *alone)


def _budgets(report: Report) -> dict[str, str]:
    return {
        verdict.budget: f"{limit(verdict, report.metric)}: {measured(verdict, report.metric)}, {judged(verdict)}"
        for verdict in report.budgets
    }


def _surroundings(report: Report) -> dict[str, str]:
    machine = {f"machine: {key}": str(value) for key, value in asdict(report.machine).items()}
    return {"input SHA-256": report.input_sha256, "metric": str(report.metric), **machine, **report.versions}


def _options(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Figure]:
    """Yield the keys of recipes that differ; a pass that only one of them has is one of them."""
    (keys, passes), (other_keys, other_passes) = (_by_pass(recipe) for recipe in (a, b))
    yield from _differing(_flat(keys), _flat(other_keys))
    yield from _differing({"passes": ", ".join(passes)}, {"passes": ", ".join(other_passes)})
    for label in dict.fromkeys([*passes, *other_passes]):
        if label in passes and label in other_passes:
            yield from _differing(_flat(passes[label], label), _flat(other_passes[label], label))
        else:
            texts = [json.dumps(found[label]) if label in found else None for found in (passes, other_passes)]
            yield Figure(label, "text", *texts)


def _by_pass(recipe: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keys of a recipe without its passes, and the options of each pass that are set."""
    passes = [
        {key: value for key, value in options.items() if value is not None} for options in recipe.get("passes", ())
    ]
    names = numbered([options.get("type", "") for options in passes])
    return {key: value for key, value in recipe.items() if key != "passes"}, dict(zip(names, passes, strict=True))


def _flat(content: Any, path: str = "") -> dict[str, str]:
    """Return what is set in nested dictionaries and lists by its dotted path, as JSON."""
    if isinstance(content, dict):
        items: list[tuple[str, Any]] = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list):
        items = [(str(index), value) for index, value in enumerate(content)]
    else:
        return {} if content is None else {path: json.dumps(content)}
    return {key: text for name, value in items for key, text in _flat(value, f"{path}.{name}".lstrip(".")).items()}


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Figure]:
    return (figure for figure in _differing_or_not(a, b) if figure.a != figure.b)


def _differing_or_not(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Figure]:
    for key in dict.fromkeys([*a, *b]):
        yield Figure(key, "text", a.get(key), b.get(key))


def _notes(a: Report, b: Report) -> Iterator[Note]:
    if a.input_sha256 != b.input_sha256:
        yield warning("the two runs began with different models: ratios and drops are over different inputs")
    if a.machine != b.machine:
        yield warning("the two runs were measured on different machines: compare latency ratios, not milliseconds")
    if a.metric != b.metric:
        yield warning(f"the metrics differ: {a.metric} and {b.metric}")


def _median_ms(model: Measurement) -> float | None:
    return None if model.latency is None else model.latency.median_ms


_OF_EACH: tuple[tuple[str, Unit, Callable[[Measurement], Value]], ...] = (
    ("size", "B", lambda model: model.bytes),
    ("size ratio", "ratio", lambda model: model.size_ratio),
    ("latency ratio", "ratio", lambda model: model.latency_ratio),
    ("metric", "metric", lambda model: model.score),
    ("drop", "drop", lambda model: model.drop.interval if model.drop else None),
)
_OF_RESULTS: tuple[tuple[str, Unit, Callable[[Measurement], Value]], ...] = (
    ("latency (median)", "ms", _median_ms),
    ("parameters", "count", lambda model: model.parameters),
    ("non-zero", "count", lambda model: model.nonzeros),
    ("MACs", "count", lambda model: model.macs),
    ("peak memory", "B", lambda model: model.peak_memory),
)
