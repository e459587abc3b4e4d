"""One run at a time on one output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from compressctl.errors import OutputError
from compressctl.model.staging import reported
from compressctl.scratch import held


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
