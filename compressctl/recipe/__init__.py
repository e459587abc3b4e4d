"""The recipe: everything a run needs. One frozen model, the file that it is read from, and what is said against it."""

from compressctl.recipe.load import build_recipe, load_recipes
from compressctl.recipe.model import Recipe
from compressctl.recipe.refusal import COMMAND_LINE
from compressctl.recipe.schema import json_schema

__all__ = ["COMMAND_LINE", "Recipe", "build_recipe", "json_schema", "load_recipes"]
