"""Run a recipe for a command: progress on stderr, the report on stdout, the verdict as exit code."""

from __future__ import annotations

import sys

from compressctl.cli.progress import terminal_progress
from compressctl.errors import EXIT_BUDGET, EXIT_OK
from compressctl.recipe import Recipe


def run_recipe(recipe: Recipe, *, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Run `recipe`, print its report, return the exit code."""
    from compressctl.pipeline import run
    from compressctl.report.console import print_report
    from compressctl.report.schema import to_json

    with terminal_progress(quiet) as progress:
        report = run(recipe, progress)
    if as_json:
        print(to_json(report))
    else:
        print_report(report, sys.stdout, verbose=verbose)
    return EXIT_BUDGET if report.verdict == "budget missed" else EXIT_OK
