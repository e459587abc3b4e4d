"""`--set key=value`: a variable, or a path into the recipe file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressctl.errors import RecipeError, nearest
from compressctl.recipe.model import Recipe
from compressctl.recipe.read import joined, parse_yaml
from compressctl.recipe.variables import FileKeys

_DEEPEST = 20  # parts of a path that are looked up; a recipe needs five


def apply_setting(content: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Return the content of a recipe file, changed as `setting` says.

    Args:
        content: with `vars` and `sweep` as mappings, where it has them.
        setting: `name=value` of a variable, which is no longer swept then; or a dotted path, as in
            `passes.1.epochs=3`. The value is YAML.

    Raises:
        RecipeError: it has no `=`, its value is not YAML, or there is no such variable or place.
    """
    key, equals, text = setting.partition("=")
    where = f"--set {setting}"
    if not key or not equals:
        raise RecipeError(f"{where}: not KEY=VALUE", "for example --set passes.1.epochs=3")
    value = parse_yaml(text, where)
    variables, sweep = content.get("vars", {}), content.get("sweep", {})
    if key in variables or key in sweep:
        unswept = {name: values for name, values in sweep.items() if name != key}
        return {**content, "vars": {**variables, key: value}, "sweep": unswept}
    first, *rest = key.split(".", _DEEPEST)
    keys = [*Recipe.model_fields, *FileKeys.model_fields]
    if first not in keys:
        hint = nearest(first, [*variables, *sweep, *keys])
        raise RecipeError(f"{where}: there is no variable and no key {first!r}", hint or "see `compressctl schema`")
    return {**content, first: _changed(content.get(first), rest, value, where, first)}


def _changed(place: Any, parts: list[str], value: Any, where: str, path: str) -> Any:
    """Return what stands at `path` with `value` where the other parts lead, in mappings that are made where missing.

    Nothing is changed in place: YAML aliases share what they stand for.
    """
    if not parts:
        return value
    part, *rest = parts
    if isinstance(place, list):
        index = int(part) if part.isascii() and part.isdigit() and len(part) < 10 else len(place)
        if index >= len(place):
            known = f"it has 0 to {len(place) - 1}" if place else "it is empty"
            raise RecipeError(f"{where}: {path} has no entry {part!r}", known)
        changed = _changed(place[index], rest, value, where, joined(path, index))
        return [*place[:index], changed, *place[index + 1 :]]
    if isinstance(place, dict) or place is None:
        inner = place or {}
        return {**inner, part: _changed(inner.get(part), rest, value, where, joined(path, part))}
    raise RecipeError(f"{where}: {path} is {place!r}, which has no entry {part!r}")
