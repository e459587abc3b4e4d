"""Reports as tables for a person at a terminal; plain text when the stream is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from compressctl.measure.profile import Profile
from compressctl.notes import Note
from compressctl.report.schema import BenchReport, Report
from compressctl.report.tables import Table, budgets, comparison, executed, grouped, summary

_STYLE = {"warning": "yellow", "skipped": "dim", "done": ""}


def print_report(report: Report, stream: TextIO, *, verbose: bool = False) -> None:
    """Print the result of a run; `verbose` adds what was done and the operators that run."""
    console = _console(stream)
    _print_table(console, summary(report))
    if report.budgets:
        _print_table(console, budgets(report))
    _print_notes(console, report.notes, verbose)
    for item in report.passes:
        _print_notes(console, item.notes, verbose, prefix=f"{item.type}: ")
        if item.taken_back:
            console.print(f"[yellow]{item.type}: taken back: {escape(item.taken_back)}[/]")
        for line in item.facts.get("recipe_lines", ()):
            console.print(f"  {escape(line)}", highlight=False)
    if verbose:
        _print_table(console, executed(report.output))
    console.print(f"{report.output.path}: {report.verdict}", highlight=False, style="bold")


def print_bench(report: BenchReport, stream: TextIO, *, verbose: bool = False) -> None:
    """Print models side by side."""
    console = _console(stream)
    _print_table(console, comparison(report))
    for model in report.models:
        if verbose or len(report.models) == 1:
            _print_table(console, executed(model))
        if model.profile:
            _print_profile(console, model.path, model.profile)
    _print_notes(console, report.notes, verbose)


def print_table(table: Table, stream: TextIO) -> None:
    """Print one table."""
    _print_table(_console(stream), table)


def _console(stream: TextIO) -> Console:
    # A pipe has no width: lines must not break inside names.
    return Console(file=stream, width=None if stream.isatty() else 200, highlight=False, emoji=False)


def _print_table(console: Console, table: Table) -> None:
    rich = RichTable(*map(escape, table.header), title=escape(table.title), title_justify="left", box=box.SIMPLE)
    for row in table.rows:
        rich.add_row(*map(escape, row))
    console.print(rich)


def _print_notes(console: Console, notes: Sequence[Note], verbose: bool, prefix: str = "") -> None:
    for kind, text in grouped(notes):
        if verbose or kind != "done":
            console.print(f"{prefix}{kind}: {escape(text)}", style=_STYLE[kind], highlight=False, soft_wrap=True)


def _print_profile(console: Console, path: str, profile: Profile) -> None:
    by_op = tuple((row.op, f"{row.ms:.3f}", f"{100 * row.share:.1f} %", str(row.count)) for row in profile.by_op)
    _print_table(console, Table(f"Time by operator of {path}", ("operator", "ms", "share", "count"), by_op))
    slowest = tuple((row.name, row.op, f"{row.ms:.3f}", f"{100 * row.share:.1f} %") for row in profile.slowest)
    _print_table(console, Table(f"Slowest nodes of {path}", ("node", "operator", "ms", "share"), slowest))
