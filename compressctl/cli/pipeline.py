"""`compressctl pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressctl.cli import options as o
from compressctl.cli.run import Shared, runs_recipe
from compressctl.recipe import Recipe, load_recipes


@runs_recipe
def pipeline(
    recipe: Annotated[Path, typer.Argument(help="The YAML recipe to run.", show_default=False)],
    model: Annotated[Path | None, o.option(Recipe, "model")] = None,
    output: Annotated[Path | None, o.option(Recipe, "output", "--output", "-o")] = None,
    *,
    shared: Shared,
) -> int:
    """Run the passes of a recipe; flags replace the recipe's keys of the same name.

    compressctl pipeline recipes/int8.yaml --model model.onnx -o small.onnx
    """
    (only,) = load_recipes(recipe, {**o.given(model=model, output=output), **shared.recipe})
    return shared.run(only)
