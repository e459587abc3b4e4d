"""The JSON Schema of recipe files."""

from __future__ import annotations

from typing import Any

from compressctl.recipe.model import Recipe


def json_schema() -> dict[str, Any]:
    """Return the recipe's JSON Schema (draft 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
