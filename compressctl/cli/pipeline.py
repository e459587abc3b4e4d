"""`compressctl pipeline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressctl.cli.groups import RARE, Group
from compressctl.cli.options import Models
from compressctl.cli.run import RUN, Shared
from compressctl.errors import UsageError

if TYPE_CHECKING:
    from compressctl.recipe.model import Recipe

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
    reads = [] if recipe is None else [recipe]
    from compressctl.cli.runs import print_plans, run_all, run_with_depfile, unless_up_to_date

    if dry_run:
        return print_plans(recipes, shared.views)
    if depfile is not None:
        return run_with_depfile(recipes, shared.views, depfile, reads)
    return run_all(recipes, shared.views, attempt=unless_up_to_date, reads=reads)


def _recipes(
    path: Path | None, keys: dict[str, Any], settings: Sequence[str], searching: dict[str, Any] | None
) -> list[Recipe]:
    from compressctl.recipe.load import build_recipe, load_recipes

    if path is not None:
        return load_recipes(path, keys if searching is None else {**keys, "search": searching}, settings)
    if searching is None:
        raise UsageError("no recipe was given", "name one, or search for it: --auto")
    if settings:
        raise UsageError("--set changes a recipe file, and none was given", "use the flags")
    for key in ("model", "output"):
        if key not in keys:
            raise UsageError(f"--auto without a recipe needs --{key}")
    return [build_recipe({**keys, "search": searching})]
