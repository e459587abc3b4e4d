"""Reports as tables for a person at a terminal; plain text when the stream is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape as without_markup
from rich.table import Table as RichTable
from rich.text import Text

from compressctl.measure.clocks import UNTOLD
from compressctl.notes import Note
from compressctl.plain import plain
from compressctl.report.budgets import budgets, unsettled
from compressctl.report.details import details
from compressctl.report.formatting import PASTE
from compressctl.report.schema import BenchReport, Report
from compressctl.report.tables import (
    Table,
    after_each_pass,
    by_operator,
    comparison,
    executed,
    grouped,
    has_steps,
    slowest_nodes,
    summary,
)

_STYLE = {"warning": "yellow", "skipped": "dim", "done": ""}


def print_report(report: Report, stream: TextIO, *, verbose: bool = False) -> None:
    """Print the result of a run; `verbose` adds what was done, all layers and the operators that run."""
    console = _console(stream)
    _print_table(console, summary(report))
    if has_steps(report):
        _print_table(console, after_each_pass(report))
    if report.budgets:
        _print_table(console, budgets(report))
    for verdict in unsettled(report):
        console.print(_shown(verdict.reason), style="" if verdict.met else "red", soft_wrap=True)
    for table in details(report, verbose=verbose):
        _print_table(console, table)
    _print_notes(console, [note for note in report.notes if verbose or not _is_idle_doubt(note, report)], verbose)
    for item in report.passes:
        _print_notes(console, item.notes, verbose, prefix=f"{item.type}: ")
        if item.rolled_back:
            console.print(f"[yellow]{item.type}: rolled back: {_shown(item.rolled_back)}[/]", soft_wrap=True)
        lines = item.recipe_lines
        for line in (f"{PASTE}, in the place of {item.type}:", *lines) if lines else ():
            console.print(f"  {_shown(line)}", soft_wrap=True)
    if report.explanation:
        _print_notes(console, report.explanation.notes, verbose)
        for patch in report.explanation.patches:
            console.print(_shown(f"{patch.after}: {patch.why}"), soft_wrap=True)
            for line in patch.lines:
                console.print(f"  {_shown(line)}", soft_wrap=True)
    if report.robustness:
        _print_notes(console, report.robustness.notes, verbose)
    if verbose and report.output.executed_ops:
        _print_table(console, executed(report.output))
    console.print(f"{_shown(report.output.path)}: {report.verdict}", style="bold", soft_wrap=True)


def _is_idle_doubt(note: Note, report: Report) -> bool:
    """Whether a note says that a latency cannot be told where nothing hangs on it; the files of the report keep it."""
    asked = any(report.recipe.get(key) is not None for key in ("latency_ratio", "max_latency_ms"))
    return UNTOLD in note.text and report.verdict == "ok" and not asked and not report.recipe.get("strict")


def print_up_to_date(report: Report, stream: TextIO) -> None:
    """Print that nothing was done, and the verdict of the run that wrote the output, with its reasons unless ok."""
    console = _console(stream)
    for verdict in report.budgets:
        if not verdict.met:
            console.print(_shown(verdict.reason), style="red", soft_wrap=True)
    if report.verdict != "ok":
        _print_notes(console, [note for note in report.notes if note.kind == "warning"], verbose=False)
    told = "up to date" if report.verdict == "ok" else f"up to date: {report.verdict}"
    console.print(f"{_shown(report.output.path)}: {told}", style="bold", soft_wrap=True)


def print_bench(report: BenchReport, stream: TextIO, *, verbose: bool = False) -> None:
    """Print models side by side."""
    console = _console(stream)
    _print_table(console, comparison(report))
    for model in report.models:
        if verbose or len(report.models) == 1:
            _print_table(console, executed(model))
        if model.profile:
            _print_table(console, by_operator(model.path, model.profile))
            _print_table(console, slowest_nodes(model.path, model.profile))
    _print_notes(console, report.notes, verbose)


def print_table(table: Table, stream: TextIO) -> None:
    """Print one table."""
    _print_table(_console(stream), table)


def print_notes(notes: Sequence[Note], stream: TextIO) -> None:
    """Print notes but those of what was done."""
    _print_notes(_console(stream), notes, verbose=False)


def _console(stream: TextIO) -> Console:
    # A pipe has no width: lines must not break inside names.
    return Console(file=stream, width=None if stream.isatty() else 200, highlight=False, emoji=False)


def _shown(text: str) -> str:
    """Return what comes from models, files and recipes, so that a terminal shows it and does nothing else."""
    return without_markup(plain(text))


def _print_table(console: Console, table: Table) -> None:
    lines = _lines(table)
    if lines and cell_len(lines[0]) <= console.width:
        styles = ["table.title"] * bool(table.title) + ["", "table.header"]
        for number, style in enumerate(styles if console.is_terminal else ()):
            with console.capture() as styled:
                console.print(Text(lines[number], style), end="", soft_wrap=True)
            lines[number] = styled.get()
        console.file.write("\n".join([*lines, ""]))
        return
    rich = RichTable(*map(_shown, table.header), title=_shown(table.title), title_justify="left", box=box.SIMPLE)
    for row in table.rows:
        rich.add_row(*map(_shown, row))
    console.print(rich)


def _lines(table: Table) -> list[str]:
    """Return the lines of a table as rich lays it out, which takes it a millisecond a row; none where a title wraps."""
    title, rows = plain(table.title), [[plain(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    header, *body = (
        "  " + "   ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)) + "  "
        for row in rows
    )
    width = cell_len(header)
    if not widths or cell_len(title) > width:
        return []
    blank, titles = " " * width, [title + " " * (width - cell_len(title))] if title else []
    return [*titles, blank, header, f" {'─' * (width - 2)} ", *body, blank]


def _print_notes(console: Console, notes: Sequence[Note], verbose: bool, prefix: str = "") -> None:
    for kind, text in grouped(notes):
        if verbose or kind != "done":
            console.print(f"{prefix}{kind}: {_shown(text)}", style=_STYLE[kind], soft_wrap=True)
