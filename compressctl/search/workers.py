"""Several processes on one search: those that `workers` asks for, and those that others start on the same storage."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from compressctl import signals
from compressctl.model.staging import reported
from compressctl.recipe import Recipe
from compressctl.scratch import held


def publishing(output: Path) -> Path:
    """Return the file that processes lock in turn while they write the best candidate so far."""
    return output.with_name(f".{output.name}.best.lock")


def locks(output: Path) -> tuple[Path, Path]:
    """Return the lock files of a search; they are empty."""
    return publishing(output), output.with_name(f".{output.name}.search.lock")


@contextmanager
def leading(output: Path) -> Iterator[bool]:
    """Say whether this process is the one that writes the output in the end: the first of those that search for it.

    Raises:
        OutputError: the folder of the output cannot be written.
    """
    _, path = locks(output)
    lock = FileLock(path)
    with reported(output):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
    with held(path), held(publishing(output)):
        try:
            yield True
        finally:
            publishing(output).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            lock.release()


@contextmanager
def helpers(recipe: Recipe, count: int, seconds: float) -> Iterator[None]:
    """Let `count` more processes search for so many seconds while the block runs, and wait for the trials they are at.

    Args:
        recipe: of the search, with its storage named.
        count: how many.
        seconds: until they begin no more trials.
    """
    spawn = multiprocessing.get_context("spawn")
    started = [spawn.Process(target=_help, args=(recipe, n, seconds), daemon=True) for n in range(1, count + 1)]
    try:
        for helper in started:
            helper.start()
        yield
    except BaseException:
        for helper in started:
            if helper.pid is not None:
                helper.terminate()
        raise
    finally:
        for helper in started:
            if helper.pid is not None:
                helper.join()


def _help(recipe: Recipe, index: int, seconds: float) -> None:
    from compressctl.search import take_part

    signals.handle(silent=True)
    parent = multiprocessing.parent_process()
    assert parent is not None
    with suppress(KeyboardInterrupt):  # the process that started this one says so
        take_part(recipe, index, seconds, deserted=lambda: not parent.is_alive())
    signals.end(0)
