"""The files by which processes on one search take turns, and know which of them writes its result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from compressctl.model.staging import reported
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
