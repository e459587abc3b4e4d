"""The best candidate so far, on disk as soon as it is found: the model, and the recipe that reproduces it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from compressctl.model.staging import reported
from compressctl.pipeline.candidates import Candidate, write_candidate
from compressctl.plain import plain
from compressctl.recipe.model import Recipe
from compressctl.report.write import write_text
from compressctl.search.files import HEAD, best_path
from compressctl.search.locks import publishing
from compressctl.search.ranking import rank
from compressctl.search.record import Record, dumped, recipe_of


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
    told = {"model", "output"} | recipe.deciding("bytes") - {"search", "passes"}
    content = recipe.model_dump(mode="json", include=told, exclude_defaults=True)
    content |= {"passes": dumped(recipe.passes)}
    shown = json.dumps(content, ensure_ascii=False).isprintable()  # else YAML spells out all that is not ASCII
    head = f"{HEAD}; it reproduces its output byte for byte:\n"
    head += f"#   compressctl pipeline {plain(str(path))}{' --allow-python' if recipe.allow_python else ''}\n"
    write_text(path, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=shown, width=120))
    return content
