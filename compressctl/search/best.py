"""The best candidate so far, on disk as soon as it is found: the model, and the recipe that reproduces it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from compressctl.model.staging import reported
from compressctl.pipeline.candidates import Candidate, write_candidate
from compressctl.recipe import Recipe
from compressctl.report.write import write_text
from compressctl.search.ranking import rank
from compressctl.search.record import Record, dumped, recipe_of
from compressctl.search.workers import publishing

_NO_PART = {"force", "resume", "cache", "report", "search", "explain", "robustness", "passes"}


def best_path(output: Path) -> Path:
    """Return where the recipe of the best candidate goes."""
    return output.with_suffix(".best.yaml")


def publish(recipe: Recipe, record: Record, candidate: Candidate, others: Sequence[Record]) -> bool:
    """Write a candidate as the output, with its recipe, if none of the others is better; return whether it was.

    Processes that write the same output take turns.

    Raises:
        OutputError: it cannot be written; what was there before is intact.
    """
    with reported(recipe.output), FileLock(publishing(recipe.output)):
        if any(rank(recipe, other) < rank(recipe, record) for other in others):
            return False
        write_candidate(candidate, recipe.output)
        write_recipe(recipe_of(recipe, record.passes), best_path(recipe.output))
    return True


def write_recipe(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the recipe of a candidate; return its content.

    Raises:
        OutputError: it cannot be written.
    """
    import yaml

    content = recipe.model_dump(mode="json", exclude=_NO_PART, exclude_defaults=True)
    content |= {"passes": dumped(recipe.passes)}
    told = "# Found by a search of compressctl; it reproduces its output byte for byte:\n"
    told += f"#   compressctl pipeline {path}{' --allow-python' if recipe.allow_python else ''}\n"
    write_text(path, told + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
    return content
