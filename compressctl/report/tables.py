"""The rows of a report as words, shared by all renderers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressctl.measure.fidelity import OutputFidelity
from compressctl.measure.measurement import Measurement
from compressctl.measure.profile import Profile
from compressctl.notes import Note
from compressctl.report.formatting import (
    change,
    clock,
    drop,
    fidelity,
    in_a_row,
    ms,
    nats,
    percent,
    ratio,
    score,
    si,
    times,
)
from compressctl.report.schema import BenchReport, Report

_SPARSE = 0.9  # a smaller share of parameters that are not zero is worth a row


@dataclass(frozen=True)
class Table:
    """A titled table of words; the first column names the rows."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary(report: Report) -> Table:
    """Input and output side by side."""
    before, after = report.input, report.output
    rows: list[tuple[str, ...]] = [
        ("size", si(before.bytes, "B"), si(after.bytes, "B"), times(after.bytes / max(before.bytes, 1))),
        ("parameters", si(before.parameters), si(after.parameters), change(before.parameters, after.parameters)),
    ]
    if after.nonzeros < _SPARSE * after.parameters:
        rows.append(("non-zero", si(before.nonzeros), si(after.nonzeros), change(before.nonzeros, after.nonzeros)))
    if before.macs is not None and after.macs is not None and before.macs != after.macs:
        rows.append(("MACs", si(before.macs), si(after.macs), change(before.macs, after.macs)))
    of = f" of one of {row}" if (row := in_a_row(after)) else ""
    rows.append((f"latency{of} ({clock(after)}median)", ms(before), ms(after), ratio(after.latency_ratio)))
    if before.peak_memory is not None and after.peak_memory is not None:
        memory = (before.peak_memory, after.peak_memory)
        rows.append(("peak memory", *(si(value, "B") for value in memory), change(*memory)))
    if before.score and after.score and report.metric:
        lost = f"drop {drop(report.metric, after.drop)}" if after.drop else ""
        rows.append((report.metric, score(report.metric, before.score), score(report.metric, after.score), lost))
    low = {found.output for found in report.below}
    rows += [(f"fidelity of {output.name}", "", *_fidelity(output, low)) for output in after.fidelity]
    return Table("Result", ("", "input", "output", "change"), tuple(rows))


def has_steps(report: Report) -> bool:
    """Whether a table of what happens after each pass says more than that of the result."""
    measured = sum(item.measured is not None for item in report.passes)
    return measured > 1 or any(item.cached or item.rolled_back for item in report.passes)


def after_each_pass(report: Report) -> Table:
    """What the model measures after each pass; blank after those that only prepare the next."""
    header = ["after", "size", "size ratio", "latency ratio [95 %]"]
    header += [f"{report.metric} [95 %]", "drop [95 %]"] if report.metric else []
    rows = [_pass_row(report.metric, "input", report.input, "")]
    for label, item in zip(labels(report), report.passes, strict=True):
        remarks = ["cached"] if item.cached else []
        remarks += ["rolled back"] if item.rolled_back else []
        rows.append(_pass_row(report.metric, label, item.measured, ", ".join(remarks)))
    return Table("After each pass", (*header, ""), tuple(rows))


def labels(report: Report) -> list[str]:
    """Return the name of each pass: its type, with its place where that comes more than once."""
    return numbered([item.type for item in report.passes])


def numbered(types: Sequence[str]) -> list[str]:
    """Return types of passes, with their places where they come more than once."""
    return [name if types.count(name) == 1 else f"{place} {name}" for place, name in enumerate(types, 1)]


def comparison(report: BenchReport) -> Table:
    """One row a model."""
    several = len(report.models) > 1
    header = ["model", "size", "parameters", "non-zero", "MACs", "load", "median", "p95", "peak memory"]
    header += ["latency ratio [95 %]", "size ratio"] if several else []
    header += [report.metric] if report.metric else []
    header += ["drop [95 %]", "p"] if report.metric and several else []
    header += ["SQNR"] if several else []
    header += ["KL [95 %]", "same next token"] if _words(report) else []
    title = f"Models, timed over {row}" if (row := in_a_row(report.models[0])) else "Models"
    return Table(title, tuple(header), tuple(_bench_row(report, model, several) for model in report.models))


