"""A recipe file -> Recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressctl.errors import RecipeError
from compressctl.recipe.build import build_recipe
from compressctl.recipe.model import Recipe


def load_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a YAML recipe; `overrides` replace top-level keys (flags win over the file).

    Raises:
        RecipeError: the file cannot be read, is not YAML, or has a key or value that does not fit; names the key path.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise RecipeError(
            f"{where}: not valid YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}"
        ) from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys", "see `compressctl schema`")
    return build_recipe({**content, **(overrides or {})}, origin=str(path))
