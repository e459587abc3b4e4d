"""Reports as one self-contained HTML page: no network, no script; drawn by the templates beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from compressctl.notes import Note
from compressctl.plain import plain
from compressctl.report import plots
from compressctl.report.budgets import budgets, unsettled
from compressctl.report.charts import Bars, Chart, Lines, Scatter
from compressctl.report.details import front, layers, robustness, worst
from compressctl.report.formatting import PASTE, drop, ms, ratio, score, si, times
from compressctl.report.schema import PassReport, Report
from compressctl.report.tables import (
    Table,
    after_each_pass,
    executed,
    grouped,
    has_steps,
    labels,
    slowest_nodes,
    summary,
)

if TYPE_CHECKING:
    from jinja2 import Template

TITLE = "(compressctl)</title>"  # of the template, by which a report is told from other pages
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Notes:
    """Remarks as (kind, sentence)."""

    remarks: tuple[tuple[str, str], ...]
    title: str = ""


@dataclass(frozen=True)
class Code:
    """Text in a fixed width, folded where it is not what the reader came for."""

    title: str
    text: str
    folded: bool = True


@dataclass(frozen=True)
class Heading:
    """What the parts after it belong to."""

    title: str


Part = Table | Chart | Notes | Code | Heading
_MACROS = {
    Table: "table",
    Bars: "bars",
    Scatter: "scatter",
    Lines: "lines",
    Notes: "notes",
    Code: "code",
    Heading: "heading",
}


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; `anchor` is where the contents link to."""

    anchor: str
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Tile:
    """A figure of the result in large, and what it came from."""

    name: str
    figure: str
    before: str
    change: str


def to_html(report: Report) -> str:
    """Return the report as an HTML document; whatever comes from models and recipes is escaped."""
    sections = [section for section in _sections(report) if section.parts]
    return _template("report.html").render(
        report=report,
        name=Path(report.output.path).name,
        tiles=_tiles(report),
        sections=sections,
        macro=_macro,
    )


def to_fragment(report: Report | Table, notes: Sequence[Note] = ()) -> str:
    """Return the heart of a report, or a table and notes, as HTML to stand within a page of another's."""
    if isinstance(report, Table):
        parts: tuple[Part, ...] = (report, *_remarks(notes))
        return _template("fragment.html").render(title="", parts_shown=parts, macro=_macro)
    parts = (summary(report), *_judged(report), *_remarks(report.notes))
    title = f"{report.output.path}: {report.verdict}"
    return _template("fragment.html").render(title=title, parts_shown=parts, macro=_macro)


def _macro(part: Part) -> str:
    return _MACROS[type(part)]


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=lambda value: plain(value, keep="\n") if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _tiles(report: Report) -> list[Tile]:
    before, after = report.input, report.output
    tiles = [
        Tile("Size", si(after.bytes, "B"), si(before.bytes, "B"), times(after.bytes / max(before.bytes, 1))),
        Tile("Latency", ms(after), ms(before), ratio(after.latency_ratio)),
    ]
    if report.metric and after.score and before.score:
        figures = [score(report.metric, model.score) for model in (after, before)]
        lost = f"drop {drop(report.metric, after.drop)}" if after.drop else ""
        tiles.append(Tile(report.metric, figures[0].partition(" [")[0], figures[1].partition(" [")[0], lost))
    return tiles


def _sections(report: Report) -> list[Section]:
    steps: tuple[Part, ...] = (after_each_pass(report),) if has_steps(report) else ()
    return [
        Section("budgets", "Budgets", _judged(report)),
        Section("result", "Result", (summary(report), *_remarks(report.notes), *plots.of_result(report), *steps)),
        Section(
            "time",
            "Time",
            (
                *plots.of_time(report),
                *_slowest(report),
                *([executed(report.output)] if report.output.executed_ops else []),
            ),
        ),
        Section("layers", "Layers", _layers(report)),
        Section("robustness", "Robustness", _robustness(report)),
        Section("front", "Pareto front", (*plots.of_front(report), front(report)) if report.front else ()),
        Section("passes", "Passes", _passes(report)),
        Section("recipe", "Recipe", (Code("The recipe with all defaults", _yaml(report.recipe)),)),
        Section("origin", "Origin", (_machine(report), _versions(report))),
    ]


def _judged(report: Report) -> tuple[Part, ...]:
    reasons = tuple(("met" if verdict.met else "missed", verdict.reason) for verdict in unsettled(report))
    return (budgets(report), *_notes(reasons)) if report.budgets else ()


def _layers(report: Report) -> tuple[Part, ...]:
    found = report.explanation
    if found is None:
        return ()
    patches = [
        Code(f"In place of {patch.after} under passes: {patch.why}", "\n".join(patch.lines), folded=False)
        for patch in found.patches
    ]
    harmful = (worst(found),) if found.worst else ()
    return (*harmful, *patches, *plots.of_layers(found), layers(found), *_remarks(found.notes))


def _robustness(report: Report) -> tuple[Part, ...]:
    found = report.robustness
    return (plots.of_robustness(found), robustness(found), *_remarks(found.notes)) if found else ()


def _slowest(report: Report) -> list[Table]:
    named = (("the input", report.input), ("the result", report.output))
    return [slowest_nodes(name, model.profile) for name, model in named if model.profile]


def _passes(report: Report) -> tuple[Part, ...]:
    return tuple(part for label, item in zip(labels(report), report.passes, strict=True) for part in _pass(label, item))


def _pass(label: str, item: PassReport) -> list[Part]:
    parts: list[Part] = [Heading(f"{label} ({'cached' if item.cached else f'{item.seconds:.1f} s'})")]
    if item.rolled_back:
        parts.append(Notes((("rolled back", item.rolled_back),)))
    parts += _remarks(item.notes) or [Notes((("done", "nothing to do"),))]
    if lines := item.recipe_lines:
        parts.append(Code(PASTE, "\n".join(lines), folded=False))
    if table := item.facts.get("sensitivity"):
        parts.append(plots.of_sensitivity(table))
    options = {key: value for key, value in item.options.items() if key != "type"}
    return [*parts, Code("Options", _yaml(options))] if options else parts


def _remarks(notes: Sequence[Note]) -> list[Notes]:
    return _notes(tuple(grouped(notes)))


def _notes(remarks: tuple[tuple[str, str], ...]) -> list[Notes]:
    return [Notes(remarks)] if remarks else []


def _machine(report: Report) -> Table:
    machine = report.machine
    cores = f"{machine.usable_cores} of {machine.logical_cores}, {machine.physical_cores or '?'} of them physical"
    rows = (
        ("processor", machine.cpu or "?"),
        ("cores", cores),
        ("instructions", ", ".join(machine.instructions)),
        ("memory", si(machine.memory_bytes, "B")),
        ("system", machine.system),
        ("whole run", f"{report.seconds:.1f} s"),
    )
    return Table("Machine", ("", ""), rows)


def _versions(report: Report) -> Table:
    hashes = (("input, SHA-256", report.input_sha256), ("output, SHA-256", report.output_sha256))
    return Table("Versions", ("", ""), (*report.versions.items(), *hashes, ("report schema", report.schema_version)))


def _yaml(content: dict[str, Any]) -> str:
    """Return what is set in `content` as YAML."""
    told = {key: value for key, value in content.items() if value not in (None, [], {})}
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=100)
