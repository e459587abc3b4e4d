"""`sweep:`: the runs that a recipe file stands for."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compressctl.errors import RecipeError
from compressctl.recipe.model import WRITTEN, Recipe

MOST_RUNS = 1000
"""Of one recipe file. Each takes seconds at least, and a table of their results is still read."""


def combinations(sweep: Mapping[str, Sequence[Any]], origin: str) -> Iterator[dict[str, Any]]:
    """Yield every combination of values, the last variable changing fastest; one empty one where nothing is swept.

    Raises:
        RecipeError: there are more than `MOST_RUNS`; begins with `origin`.
    """
    if (runs := math.prod(map(len, sweep.values()))) > MOST_RUNS:
        raise RecipeError(f"{origin}: sweep: stands for {runs:,} runs, at most {MOST_RUNS:,}", "sweep fewer values")
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def check_apart(runs: Sequence[tuple[Mapping[str, Any], Recipe]], origin: str) -> None:
    """Check that no two runs write the same file.

    Args:
        runs: the values of the swept variables, and the recipe that they make.
        origin: begins the error.

    Raises:
        RecipeError: two do; names the values of both, and a variable to put into the name.
    """
    for key in WRITTEN:
        taken: dict[str, Mapping[str, Any]] = {}
        for values, recipe in runs:
            path: Path | None = getattr(recipe, key)
            if path is None:
                continue
            earlier = taken.setdefault(os.path.abspath(path), values)  # noqa: PTH100 - links are names of their own
            if earlier is not values:
                both = f"{shown(earlier)} and {shown(values)}"
                swept = next((name for name in values if values[name] != earlier[name]), next(iter(values)))
                named = path.with_stem(f"{path.stem}_${{{swept}}}")
                raise RecipeError(
                    f"{origin}: {key}: {path} would be written by two runs: {both}",
                    f"put the swept variables into it, for example {named}",
                )


def shown(values: Mapping[str, Any]) -> str:
    """Return the values of swept variables in words."""
    return ", ".join(f"{name}={value}" for name, value in values.items())
