"""The options that every run of a recipe has, and the run itself: progress on stderr, the report on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressctl.cli import options as o
from compressctl.cli.groups import add_group
from compressctl.cli.progress import terminal_progress
from compressctl.errors import EXIT_BUDGET, EXIT_OK
from compressctl.progress import Progress
from compressctl.recipe import Recipe
from compressctl.world import world

if TYPE_CHECKING:
    from compressctl.report.schema import Report

_VIEWS = ("junit", "as_json", "quiet", "verbose")


@dataclass(frozen=True)
class Shared:
    """The shared options as given on the command line.

    Attributes:
        recipe: those that are keys of the recipe; only the ones that were given.
        junit: where budgets go as JUnit XML, or None.
        as_json: print the report as JSON.
        quiet: no progress.
        verbose: print what was done, too.
    """

    recipe: dict[str, Any]
    junit: Path | None
    as_json: bool
    quiet: bool
    verbose: bool

    def run(self, *recipes: Recipe) -> int:
        """Run recipes one after the other, print their reports (as JSON: a list of them where there are several).

        Of several processes, the first one prints. JUnit XML and the summary of a CI step grow with each run, so that
        those that are done are told of when a later one fails.

        Returns:
            The exit code: of a missed budget where one run misses one.
        """
        from compressctl.report.console import print_report
        from compressctl.report.schema import to_json
        from compressctl.report.step_summary import append_step_summary, check_step_summary
        from compressctl.report.write import check_report

        check_step_summary()
        if self.junit is not None:
            check_report(self.junit)
        reports: list[Report] = []
        for recipe in recipes:
            with terminal_progress(self.quiet or not world().leads) as progress:
                report = _run(recipe, progress)
            if report is None:
                continue
            reports.append(report)
            self._write_junit(reports)
            append_step_summary(report)
            if not self.as_json:
                print_report(report, sys.stdout, verbose=self.verbose)
        if self.as_json and reports:
            documents = ",\n".join(map(to_json, reports))
            print(documents if len(recipes) == 1 else f"[{documents}]")
        return EXIT_BUDGET if any(report.verdict == "budget missed" for report in reports) else EXIT_OK

    def _write_junit(self, reports: list[Report]) -> None:
        from compressctl.report.junit import to_junit
        from compressctl.report.write import write_text

        if self.junit is not None:
            write_text(self.junit, to_junit(reports))


def _run(recipe: Recipe, progress: Progress) -> Report | None:
    if recipe.search is not None:
        from compressctl.search import search

        return search(recipe, progress)
    from compressctl.pipeline import run

    return run(recipe, progress)


def _options(
    input: o.Input = None,
    calibrate: o.Calibrate = None,
    train: o.Train = None,
    data: o.Data = None,
    metric: o.MetricName = None,
    max_accuracy_drop: o.MaxAccuracyDrop = None,
    min_accuracy: o.MinAccuracy = None,
    size_ratio: o.SizeRatio = None,
    max_size: o.MaxSize = None,
    latency_ratio: o.LatencyRatio = None,
    max_latency_ms: o.MaxLatencyMs = None,
    max_memory: o.MaxMemory = None,
    strict: o.Strict = False,
    on_regression: o.OnRegression = None,
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    seed: o.Seed = None,
    device: o.Device = None,
    cache: o.CachePath = None,
    explain: o.Explain = False,
    robustness: o.Robustness = False,
    report: o.ReportPath = None,
    junit: o.JUnit = None,
    allow_python: o.AllowPython = False,
    force: o.Force = False,
    resume: o.Resume = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None: ...


def _shared(arguments: Mapping[str, Any]) -> Shared:
    views = {name: arguments[name] for name in _VIEWS}
    return Shared(o.given(**{name: value for name, value in arguments.items() if name not in _VIEWS}), **views)


def runs_recipe(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the shared options; it gets them as its keyword argument `shared`."""
    return add_group(command, "shared", _options, _shared)
