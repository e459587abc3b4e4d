"""The options of a search: `compressctl pipeline --auto`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from compressctl.cli import options as o
from compressctl.cli.groups import add_group
from compressctl.recipe.read import read_mapping
from compressctl.recipe.search import SearchOptions


def _options(
    auto: Annotated[
        bool,
        typer.Option("--auto", help="Search for the passes that make the model smallest or fastest."),
    ] = False,
    objective: Annotated[str | None, o.option(SearchOptions, "objective", metavar="size|latency|both")] = None,
    time_limit: Annotated[str | None, o.option(SearchOptions, "time_limit", metavar="DURATION")] = None,
    trials: Annotated[int | None, o.option(SearchOptions, "trials")] = None,
    storage: Annotated[str | None, o.option(SearchOptions, "storage", metavar="FILE|URL")] = None,
    workers: Annotated[int | None, o.option(SearchOptions, "workers")] = None,
) -> None: ...


def _searching(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the keys of `search` that were given; None where nothing asks for a search."""
    keys = o.given(**{name: value for name, value in arguments.items() if name != "auto"})
    return keys if arguments["auto"] or keys else None


def searches(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a search; it gets them as its keyword argument `searching`."""
    return add_group(command, "searching", _options, _searching)


def with_search(keys: Mapping[str, Any], searching: Mapping[str, Any] | None, recipe: Path) -> dict[str, Any]:
    """Return the keys that flags replace, those of a search joined with the recipe's own.

    Raises:
        RecipeError: the recipe cannot be read.
    """
    if searching is None:
        return dict(keys)
    own = read_mapping(recipe).get("search")
    return {**keys, "search": {**(own if isinstance(own, dict) else {}), **searching}}
