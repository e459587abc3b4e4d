"""Runs of recipes one after the other: progress on stderr, reports on stdout. What runs needs much to be imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from compressctl.api import carry_out
from compressctl.cli.views import Views
from compressctl.distributed import this_process
from compressctl.errors import EXIT_OK, CompressctlError, UsageError
from compressctl.guard import Write
from compressctl.pipeline.depfile import depfile as text_of
from compressctl.pipeline.depfile import is_depfile
from compressctl.pipeline.inputs import input_files
from compressctl.pipeline.paths import guard_runs
from compressctl.pipeline.plan import plan, tables
from compressctl.pipeline.up_to_date import earlier_report
from compressctl.plain import plain
from compressctl.progress import Progress
from compressctl.recipe.model import Recipe
from compressctl.report.as_json import to_json
from compressctl.report.console import print_report, print_table, print_up_to_date
from compressctl.report.junit import is_junit, to_junit
from compressctl.report.runs import Ended, runs_to_json, side_by_side, worst
from compressctl.report.step_summary import append_step_summary, check_step_summary, step_summary_writes
from compressctl.report.write import write_text
from compressctl.search.files import search_writes
from compressctl.terminal import terminal_progress

Attempt = Callable[[Recipe, Progress], Ended]


def fresh(recipe: Recipe, progress: Progress) -> Ended:
    """Do a run, or a search where the recipe asks for one.

    Raises:
        CompressctlError: of the kind that names what is wrong.
    """
    return Ended(recipe.output, carry_out(recipe, progress))


def unless_up_to_date(recipe: Recipe, progress: Progress) -> Ended:
    """Do a run unless its output is up to date; see `fresh`."""
    earlier = earlier_report(recipe) if this_process().size == 1 and not recipe.force else None
    return fresh(recipe, progress) if earlier is None else Ended(recipe.output, earlier, up_to_date=True)


def run_all(
    recipes: Sequence[Recipe],
    views: Views,
    *,
    attempt: Attempt = fresh,
    reads: Sequence[Path] = (),
    writes: Sequence[Write] = (),
) -> int:
    """Run recipes one after the other, print their reports; of several, one table or one JSON document at the end.

    Of several processes, the first one prints. JUnit XML and the summary of a CI step grow with each run. Where there
    are several runs, one that fails is told, and the next one begins.

    Args:
        recipes: the runs.
        views: how to show what came out.
        attempt: does one of them.
        reads: files that the command reads besides theirs.
        writes: files that it writes besides theirs.

    Returns:
        The exit code: of the worst run.
    """
    junit = [] if views.junit is None else [Write(views.junit, "JUnit report", is_junit)]
    searched = [write for recipe in recipes if recipe.search is not None for write in search_writes(recipe)]
    guard_runs(recipes, reads=reads, writes=[*writes, *junit, *step_summary_writes(), *searched])
    check_step_summary()
    ended: list[Ended] = []
    for recipe in recipes:
        try:
            with terminal_progress(views.quiet or not this_process().is_main) as progress:
                ended.append(attempt(recipe, progress))
        except CompressctlError as error:
            if len(recipes) == 1:
                raise
            ended.append(Ended(recipe.output, error=error))
            print(plain(f"error: {recipe.output}: {error}"), file=sys.stderr)
        _record(ended, views)
    _print(ended, views)
    return worst(ended)


def run_with_depfile(recipes: Sequence[Recipe], views: Views, depfile: Path, reads: Sequence[Path]) -> int:
    """Run those whose output is not up to date; then write the dependencies of the outputs that were written."""
    read: dict[Path, list[Path]] = {}

    def attempt(recipe: Recipe, progress: Progress) -> Ended:
        files = [*reads, *input_files(recipe)]
        text_of({recipe.output: files})  # names that make cannot take are refused before the work
        ended = unless_up_to_date(recipe, progress)
        read[recipe.output] = files
        return ended

    code = run_all(recipes, views, attempt=attempt, reads=reads, writes=[Write(depfile, "depfile", is_depfile)])
    if this_process().is_main:
        write_text(depfile, text_of(read))
    return code


def print_plans(recipes: Sequence[Recipe], views: Views) -> int:
    """Print what would run, and about how long it would take; return the exit code.

    Raises:
        UsageError: a search has no plan.
    """
    if any(recipe.search is not None for recipe in recipes):
        raise UsageError("--dry-run: a search chooses its passes as it goes, so it has no plan", "see --time-limit")
    with terminal_progress(views.quiet) as progress:
        plans = [plan(recipe, progress) for recipe in recipes]
    if views.as_json:
        documents = [asdict(found) for found in plans]
        print(json.dumps(documents[0] if len(documents) == 1 else {"runs": documents}, indent=2))
        return EXIT_OK
    for found in plans:
        for table in tables(found):
            print_table(table, sys.stdout)
    return EXIT_OK


def _record(ended: list[Ended], views: Views) -> None:
    """Write what grows with each run."""
    if ended[-1].report is None:
        return
    append_step_summary(ended[-1].report)
    if views.junit is not None:
        write_text(views.junit, to_junit([run.report for run in ended if run.report is not None]))


def _print(ended: list[Ended], views: Views) -> None:
    first = ended[0]
    if not this_process().is_main:
        return
    if len(ended) > 1 and views.as_json:
        print(runs_to_json(ended))
    elif len(ended) > 1:
        print_table(side_by_side(ended), sys.stdout)
    elif first.report is None:  # a helper of a search whose main process is another
        return
    elif views.as_json:
        print(to_json(first.report))
    elif first.up_to_date:
        print_up_to_date(first.report, sys.stdout)
    else:
        print_report(first.report, sys.stdout, verbose=views.verbose)
