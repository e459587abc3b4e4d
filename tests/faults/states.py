"""What a command leaves on disk where it is killed: the files as they are before each of its file events.

A process that is killed leaves what it wrote, but not what its buffers held, and its locks are gone. So does a copy of
its files, taken at the event; one run gives them all.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from compressctl.__main__ import run

_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink")
_RANDOM = re.compile(r"[0-9a-f]{12}(?=\.tmp)")
_tell: Callable[[], None] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _tell is not None and (event in _EVENTS or (event == "open" and _writes(arguments[2]))):
        _tell()


sys.addaudithook(_audit)  # for good, which is why it asks `_tell`


def _writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their paths in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def visible(folder: Path) -> dict[str, bytes]:
    """Return those that a user sees: nothing hidden, nothing in TMPDIR, and no checkpoints, which `--resume` reads."""
    unseen = re.compile(r"(^|/)\.|^tmp/|\.checkpoints/")
    return {name: data for name, data in contents(folder).items() if not unseen.search(name)}


def leftovers(folder: Path) -> list[str]:
    """Return what no ended run may leave: temporary folders and locks."""
    found = [path for path in folder.rglob("*") if path.name.startswith(".") and path.name not in KEPT]
    return [str(path) for path in (*found, *(folder / "tmp").glob("compressctl*"))]


KEPT = (".compressctl", ".gitignore")  # the cache of `pipeline`


@contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """Work in a folder, temporary files in its `tmp`."""
    before, temporary = Path.cwd(), tempfile.tempdir
    (folder / "tmp").mkdir(exist_ok=True)
    os.chdir(folder)
    tempfile.tempdir = str(folder / "tmp")
    try:
        yield
    finally:
        os.chdir(before)
        tempfile.tempdir = temporary


def states(folder: Path, arguments: list[str], into: Path) -> tuple[int, list[Path]]:
    """Run a command in `folder`; return how many file events it had, and copies of all states that they found."""
    global _tell
    taken: dict[bytes, Path] = {}
    events, busy = 0, threading.RLock()
    inside = False

    def tell() -> None:
        nonlocal events, inside
        with busy:  # threads that write wait while the files are copied
            if inside:
                return
            inside = True
            events += 1
            signature = hashlib.sha256(repr(_shape(folder)).encode()).digest()
            if signature not in taken:
                taken[signature] = into / str(events)
                shutil.copytree(folder, taken[signature], symlinks=True)
            inside = False

    with at_home(folder):
        _tell = tell
        try:
            assert run(arguments) == 0
        finally:
            _tell = None
    return events, list(taken.values())


def _shape(folder: Path) -> list[tuple[str, str]]:
    paths = sorted(folder.rglob("*"))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in paths]
    return [(_RANDOM.sub("", str(path)), digest) for path, digest in zip(paths, digests, strict=True)]