def executed(model: Measurement) -> Table:
    """The operators that onnxruntime runs after its optimisations."""
    rows = tuple((op, str(count)) for op, count in Counter(model.executed_ops).most_common())
    return Table(f"Executed operators of {Path(model.path).name}", ("operator", "count"), rows)


def by_operator(path: str, profile: Profile) -> Table:
    """Where the time of an inference goes, operator by operator."""
    rows = tuple((row.op, f"{row.ms:.3f}", percent(row.share), str(row.count)) for row in profile.by_op)
    return Table(f"Time by operator of {path}", ("operator", "ms", "share", "count"), rows)


def slowest_nodes(path: str, profile: Profile) -> Table:
    """Where the time of an inference goes, node by node."""
    rows = tuple((row.name, row.op, f"{row.ms:.3f}", percent(row.share)) for row in profile.slowest)
    return Table(f"Slowest nodes of {path}", ("node", "operator", "ms", "share"), rows)


def grouped(notes: Sequence[Note]) -> list[tuple[str, str]]:
    """Notes as (kind, sentence), equal sentences merged with the names of their nodes."""
    merged: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        merged.setdefault((note.kind, note.text), []).extend([note.node] if note.node else [])
    return [(kind, text + _nodes(nodes)) for (kind, text), nodes in merged.items()]


def _pass_row(metric: str | None, label: str, model: Measurement | None, remarks: str) -> tuple[str, ...]:
    if model is None:
        return (label, "", "", "", *(("", "") if metric else ()), remarks)
    row = (label, si(model.bytes, "B"), times(model.size_ratio), ratio(model.latency_ratio))
    scores = (score(metric, model.score), drop(metric, model.drop)) if metric else ()
    return (*row, *scores, remarks)


def _fidelity(output: OutputFidelity, low: Collection[str]) -> tuple[str, str]:
    """SQNR, and what else tells how close an output is, with a mark where it is below the floor."""
    if output.values == 0:
        return fidelity(output), ""
    words = [] if output.kl is None else [f"KL {nats(output.kl)}"]
    words += [] if output.agreement is None else [f"agrees {100 * output.agreement:.2f} %"]
    words += [] if output.equal is None else [f"{100 * output.equal:.2f} % equal"]
    words += [] if math.isnan(output.scale) else [f"scale {output.scale:.4f}"]
    words += ["on random numbers"] * output.made_up
    return f"SQNR {fidelity(output)}", ", ".join(words + ["BELOW THE FLOOR"] * (output.name in low))


def _nodes(nodes: Sequence[str]) -> str:
    if not nodes:
        return ""
    shown = ", ".join(nodes[:4])
    return f": {shown}" + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else "")


def _words(report: BenchReport) -> bool:
    """Whether the models tell next tokens."""
    return any(one.kl is not None for model in report.models for one in model.fidelity)


def _bench_row(report: BenchReport, model: Measurement, several: bool) -> tuple[str, ...]:
    row = [
        model.path,
        si(model.bytes, "B"),
        si(model.parameters),
        f"{100 * model.nonzeros / max(model.parameters, 1):.1f} %",
        si(model.macs),
        f"{model.latency.load_ms:.3g} ms" if model.latency else "",
        ms(model),
        f"{model.latency.p95_ms:.3g} ms" if model.latency else "",
        si(model.peak_memory, "B"),
    ]
    if several:
        row += [ratio(model.latency_ratio), times(model.size_ratio)]
    if report.metric:
        row.append(score(report.metric, model.score))
        if several:
            row += [drop(report.metric, model.drop), f"{model.drop.p_value:.3f}" if model.drop else ""]
    if several:
        named = len(model.fidelity) > 1
        row.append(", ".join(f"{one.name} {fidelity(one)}" if named else fidelity(one) for one in model.fidelity))
    if _words(report):
        found = [one for one in model.fidelity if one.kl is not None]
        row.append(", ".join(nats(one.kl) for one in found if one.kl is not None))
        row.append(", ".join(f"{100 * one.agreement:.2f} %" for one in found if one.agreement is not None))
    return tuple(row)
