"""Temporary folders and lock files that go with their process, however it ends.

A folder is locked for as long as its process lives. Who makes one first removes those beside it that nobody holds any
more: what processes left that were killed. The lock is the system's (flock) and not a process number, which means
nothing in another container and may be another process's by now.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from compressctl.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: folders go with their block, what a killed process leaves stays
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\.?compressctl-[0-9a-f]{12}\.tmp")
_held: set[Path] = set()  # known before they are made, so that an interrupt at any moment leaves nothing


@contextmanager
def temporary_folder(beside: Path | None = None) -> Iterator[Path]:
    """Give a new folder, removed at the end with what is in it: a hidden one in `beside`, or one for work in TMPDIR.

    Raises:
        OSError: it cannot be made in `beside`.
        OutputError: it cannot be made in TMPDIR.
    """
    if beside is not None:
        with _new_folder(beside.absolute(), ".") as folder:
            yield folder
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_new_folder(Path(tempfile.gettempdir()), ""))
        except OSError as error:
            message = f"no temporary folder can be made: {error.strerror or error}"
            raise OutputError(message, "let TMPDIR name a folder that can be written") from error
        yield folder


@contextmanager
def _new_folder(parent: Path, prefix: str) -> Iterator[Path]:
    sweep(parent)
    while True:
        folder = parent / f"{prefix}compressctl-{token_hex(6)}.tmp"
        with held(folder):
            folder.mkdir(mode=0o700)
            lock = _lock(folder, wait=True)
            try:
                if not folder.exists():  # a sweep came between the two lines above
                    continue
                yield folder
                return
            finally:
                _remove(folder)
                if lock is not None:
                    os.close(lock)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Have `path`, made and removed within the block, removed as well where the process ends within it."""
    path = path.absolute()
    _held.add(path)
    try:
        yield
    except BaseException:  # an interrupt may have come while the block removed it
        if not path.exists():
            _held.discard(path)
        raise
    _held.discard(path)


def user_cache(name: str) -> Path | None:
    """Return the folder `name` in the user's cache, which need not be there; None for a user without a home."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:  # the XDG specification has relative paths ignored
        cache = given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return cache / "compressctl" / name


def discard(folder: Path) -> None:
    """Delete a folder at once: what is left of it where the process is killed is no half of it under its name."""
    with temporary_folder(folder.parent) as trash, suppress(FileNotFoundError):
        folder.rename(trash / folder.name)


def sweep(parent: Path) -> None:
    """Remove the temporary folders in `parent` that this user's processes left when they were killed."""
    if fcntl is None:
        return
    try:
        with os.scandir(parent) as entries:
            found = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name) and _own(entry)]
    except OSError:  # not to be listed: who writes there says so where it matters
        return
    for folder in found:
        if (lock := _lock(folder, wait=False)) is not None:
            _remove(folder)
            os.close(lock)


def remove_all() -> None:
    """Remove what is held: the process ends."""
    for path in list(_held):
        _remove(path)


def _own(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # it went in the meantime
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    return False


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder; return the descriptor that holds the lock. None where it is gone, held, or cannot be locked."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held; or a disk of the network that does not lock folders, where nothing is ever swept
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
