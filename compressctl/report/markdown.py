"""Reports as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compressctl.notes import Note
from compressctl.plain import plain
from compressctl.report.budgets import budgets, unsettled
from compressctl.report.details import details
from compressctl.report.formatting import PASTE
from compressctl.report.schema import Report
from compressctl.report.tables import Table, after_each_pass, executed, grouped, has_steps, summary

MEASURED_ON = "\n\nMeasured on: "  # the last paragraph, by which a report is told from other documents
# What GitHub's dialect takes for markup, and addresses that it takes for links.
_SPECIAL = re.compile(r"[\\`*<&$~]|!(?=\[)|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
_MENTION = re.compile(r"([@#])(?=\w)")  # of people, teams and issues; a character without width parts them
_LONG = 20  # rows; a longer table is folded


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown document."""
    parts = [f"# {_escaped(report.output.path)}: {report.verdict}", _table(summary(report))]
    if report.budgets:
        parts.append(_table(budgets(report)))
    if reasons := [f"- {_escaped(verdict.reason)}" for verdict in unsettled(report)]:
        parts.append("\n".join(reasons))
    if has_steps(report):
        parts.append(_table(after_each_pass(report)))
    parts += map(_table, details(report))
    if report.explanation:
        for patch in report.explanation.patches:
            parts.append(f"In `passes:`, {_escaped(patch.after)}: {_escaped(patch.why)}\n\n{_yaml(patch.lines)}")
        parts += _notes(report.explanation.notes)
    if report.robustness:
        parts += _notes(report.robustness.notes)
    parts.append("## Passes")
    for item in report.passes:
        parts.append(f"### {item.type} ({'cached' if item.cached else f'{item.seconds:.1f} s'})")
        if item.rolled_back:
            parts.append(f"**Rolled back**: {_escaped(item.rolled_back)}")
        parts += _notes(item.notes) or ["- nothing to do"]
        if lines := item.recipe_lines:
            parts.append(f"{PASTE}:\n\n{_yaml(lines)}")
    if report.notes:
        parts += ["## Notes", *_notes(report.notes)]
    if report.output.executed_ops:
        parts.append(_table(executed(report.output)))
    machine = f"{report.machine.cpu}, {report.machine.usable_cores} cores, {report.machine.system}"
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    parts.append(MEASURED_ON.strip() + " " + _escaped(f"{machine}. With {versions}."))
    return "\n\n".join(parts) + "\n"


def _notes(notes: Sequence[Note]) -> list[str]:
    lines = [f"- {kind}: {_escaped(text)}" for kind, text in grouped(notes)]
    return ["\n".join(lines)] if lines else []


def _yaml(lines: Sequence[str]) -> str:
    content = "\n".join(map(plain, lines))
    fence = max(["``", *re.findall("`+", content)], key=len) + "`"
    return f"{fence}yaml\n{content}\n{fence}"


def _table(table: Table) -> str:
    lines = [_row(table.header), _row(("---",) * len(table.header)), *map(_row, table.rows)]
    content = "\n".join(lines)
    if len(table.rows) > _LONG:
        content = f"<details><summary>{len(table.rows)} rows</summary>\n\n{content}\n\n</details>"
    return f"## {_escaped(table.title)}\n\n{content}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell).replace("|", "\\|") for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Return text that means itself: no name begins a tag, a link, an image, code, mathematics, or breaks a line.

    Brackets of intervals stay as they are, since only what follows a bracket makes a link of it.
    """
    return _MENTION.sub(r"\1&#8288;", _SPECIAL.sub(r"\\\g<0>", plain(" ".join(text.split()))))
