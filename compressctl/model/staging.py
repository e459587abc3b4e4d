"""Writing files whole or not at all: made in a hidden folder beside their place, and moved there together."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from compressctl.errors import OutputError


@contextmanager
def staging(path: Path) -> Iterator[Path]:
    """Give a new folder on the disk that `path` is to lie on; it is removed at the end, with what is left in it.

    Raises:
        OutputError: the disk refuses something, within the block as well.
    """
    with reported(path):
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def move_into_place(staged: Sequence[Path], targets: Sequence[Path]) -> None:
    """Move files over what is there, the one that refers to the others last; where it cannot follow, all come back."""
    others = [(file, target, file.with_name(f"{file.name}.old")) for file, target in zip(staged, targets, strict=True)]
    last, path, _ = others.pop()
    try:
        for file, target, old in others:
            if target.exists():
                target.replace(old)
            file.replace(target)
        last.replace(path)
    except BaseException:  # Ctrl-C as well: what was there is put back, whatever stopped the move, which goes on up
        if last.exists():
            for file, target, old in others:
                if old.exists():
                    old.replace(target)
                elif not file.exists():
                    target.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def copy_into_place(file: Path, target: Path) -> None:
    """Write a copy of `file` over what is at `target`.

    Raises:
        OutputError: it cannot be written; what was there before is intact.
    """
    with staging(target) as folder:
        copy = folder / target.name
        with file.open("rb") as source, copy.open("xb") as out:
            shutil.copyfileobj(source, out)
            sync(out)
        move_into_place([copy], [target])


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
