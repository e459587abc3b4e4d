"""A recipe file -> the runs that it stands for; a mapping of keys -> Recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compressctl.errors import RecipeError, flag
from compressctl.recipe.consistency import check_consistency, check_order
from compressctl.recipe.model import PERMISSIONS, Recipe
from compressctl.recipe.read import check_values, read_mapping
from compressctl.recipe.refusal import COMMAND_LINE, refusal, unknown_key
from compressctl.recipe.settings import apply_setting
from compressctl.recipe.sweep import check_apart, combinations, shown
from compressctl.recipe.variables import FileKeys, Variables


def build_recipe(content: Mapping[str, Any], origin: str = COMMAND_LINE) -> Recipe:
    """Validate `content`; `origin` (a file, say) begins each error.

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


def load_recipes(path: Path, overrides: Mapping[str, Any] | None = None, settings: Sequence[str] = ()) -> list[Recipe]:
    """Read a YAML recipe: one Recipe, or with `sweep` one for each combination.

    Args:
        path: the file.
        overrides: replace top-level keys (flags win over the file), or keys of a mapping such as `search`; variables
            are filled in here too.
        settings: `key=value` each, of `--set`; the file is read as if it said so.

    Raises:
        RecipeError: the file cannot be read, is not YAML, gives itself leave to run Python, or has a key, value or
            variable that does not fit; names the key path.
    """
    content = read_mapping(path)
    _file_keys(content, str(path))
    for setting in settings:
        content = apply_setting(content, setting)
    origin = " ".join([str(path), *(f"--set {setting}" for setting in settings)])
    keys = _file_keys(content, origin)
    own = {key: value for key, value in content.items() if key not in FileKeys.model_fields}
    for key, value in (overrides or {}).items():
        if isinstance(value, Mapping) and isinstance(own.get(key), Mapping):
            value = {**own[key], **value}
        own[key] = str(value) if isinstance(value, Path) else value
    swept = Variables(keys.vars, {}, origin).fill(keys.sweep, "sweep")
    runs = []
    for values in combinations(swept, origin):
        variables = Variables(keys.vars, values, origin)
        variables.check()
        name, filled = f"{origin} ({shown(values)})" if values else origin, variables.fill(own)
        check_values(filled, name)
        runs.append((values, build_recipe(filled, name)))
    check_apart(runs, origin)
    return [recipe for _, recipe in runs]


def _file_keys(content: Mapping[str, Any], origin: str) -> FileKeys:
    known = [*(key for key in Recipe.model_fields if key not in PERMISSIONS), *FileKeys.model_fields]
    for key in content:
        if key in PERMISSIONS:
            raise RecipeError(
                f"{origin}: {key}: a recipe cannot give this leave to itself", f"take the key out, and add {flag(key)}"
            )
        if key not in known:
            raise unknown_key(str(key), str(key), known, origin)
    try:
        return FileKeys.model_validate({key: content[key] for key in FileKeys.model_fields if key in content})
    except ValidationError as error:
        raise refusal(error, origin) from error
