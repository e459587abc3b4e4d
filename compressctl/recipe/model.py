"""The recipe of one run, as a frozen pydantic model. Flags and YAML keys share these names.

Relative paths in a recipe file are relative to the folder that the command is run in, as in a Makefile.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import ConfigDict, Field, model_validator

from compressctl.budgets import Budgets
from compressctl.fields import Option
from compressctl.passes import PASSES
from compressctl.passes.base import PassConfig
from compressctl.recipe.options import Files, ReportOptions, RunOptions, Samples
from compressctl.recipe.search import SearchOptions

if TYPE_CHECKING:
    AnyPass = PassConfig
else:
    AnyPass = Annotated[Union[PASSES], Field(discriminator="type")]  # noqa: UP007


def _passes_or_search(schema: dict[str, Any]) -> None:
    schema["required"].remove("passes")
    schema["anyOf"] = [{"required": ["passes"]}, {"required": ["search"]}]


class Recipe(ReportOptions, RunOptions, Budgets, Samples, Files):  # pydantic takes the last one's fields first
    """One compression run: from `model` to `output` through `passes`, judged on `data` under the budgets."""

    model_config = ConfigDict(json_schema_extra=_passes_or_search)

    passes: tuple[AnyPass, ...]
    """The passes, in order; with `search`, those that every candidate begins with."""
    search: Annotated[SearchOptions | None, Option(runs=True)] = None
    """Search for the passes and their settings that make the model smallest or fastest within all budgets."""

    @model_validator(mode="before")
    @classmethod
    def _a_search_needs_no_passes(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("search") is not None:
            return {"passes": (), **content}
        return content

    def asks_for_runs(self) -> list[str]:
        """Return the keys that are set and that only a run of the model can answer, as budgets on latency."""
        values = {key: getattr(self, key) for key in Recipe.model_fields if Recipe.about(key).runs}
        return [key for key, value in values.items() if value is not None and value is not False]

    def canonical(self) -> str:
        """Return what decides the output's bytes, as JSON with sorted keys and without defaults."""
        content = self.model_dump(mode="json", include=self.deciding("bytes") - {"passes"}, exclude_defaults=True)
        content["passes"] = [config.entry for config in self.passes]
        return json.dumps(content, sort_keys=True)


PERMISSIONS = tuple(name for name in Recipe.model_fields if Recipe.about(name).permission)
WRITTEN = tuple(name for name in Recipe.model_fields if Recipe.about(name).written)
