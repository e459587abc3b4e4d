"""`compressctl pipeline`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressctl.cli.groups import RARE, Group
from compressctl.cli.options import Models
from compressctl.cli.progress import terminal_progress
from compressctl.cli.run import RUN, Shared, fresh
from compressctl.distributed import this_process
from compressctl.errors import EXIT_OK, UsageError
from compressctl.progress import Progress

if TYPE_CHECKING:
    from compressctl.recipe.model import Recipe
    from compressctl.report.runs import Ended

_CACHE = Path(".compressctl")


def _search() -> Models:
    from compressctl.recipe.search import SearchOptions

    return {SearchOptions: None}


def pipeline(
    shared: Annotated[Shared, replace(RUN, free=True)],
    searching: Annotated[dict[str, Any], Group(_search)],
    recipe: Annotated[
        Path | None, typer.Argument(help="The YAML recipe to run; may be left out with --auto.", show_default=False)
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Search for the passes that make the model smallest or fastest.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a variable of the recipe's `vars`, or for a place in the recipe, as in"
            " passes.1.epochs=3; may be given several times.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything and print the plan with an estimate of its cost; write nothing."
        ),
    ] = False,
    depfile: Annotated[
        Path | None,
        typer.Option(help="Write a Makefile here that says which files the outputs are made of.", show_default=False),
        RARE,
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run all passes; keep no results."), RARE] = False,
) -> int:
    """Run the passes of a recipe; flags replace the recipe's keys of the same name. Where the output is up to date,
    nothing is done unless --force is given. A recipe with `sweep` stands for several runs.

    # A recipe on another model
    compressctl pipeline recipe.yaml --model model.onnx -o small.onnx

    # What would run, with one key of the recipe changed, and about how long it would take
    compressctl pipeline recipe.yaml --set passes.1.calibration_method=mse --dry-run

    # As a step of a build: passes that did not change come from the cache, CI gets the budgets, make the dependencies
    compressctl pipeline recipe.yaml --cache build/cache --junit budgets.xml --depfile small.d

    # The smallest and fastest model within a budget
    compressctl pipeline --auto --model model.onnx -o found.onnx --data test.npz --metric top1 \\
        --max-accuracy-drop 0.02 --time-limit 10m --trials 2
    """
    recipes = _recipes(recipe, shared.recipe, settings or [], searching if auto or searching else None)
    if no_cache:
        recipes = [one.model_copy(update={"cache": None}) for one in recipes]
    else:
        recipes = [one if one.cache else one.model_copy(update={"cache": _CACHE}) for one in recipes]
    if dry_run:
        return _print_plans(recipes, shared)
    if depfile is None:
        return shared.run(*recipes, attempt=_attempt, reads=[] if recipe is None else [recipe])
    return _run_with_depfile(recipe, recipes, depfile, shared)


def _recipes(
    path: Path | None, keys: dict[str, Any], settings: Sequence[str], searching: dict[str, Any] | None
) -> list[Recipe]:
    from compressctl.recipe.load import build_recipe, load_recipes
    from compressctl.recipe.refusal import COMMAND_LINE

    if path is not None:
        return load_recipes(path, keys if searching is None else _with_search(keys, searching, path), settings)
    if searching is None:
        raise UsageError("no recipe was given", "name one, or search for it: --auto")
    if settings:
        raise UsageError("--set changes a recipe file, and none was given", "use the flags")
    for key in ("model", "output"):
        if key not in keys:
            raise UsageError(f"--auto without a recipe needs --{key}")
    return [build_recipe({**keys, "search": searching}, COMMAND_LINE)]


def _with_search(keys: dict[str, Any], searching: dict[str, Any], recipe: Path) -> dict[str, Any]:
    """Return the keys that flags replace, those of a search joined with the recipe's own."""
    from compressctl.recipe.read import read_mapping

    own = read_mapping(recipe).get("search")
    return {**keys, "search": {**(own if isinstance(own, dict) else {}), **searching}}


def _attempt(recipe: Recipe, progress: Progress) -> Ended:
    """Do a run unless its output is up to date."""
    from compressctl.pipeline.up_to_date import earlier_report
    from compressctl.report.runs import Ended

    earlier = earlier_report(recipe) if this_process().size == 1 and not recipe.force else None
    return fresh(recipe, progress) if earlier is None else Ended(recipe.output, earlier, up_to_date=True)


def _run_with_depfile(path: Path | None, recipes: Sequence[Recipe], depfile: Path, shared: Shared) -> int:
    """Run; then write the dependencies of the outputs that were written."""
    from compressctl.guard import Write
    from compressctl.pipeline.depfile import depfile as text_of
    from compressctl.pipeline.depfile import is_depfile
    from compressctl.pipeline.inputs import input_files
    from compressctl.report.write import write_text

    own = [] if path is None else [path]
    read: dict[Path, list[Path]] = {}

    def attempt(recipe: Recipe, progress: Progress) -> Ended:
        files = [*own, *input_files(recipe)]
        text_of({recipe.output: files})  # names that make cannot take are refused before the work
        ended = _attempt(recipe, progress)
        read[recipe.output] = files
        return ended

    code = shared.run(*recipes, attempt=attempt, reads=own, writes=[Write(depfile, "depfile", is_depfile)])
    if this_process().is_main:
        write_text(depfile, text_of(read))
    return code


def _print_plans(recipes: Sequence[Recipe], shared: Shared) -> int:
    import json
    from dataclasses import asdict

    from compressctl.pipeline.plan import plan, tables
    from compressctl.report.console import print_table

    if any(recipe.search is not None for recipe in recipes):
        raise UsageError("--dry-run: a search chooses its passes as it goes, so it has no plan", "see --time-limit")
    with terminal_progress(shared.views.quiet) as progress:
        plans = [plan(recipe, progress) for recipe in recipes]
    if shared.views.as_json:
        documents = [asdict(found) for found in plans]
        print(json.dumps(documents[0] if len(documents) == 1 else {"runs": documents}, indent=2))
        return EXIT_OK
    for found in plans:
        for table in tables(found):
            print_table(table, sys.stdout)
    return EXIT_OK
