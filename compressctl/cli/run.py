"""The options that every run of a recipe has, and the run itself: progress on stderr, the report on stdout."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compressctl.cli import options as o
from compressctl.cli.progress import terminal_progress
from compressctl.errors import EXIT_BUDGET, EXIT_OK
from compressctl.recipe import Recipe


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
        """Run `recipe`, print its report, return the exit code."""
        from compressctl.pipeline import run
        from compressctl.report.console import print_report
        from compressctl.report.schema import to_json

        with terminal_progress(self.quiet) as progress:
            report = run(recipe, progress)
        if self.as_json:
            print(to_json(report))
        else:
            print_report(report, sys.stdout, verbose=self.verbose)
        return EXIT_BUDGET if report.verdict == "budget missed" else EXIT_OK


def _recipe_options(
    input: o.Input = None,
    calibrate: o.Calibrate = None,
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
) -> None: ...


def _view_options(as_json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False) -> None: ...


def runs_recipe(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the shared options; it gets them as its keyword argument `shared`."""
    keys, views, own = (
        inspect.signature(function, eval_str=True).parameters for function in (_recipe_options, _view_options, command)
    )

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> int:
        recipe = o.given(**{name: arguments.pop(name) for name in keys})
        view = {name: arguments.pop(name) for name in views}
        return command(**arguments, shared=Shared(recipe, **view))

    parameters = [*(p for name, p in own.items() if name != "shared"), *keys.values(), *views.values()]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    wrapper.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper
