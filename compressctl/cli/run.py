"""The options that every run of a recipe has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Annotated, Any

from compressctl.cli.groups import Group
from compressctl.cli.options import Models
from compressctl.cli.views import Views


@dataclass(frozen=True)
class Shared:
    """The shared options as given on the command line.

    Attributes:
        recipe: those that are keys of the recipe; only the ones that were given.
        views: the others.
    """

    recipe: dict[str, Any]
    views: Views

    def compress(self, passes: Sequence[Mapping[str, Any]], **keys: Any) -> int:
        """Run passes, with these keys of the recipe where they were not given; return the exit code."""
        from compressctl.recipe.load import build_recipe

        recipe = build_recipe({"passes": passes, **keys, **self.recipe})
        from compressctl.cli.runs import run_all  # much to import, which a recipe that is refused does without

        return run_all([recipe], self.views)


def _models() -> Models:
    from compressctl.budgets import Budgets
    from compressctl.recipe.options import Files, ReportOptions, RunOptions, Samples

    return dict.fromkeys((Files, Samples, Budgets, RunOptions, ReportOptions))


def _shared(arguments: dict[str, Any]) -> Shared:
    views = {one.name: arguments.pop(one.name) for one in dataclass_fields(Views) if one.name in arguments}
    return Shared(arguments, Views(**views))


RUN = Group(_models, _shared, besides=Views)
Run = Annotated[Shared, RUN]
