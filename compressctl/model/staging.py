"""Writing files whole or not at all: made in a hidden folder beside their place, and moved there together."""

from __future__ import annotations

import mmap
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from compressctl.errors import OutputError
from compressctl.scratch import temporary_folder


@contextmanager
def staging(path: Path) -> Iterator[Path]:
    """Give a new folder on the disk that `path` is to lie on; it is removed at the end, with what is left in it.

    Raises:
        OutputError: the disk refuses something, within the block as well.
    """
    with reported(path), temporary_folder(path.parent) as folder:
        yield folder


def move_into_place(staged: Sequence[Path], targets: Sequence[Path]) -> None:
    """Move files over what is there, the one that refers to the others last; if that fails, new ones are removed.

    No file may refer to what the others replace: then a process killed in between leaves the old or the new files. A
    link is replaced, not its target.
    """
    *others, (last, path) = zip(staged, targets, strict=True)
    new = [target for _, target in others if not os.path.lexists(target)]
    try:
        for file, target in others:
            _put(file, target)
        if others:
            _sync_folder(path.parent)
        _put(last, path)
    except BaseException:  # Ctrl-C as well, which goes on up
        if last.exists():
            for target in new:
                target.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def copy_into_place(file: Path, target: Path) -> None:
    """Write a copy of `file` over what is at `target`.

    Raises:
        OutputError: it cannot be written; what was there before is intact.
    """
    with staging(target) as folder:
        copy = folder / "copy"
        with file.open("rb") as source, copy.open("xb") as out:
            shutil.copyfileobj(source, out)
            sync(out)
        move_into_place([copy], [target])


def model_naming(name: str, folder: Path) -> Path | None:
    """Return a model in `folder` whose bytes hold the file name `name`, as those with external data do, or None.

    A model that cannot be read counts as one.
    """
    for model in sorted(folder.glob("*.onnx")):
        try:
            with model.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    continue
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if content.find(name.encode()) >= 0:
                        return model
        except FileNotFoundError:
            continue
        except OSError:
            return model
    return None


def sync(file: BinaryIO) -> None:
    """Flush a file to the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line.

    Raises:
        OutputError: names `path` and the reason.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _put(file: Path, target: Path) -> None:
    """Move a file over another one, whose permissions it gets."""
    if target.is_file():
        mode = stat.S_IMODE(target.stat().st_mode)
        if mode != stat.S_IMODE(file.stat().st_mode):
            with suppress(PermissionError):  # of disks that know no permissions
                file.chmod(mode)
    file.replace(target)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # a folder that may not be read, a disk that flushes no folders: the files are in place
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
