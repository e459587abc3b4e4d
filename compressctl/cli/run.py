"""The options that every run of a recipe has, and the run itself: progress on stderr, the report on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressctl.cli import options as o
from compressctl.cli.groups import add_group
from compressctl.cli.progress import terminal_progress
from compressctl.errors import CompressctlError
from compressctl.plain import plain
from compressctl.progress import Progress
from compressctl.recipe import Recipe
from compressctl.world import world

if TYPE_CHECKING:
    from compressctl.guard import Write
    from compressctl.report.runs import Ended

    Attempt = Callable[[Recipe, Progress], Ended]

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

    def run(
        self,
        *recipes: Recipe,
        attempt: Attempt | None = None,
        reads: Sequence[Path] = (),
        writes: Sequence[Write] = (),
    ) -> int:
        """Run recipes one after the other, print their reports; of several, one table or one JSON document at the end.

        Of several processes, the first one prints. JUnit XML and the summary of a CI step grow with each run. Where
        there are several runs, one that fails is told, and the next one begins.

        Args:
            recipes: the runs.
            attempt: does one of them; default: `fresh`.
            reads: files that the command reads besides theirs.
            writes: files that it writes besides theirs.

        Returns:
            The exit code: of the worst run.
        """
        from compressctl.guard import Write
        from compressctl.pipeline.paths import guard_runs
        from compressctl.report.junit import is_junit
        from compressctl.report.runs import Ended, worst
        from compressctl.report.step_summary import check_step_summary, step_summary_writes

        junit = [] if self.junit is None else [Write(self.junit, "JUnit report", is_junit)]
        guard_runs(recipes, reads=reads, writes=[*writes, *junit, *step_summary_writes(), *_search_writes(recipes)])
        check_step_summary()
        ended: list[Ended] = []
        for recipe in recipes:
            try:
                with terminal_progress(self.quiet or not world().leads) as progress:
                    ended.append((attempt or fresh)(recipe, progress))
            except CompressctlError as error:
                if len(recipes) == 1:
                    raise
                ended.append(Ended(recipe.output, error=error))
                print(plain(f"error: {recipe.output}: {error}"), file=sys.stderr)
            self._record(ended)
        self._print(ended)
        return worst(ended)

    def _record(self, ended: list[Ended]) -> None:
        """Write what grows with each run."""
        from compressctl.report.junit import to_junit
        from compressctl.report.step_summary import append_step_summary
        from compressctl.report.write import write_text

        if ended[-1].report is None:
            return
        append_step_summary(ended[-1].report)
        if self.junit is not None:
            write_text(self.junit, to_junit([run.report for run in ended if run.report is not None]))

    def _print(self, ended: list[Ended]) -> None:
        from compressctl.report.console import print_report, print_table, print_up_to_date
        from compressctl.report.runs import runs_to_json, side_by_side
        from compressctl.report.schema import to_json

        first = ended[0]
        if not world().leads:
            return
        if len(ended) > 1 and self.as_json:
            print(runs_to_json(ended))
        elif len(ended) > 1:
            print_table(side_by_side(ended), sys.stdout)
        elif first.report is None:  # a helper of a search that another process leads
            return
        elif self.as_json:
            print(to_json(first.report))
        elif first.up_to_date:
            print_up_to_date(first.report, sys.stdout)
        else:
            print_report(first.report, sys.stdout, verbose=self.verbose)


def _search_writes(recipes: Sequence[Recipe]) -> list[Write]:
    if all(recipe.search is None for recipe in recipes):
        return []
    from compressctl.search.begin import search_writes

    return [write for recipe in recipes if recipe.search is not None for write in search_writes(recipe)]


def fresh(recipe: Recipe, progress: Progress) -> Ended:
    """Do a run, or a search where the recipe asks for one.

    Raises:
        CompressctlError: of the kind that names what is wrong.
    """
    from compressctl.report.runs import Ended

    if recipe.search is not None:
        from compressctl.search import search

        return Ended(recipe.output, search(recipe, progress))
    from compressctl.pipeline import run

    return Ended(recipe.output, run(recipe, progress))


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
    min_sqnr: o.MinSqnr = None,
    min_agreement: o.MinAgreement = None,
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
