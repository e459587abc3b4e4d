"""The JSON Schema of recipe files."""

from __future__ import annotations

from typing import Any

from compressctl.recipe.model import PERMISSIONS, Recipe
from compressctl.recipe.variables import NAME, FileKeys

_VARIABLE = {"$ref": "#/$defs/Variable"}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of recipe files: `${name}` may stand for any value of a key."""
    recipe, file = Recipe.model_json_schema(), FileKeys.model_json_schema()
    definitions = {name: _with_variables(schema) for name, schema in recipe["$defs"].items()}
    definitions["Variable"] = {"type": "string", "pattern": rf"\$\{{{NAME}\}}", "description": "A value of `vars`."}
    keys = {key: value for key, value in _with_variables(recipe)["properties"].items() if key not in PERMISSIONS}
    properties = {**keys, **file["properties"]}
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**dialect, **recipe, "$defs": definitions, "properties": properties}


def _with_variables(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a mapping whose values may be variables: all but `const`, which tell mappings apart."""
    if "properties" not in schema:
        return schema
    properties = {
        key: value if "const" in value else _or_variable(value) for key, value in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def _or_variable(schema: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    return {**about, "anyOf": [{key: value for key, value in schema.items() if key not in about}, _VARIABLE]}
