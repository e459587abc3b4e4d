"""A mapping of keys -> Recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from compressctl.recipe.consistency import check_consistency
from compressctl.recipe.model import Recipe
from compressctl.recipe.order import check_order
from compressctl.recipe.refusal import refusal


def build_recipe(content: Mapping[str, Any], origin: str) -> Recipe:
    """Validate `content`; `origin` (a file, or COMMAND_LINE) begins each error.

    Raises:
        RecipeError: names the key path and, for an unknown key, the nearest known one; or the passes or keys that do
            not go together.
        UsageError: the notation of samples is wrong.
    """
    try:
        recipe = Recipe.model_validate(dict(content))
    except ValidationError as error:
        raise refusal(error, origin) from error
    check_order(recipe.passes, origin)
    check_consistency(recipe, origin)
    return recipe
