"""`compressctl pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli import options as o
from compressctl.cli.run import Shared, runs_recipe
from compressctl.cli.searching import searches, with_search
from compressctl.errors import UsageError
from compressctl.recipe import COMMAND_LINE, Recipe, build_recipe, load_recipes


@runs_recipe
@searches
def pipeline(
    recipe: Annotated[
        Path | None, typer.Argument(help="The YAML recipe to run; may be left out with --auto.", show_default=False)
    ] = None,
    model: Annotated[Path | None, o.option(Recipe, "model")] = None,
    output: Annotated[Path | None, o.option(Recipe, "output", "--output", "-o")] = None,
    *,
    searching: dict[str, Any] | None,
    shared: Shared,
) -> int:
    """Run the passes of a recipe; flags replace the recipe's keys of the same name.

    compressctl pipeline recipes/int8.yaml --model model.onnx -o small.onnx

    compressctl pipeline --auto --model model.onnx -o small.onnx --data test.npz --metric top1 --max-accuracy-drop 0.01
    """
    keys = {**o.given(model=model, output=output), **shared.recipe}
    if recipe is not None:
        (only,) = load_recipes(recipe, with_search(keys, searching, recipe))
        return shared.run(only)
    if searching is None:
        raise UsageError("no recipe was given", "name one, or search for it: --auto")
    for key in ("model", "output"):
        if key not in keys:
            raise UsageError(f"--auto without a recipe needs --{key}")
    return shared.run(build_recipe({**keys, "search": searching}, COMMAND_LINE))
