"""What of a report is plotted."""

from __future__ import annotations

import math
from typing import Any

from compressctl.explanation.schema import Explanation
from compressctl.measure.interval import Interval
from compressctl.measure.measurement import Measurement
from compressctl.report.charts import Bars, Chart, Item, Lines, Scatter, bars, dots, lines, scatter
from compressctl.report.formatting import decibels, drop, ms, percent, ratio, score, si
from compressctl.report.schema import FrontPoint, Report
from compressctl.report.tables import labels
from compressctl.robustness.schema import Robustness

_OPERATORS = 10  # of a profile; the rest is small
_FAINTEST = 1e-9  # noise that counts as none
_INPUT, _DROPPED = "input", "dropped"  # tones


def of_result(report: Report) -> list[Chart]:
    """Size, latency and metric of the input, after each pass, and of the result."""
    stages = _stages(report)
    limits = {verdict.budget: verdict.limit for verdict in report.budgets}
    size_limits = [limits["max_size"]] if "max_size" in limits else []
    size_limits += [limits["size_ratio"] * report.input.bytes] if "size_ratio" in limits else []
    sizes = [Item(label, model.bytes, si(model.bytes, "B"), tone=tone) for label, model, tone in stages]
    one = Interval(1, 1, 1)
    latencies = [
        _with_interval(label, ratio(model.latency_ratio) or ms(model), model.latency_ratio or one, tone)
        for label, model, tone in stages
    ]
    charts: list[Chart] = [
        bars("Size", sizes, limit=min(size_limits, default=None), limit_text="budget"),
        bars(
            "Latency, as a ratio over the input",
            latencies,
            limit=limits.get("latency_ratio", 1.0),
            limit_text="budget" if "latency_ratio" in limits else "input",
        ),
    ]
    scored = [(label, model.score, tone) for label, model, tone in stages if model.score is not None]
    if report.metric and scored:
        items = [_with_interval(label, score(report.metric, found), found, tone) for label, found, tone in scored]
        lowest = limits.get("min_accuracy")
        charts.append(dots(f"{report.metric}, with its 95 % interval", items, limit=lowest, limit_text="budget"))
    return charts


def of_time(report: Report) -> list[Bars]:
    """Where the time of an inference goes, before and after, where it was measured."""
    charts = []
    for name, model in (("input", report.input), ("result", report.output)):
        if model.profile:
            rows = model.profile.by_op[:_OPERATORS]
            items = [Item(row.op, row.ms, f"{row.ms:.3f} ms, {percent(row.share)}") for row in rows]
            charts.append(bars(f"Time by operator of the {name}, {model.profile.total_ms:.3f} ms in all", items))
    return charts


def of_layers(explanation: Explanation) -> list[Bars]:
    """SQNR of the layers' outputs after the last pass that has figures of it, and what disturbs the outputs."""
    ends = [found.after for found in explanation.outputs]
    charts = []
    for end in reversed(ends):
        found = [(row.name, at) for row in explanation.layers for at in row.sqnr if at.after == end]
        items = [Item(name, at.sqnr_db, decibels(at.sqnr_db)) for name, at in found if at.sqnr_db is not None]
        if items:
            charts.append(bars(f"SQNR of each layer's output after {end}: more is closer to the original", items))
            break
    sensitivities = [(row.name, row.sensitivity) for row in explanation.layers if row.sensitivity]
    if sensitivities:
        items = [Item(name, sensitivity.sqnr_db, decibels(sensitivity.sqnr_db)) for name, sensitivity in sensitivities]
        charts.append(bars("SQNR of the outputs with one layer's new weights alone: less is more sensitive", items))
    return charts


def of_robustness(found: Robustness) -> Bars:
    """The metric of input and result under each condition."""
    items = []
    for row in found.conditions:
        name = f"{row.name} {row.strength:g}" if row.strength else row.name
        items.append(_with_interval(f"{name}: input", score(found.metric, row.baseline), row.baseline, _INPUT))
        items.append(_with_interval(f"{name}: result", score(found.metric, row.result), row.result))
    return dots(f"{found.metric} under changed inputs, with its 95 % interval", items)


def of_front(report: Report) -> list[Scatter]:
    """The Pareto front: drop over size and over latency, or latency over size where no metric is measured."""
    smaller = [(_size(number, point), point) for number, point in enumerate(report.front, 1)]
    faster = [(_latency(number, point), point) for number, point in enumerate(report.front, 1)]
    if report.metric and all(point.drop for point in report.front):
        metric, up = report.metric, f"drop of {report.metric}"
        return [
            scatter(f"Pareto front: {up} over {name}", name, up, [(x, _drop(metric, point)) for x, point in places])
            for name, places in (("size ratio", smaller), ("latency ratio", faster))
        ]
    pairs = [(x, y) for (x, _), (y, _) in zip(smaller, faster, strict=True)]
    return [scatter("Pareto front: latency ratio over size ratio", "size ratio", "latency ratio", pairs)]


def of_sensitivity(table: dict[str, Any]) -> Lines:
    """Each layer pruned alone (`pruning.sensitivity.table`): the metric, or the noise of the outputs in decibels."""
    ratios = table["ratios"]
    metric = table["metric"]
    curves = []
    for row in table["layers"]:
        if metric is None:
            curve = [(share, _decibels(noise)) for share, noise in zip(ratios, row["noise"], strict=True)]
        else:
            curve = list(zip([0.0, *ratios], map(_number, [table["unpruned"], *row["score"]]), strict=True))
        curves.append((row["layer"], curve))
    title = f"Each layer pruned alone, on {table['samples']} samples"
    return lines(title, "share pruned", metric or "noise of the outputs, dB", curves)


def _stages(report: Report) -> list[tuple[str, Measurement, str]]:
    """Return (label, measurement, tone) of the input, after each measured pass, and of the result where it differs."""
    stages = [("input", report.input, _INPUT)]
    passes = list(zip(labels(report), report.passes, strict=True))
    for label, item in passes:
        if item.measured is not None:
            tone = _DROPPED if item.rolled_back else ""
            stages.append((f"after {label}{' (rolled back)' if item.rolled_back else ''}", item.measured, tone))
    if len(stages) == 1 or any(item.rolled_back for _, item in passes):
        stages.append(("result", report.output, ""))
    return stages


def _with_interval(label: str, text: str, found: Interval, tone: str = "") -> Item:
    return Item(label, found.value, text, found.low, found.high, tone)


def _size(number: int, point: FrontPoint) -> Item:
    return Item(str(number), point.size_ratio, f"{point.label}: size x {point.size_ratio:.3f}", tone=_tone(point))


def _latency(number: int, point: FrontPoint) -> Item:
    return _with_interval(str(number), f"latency {ratio(point.latency_ratio)}", point.latency_ratio, _tone(point))


def _drop(metric: str, point: FrontPoint) -> Item:
    assert point.drop is not None
    return _with_interval("", f"drop {drop(metric, point.drop)}", point.drop)


def _tone(point: FrontPoint) -> str:
    return "chosen" if point.chosen else "" if point.feasible else _DROPPED


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _decibels(noise: float | None) -> float:
    return 10 * math.log10(max(_number(noise), _FAINTEST))
