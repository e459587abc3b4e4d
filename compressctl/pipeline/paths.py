"""The files of a run, looked at before any work; one run at a time on one output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from compressctl.errors import OutputError
from compressctl.guard import Write, beside, guard
from compressctl.model.staging import reported
from compressctl.pipeline.inputs import recipe_files
from compressctl.recipe.model import Recipe
from compressctl.report.write import report_writes
from compressctl.scratch import held


def report_path(recipe: Recipe) -> Path:
    """Return where the JSON report goes; the others lie beside it."""
    return (recipe.report or beside(recipe.output, ".report.json")).with_suffix(".json")


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


def lock_path(output: Path) -> Path:
    """Return the file that says that a run is at work on `output`; it is empty."""
    return output.with_name(f".{output.name}.lock")


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keep other runs off `output` until the block ends; a run that was killed holds nothing.

    Raises:
        OutputError: another run is at work on it, or its folder cannot be written.
    """
    path = lock_path(output)
    with reported(output):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(f"another run is writing {output}", "wait for it, or choose another output") from error
    with held(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            lock.release()
