"""The options that every run of a recipe has, and the run itself: progress on stderr, the report on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from compressctl.cli.groups import Group
from compressctl.cli.options import Models
from compressctl.cli.progress import terminal_progress
from compressctl.cli.views import Views
from compressctl.distributed import this_process
from compressctl.errors import CompressctlError
from compressctl.plain import plain
from compressctl.progress import Progress

if TYPE_CHECKING:
    from compressctl.guard import Write
    from compressctl.recipe.model import Recipe
    from compressctl.report.runs import Ended

    Attempt = Callable[[Recipe, Progress], Ended]


@dataclass(frozen=True)
class Shared:
    """The shared options as given on the command line.

    Attributes:
        recipe: those that are keys of the recipe; only the ones that were given.
        views: the others.
    """

    recipe: dict[str, Any]
    views: Views

    def compress(self, passes: Sequence[Mapping[str, Any]], **keys: Any) -> int:
        """Run passes, with these keys of the recipe where they were not given; return the exit code."""
        from compressctl.recipe.load import build_recipe
        from compressctl.recipe.refusal import COMMAND_LINE

        return self.run(build_recipe({"passes": passes, **keys, **self.recipe}, COMMAND_LINE))

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

        junit = [] if self.views.junit is None else [Write(self.views.junit, "JUnit report", is_junit)]
        guard_runs(recipes, reads=reads, writes=[*writes, *junit, *step_summary_writes(), *_search_writes(recipes)])
        check_step_summary()
        ended: list[Ended] = []
        for recipe in recipes:
            try:
                with terminal_progress(self.views.quiet or not this_process().is_main) as progress:
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
        if self.views.junit is not None:
            write_text(self.views.junit, to_junit([run.report for run in ended if run.report is not None]))

    def _print(self, ended: list[Ended]) -> None:
        from compressctl.report.as_json import to_json
        from compressctl.report.console import print_report, print_table, print_up_to_date
        from compressctl.report.runs import runs_to_json, side_by_side

        first = ended[0]
        if not this_process().is_main:
            return
        if len(ended) > 1 and self.views.as_json:
            print(runs_to_json(ended))
        elif len(ended) > 1:
            print_table(side_by_side(ended), sys.stdout)
        elif first.report is None:  # a helper of a search whose main process is another
            return
        elif self.views.as_json:
            print(to_json(first.report))
        elif first.up_to_date:
            print_up_to_date(first.report, sys.stdout)
        else:
            print_report(first.report, sys.stdout, verbose=self.views.verbose)


def _search_writes(recipes: Sequence[Recipe]) -> list[Write]:
    if all(recipe.search is None for recipe in recipes):
        return []
    from compressctl.search.files import search_writes

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


def _models() -> Models:
    from compressctl.budgets import Budgets
    from compressctl.recipe.options import Files, ReportOptions, RunOptions, Samples

    return dict.fromkeys((Files, Samples, Budgets, RunOptions, ReportOptions))


def _shared(arguments: dict[str, Any]) -> Shared:
    views = {one.name: arguments.pop(one.name) for one in dataclass_fields(Views) if one.name in arguments}
    return Shared(arguments, Views(**views))


RUN = Group(_models, _shared, besides=Views)
Run = Annotated[Shared, RUN]
