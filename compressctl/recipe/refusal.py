"""What pydantic says against a recipe, as one line that names the key and what to do."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

from pydantic import ValidationError

from compressctl.errors import RecipeError, flag, nearest
from compressctl.fields import Options
from compressctl.passes import CONFIGS, PASSES
from compressctl.plain import problem_text
from compressctl.recipe.model import Recipe
from compressctl.recipe.search import SearchOptions
from compressctl.training.options import LossTerm

COMMAND_LINE = "command line"
_MODELS: tuple[type[Options], ...] = (Recipe, SearchOptions, *PASSES, LossTerm)


def refusal(error: ValidationError, origin: str) -> RecipeError:
    """Return the error for the first problem; `origin` is the file, or COMMAND_LINE, which names the flag."""
    problem = error.errors()[0]
    location = [part for part in problem["loc"] if isinstance(part, int) or part not in CONFIGS]
    own_names = 2 if location[:1] == ["vars"] or location[:1] == ["sweep"] else 1
    while len(location) > own_names and problem["type"] != "extra_forbidden" and not _is_key(location[-1]):
        location.pop()  # the member of a union of types that did not fit
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if origin == COMMAND_LINE:
        origin, path = "bad option", _flag(location)
    kind = problem["type"]
    if kind == "extra_forbidden":
        return unknown_key(str(problem["loc"][-1]), path, _known_keys(problem["loc"]), origin)
    if kind == "union_tag_invalid":
        given = str(problem.get("ctx", {}).get("tag", ""))
        hint = nearest(given, CONFIGS) or f"passes: {', '.join(CONFIGS)}"
        return RecipeError(f"{origin}: {path}.type: there is no pass {given!r}", hint)
    if kind == "union_tag_not_found":
        return RecipeError(f"{origin}: {path}.type: missing", f"one of {', '.join(CONFIGS)}")
    if kind == "missing":
        return RecipeError(f"{origin}: {path}: missing", f"add {path} to the recipe")
    value = problem.get("input")
    shown = f", not {reprlib.repr(value)}" if isinstance(value, str | int | float | bool) else ""
    where = f"{origin}: {path}" if path else origin
    return RecipeError(f"{where}: {problem_text(problem['msg'])}{shown}")


def unknown_key(key: str, path: str, known: Sequence[str], origin: str) -> RecipeError:
    """Return the error for a key at `path` that is none of the known ones."""
    hint = nearest(key, known) or f"known keys: {', '.join(known)}"
    return RecipeError(f"{origin}: {path}: unknown key", hint)


def _flag(location: Sequence[int | str]) -> str:
    """Return the flag of the option of which something does not fit; empty where several do not go together."""
    inner = location[:1] in (["passes"], ["search"])
    key = next((part for part in location[1 if inner else 0 :] if isinstance(part, str)), None)
    if key is None:
        return ""
    stated = next((model.about(key).flags for model in _MODELS if key in model.model_fields), ())
    return stated[0].partition("/")[0] if stated else flag(key)


def _is_key(part: int | str) -> bool:
    """Whether a part of a location is an index, or the name of a field anywhere in a recipe."""
    return isinstance(part, int) or any(part in model.model_fields for model in _MODELS)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    if location[0] == "passes" and len(location) > 2:
        return list(CONFIGS[str(location[2])].model_fields)
    if location[0] == "search" and len(location) > 1:
        return list(SearchOptions.model_fields)
    return list(Recipe.model_fields)
