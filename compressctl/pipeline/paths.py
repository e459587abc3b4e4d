"""The files of a run, looked at before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.guard import Write, guard
from compressctl.pipeline.inputs import recipe_files
from compressctl.pipeline.lock import lock_path
from compressctl.recipe.model import Recipe
from compressctl.report.write import report_writes


def report_path(recipe: Recipe) -> Path:
    """Return where the JSON report goes; the others lie beside it."""
    return (recipe.report or recipe.output.with_suffix(".report.json")).with_suffix(".json")


def guard_runs(recipes: Sequence[Recipe], *, reads: Iterable[Path] = (), writes: Iterable[Write] = ()) -> None:
    """Refuse, before the work, runs of which one would destroy a file: its own, another's, or one of the user's.

    Args:
        recipes: the runs; which outputs they may replace, `check_writable` says.
        reads: files that the command reads besides.
        writes: files that it writes besides.

    Raises:
        OutputError: names the path, and what is in the way.
    """
    for recipe in recipes:
        if recipe.cache is not None and recipe.cache.exists() and not recipe.cache.is_dir():
            raise OutputError(f"the cache {recipe.cache} is a file", "name a folder")
    guard(
        lambda: [*reads, *(path for recipe in recipes for path in recipe_files(recipe))],
        [*(write for recipe in recipes for write in _writes(recipe)), *writes],
        force=all(recipe.force for recipe in recipes),
    )


def _writes(recipe: Recipe) -> list[Write]:
    return [
        Write(recipe.output, "output", lambda path: True),
        Write(lock_path(recipe.output), "lock file", lambda path: not path.stat().st_size),
        *report_writes(report_path(recipe)),
    ]
