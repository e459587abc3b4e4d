"""Reports as GitHub-flavoured Markdown."""

from __future__ import annotations

from compressctl.report.schema import Report
from compressctl.report.tables import Table, budgets, executed, grouped, summary


def to_markdown(report: Report) -> str:
    """Return the report as a Markdown document."""
    parts = [f"# {report.output.path}: {report.verdict}", _table(summary(report))]
    if report.budgets:
        parts.append(_table(budgets(report)))
    parts.append("## Passes")
    for item in report.passes:
        parts.append(f"### {item.type} ({item.seconds:.1f} s)")
        if item.taken_back:
            parts.append(f"**Taken back**: {item.taken_back}")
        parts.append("\n".join(f"- {kind}: {text}" for kind, text in grouped(item.notes)) or "- nothing to do")
        if lines := item.facts.get("recipe_lines"):
            parts.append("```yaml\n" + "\n".join(lines) + "\n```")
    if report.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {kind}: {text}" for kind, text in grouped(report.notes)))
    parts.append(_table(executed(report.output)))
    machine = f"{report.machine.cpu}, {report.machine.usable_cores} cores, {report.machine.system}"
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    parts.append(f"Measured on: {machine}. With {versions}.")
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [f"## {table.title}", "", _row(table.header), _row(("---",) * len(table.header))]
    return "\n".join([*lines, *map(_row, table.rows)])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
