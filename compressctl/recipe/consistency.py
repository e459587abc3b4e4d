"""What the keys of a recipe ask of each other: said before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from compressctl.data.notation import made_up
from compressctl.data.parse import parse_notation
from compressctl.errors import RecipeError, flag
from compressctl.recipe.model import WRITTEN, Recipe
from compressctl.recipe.refusal import COMMAND_LINE


def check_consistency(recipe: Recipe, origin: str) -> None:
    """Check that what is to be judged can be measured, and that no output takes the place of what is read.

    Raises:
        RecipeError: names the key, and what to do.
    """
    for key in Recipe.model_fields:
        if not Recipe.about(key).scored or (value := getattr(recipe, key)) is None or value is False:
            continue
        if not (recipe.data and recipe.metric):
            hint = f"add {_named('data', origin)} and {_named('metric', origin)}"
            raise RecipeError(f"{_at(key, origin)} needs something to measure", hint)
        if made_up(recipe.data):
            hint = f"give real samples as {_named('data', origin)}"
            raise RecipeError(f"{_at(key, origin)} cannot be judged on random data", hint)
    if recipe.metric and not recipe.data:
        raise RecipeError(f"{_at('metric', origin)} needs data to be measured on", f"add {_named('data', origin)}")
    for key in WRITTEN:
        path: Path | None = getattr(recipe, key)
        for what, read in _inputs(recipe) if path is not None else ():
            assert path is not None
            if _same(path, read):
                raise RecipeError(f"{_at(key, origin)}: {path} is {what}", "choose another name")


def _inputs(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Yield the files that a run reads, each with what it is."""
    yield "the model itself", recipe.model
    for index, config in enumerate(recipe.passes):
        for path in config.files:
            yield f"a model that passes[{index}] ({config.type}) reads", path
    for key, notation in recipe.notations():
        yield f"the samples of {key}", Path(parse_notation(notation).source)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - of paths that need not exist, too
    except (OSError, ValueError):
        return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100


def _named(key: str, origin: str) -> str:
    return flag(key) if origin == COMMAND_LINE else key


def _at(key: str, origin: str) -> str:
    return _named(key, origin) if origin == COMMAND_LINE else f"{origin}: {key}"
