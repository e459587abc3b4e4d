"""The options that every run of a recipe has, and the run itself: progress on stderr, the report on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compressctl.cli import options as o
from compressctl.cli.groups import add_group
from compressctl.cli.progress import terminal_progress
from compressctl.errors import EXIT_BUDGET, EXIT_OK
from compressctl.recipe import Recipe
from compressctl.world import world

_VIEWS = ("as_json", "quiet", "verbose")


@dataclass(frozen=True)
class Shared:
    """The shared options as given on the command line.

    Attributes:
        recipe: those that are keys of the recipe; only the ones that were given.
        as_json: print the report as JSON.
        quiet: no progress.
        verbose: print what was done, too.
    """

    recipe: dict[str, Any]
    as_json: bool
    quiet: bool
    verbose: bool

    def run(self, recipe: Recipe) -> int:
        """Run `recipe`, print its report, return the exit code; of several processes, the first one prints."""
        from compressctl.pipeline import run
        from compressctl.report.console import print_report
        from compressctl.report.schema import to_json

        with terminal_progress(self.quiet or not world().leads) as progress:
            report = run(recipe, progress)
        if report is None:
            return EXIT_OK
        if self.as_json:
            print(to_json(report))
        else:
            print_report(report, sys.stdout, verbose=self.verbose)
        return EXIT_BUDGET if report.verdict == "budget missed" else EXIT_OK


def _options(
    input: o.Input = None,
    calibrate: o.Calibrate = None,
    train: o.Train = None,
    data: o.Data = None,
    metric: o.MetricName = None,
    max_accuracy_drop: o.MaxAccuracyDrop = None,
    size_ratio: o.SizeRatio = None,
    latency_ratio: o.LatencyRatio = None,
    on_regression: o.OnRegression = None,
    batch_size: o.BatchSize = None,
    threads: o.Threads = None,
    seed: o.Seed = None,
    device: o.Device = None,
    report: o.ReportPath = None,
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
