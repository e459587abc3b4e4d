"""What a command writes, looked at before any work: no file is lost that it reads, writes besides, or did not make."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressctl.errors import OutputError

_STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")  # folders whose entries are no files to be replaced: /dev/stdout
_LONGEST_NAME = 255 - 40  # bytes: a lock, a report or data named by their content add up to that to a name
_NAMED = {"stdout": 1, "stderr": 2}


def beside(output: Path, suffix: str) -> Path:
    """Return where a file goes that belongs to `output`: k.report.json to k.onnx, k.ccz.report.json to k.ccz."""
    return output.with_suffix(suffix) if output.suffix == ".onnx" else output.with_name(f"{output.name}{suffix}")


@dataclass(frozen=True)
class Write:
    """A file that a command is going to write.

    Attributes:
        path: where.
        what: the word for it in errors, such as "report".
        ours: whether a file that lies there is an earlier one of the same kind, which may go.
    """

    path: Path
    what: str
    ours: Callable[[Path], bool] = lambda path: False


def guard(reads: Callable[[], Iterable[Path]], writes: Sequence[Write], *, force: bool) -> None:
    """Refuse, before the work, what cannot be written, or would destroy a file.

    Files are the same where the system says so, by whatever names and links. Devices and pipes are free to all.

    Args:
        reads: gives all files that the command reads; asked only where something lies in the way.
        writes: all files that it writes.
        force: files of others may be replaced; what the command reads or writes besides may not, even so.

    Raises:
        OutputError: names the path, and what is in the way.
    """
    files = [write for write in writes if not is_stream(write.path)]
    taken: dict[object, Write] = {}
    for write in files:
        check_place(write.path, write.what)
        other = taken.setdefault(_identity(write.path), write)
        if other is not write:
            raise OutputError(f"{write.path} would be both {other.what} and {write.what}", "give them different names")
    present = [write for write in files if os.path.lexists(write.path)]
    if not present:
        return
    read = {_identity(path) for path in reads()}
    for write in present:
        if _identity(write.path) in read:
            raise OutputError(
                f"the {write.what} {write.path} is a file that this command reads", "give it another name"
            )
        if not force and not (write.path.exists() and write.ours(write.path)):
            raise OutputError(f"{write.path} exists, and is no {write.what} of compressctl", "--force replaces it")


def check_place(path: Path, what: str) -> None:
    """Refuse a path where no file can be written: a folder, in none that is there and may be written, a name too long.

    Raises:
        OutputError: names the folder, and `what` was to go there.
    """
    folder = path.parent
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        hint = f"give it at most {_LONGEST_NAME} bytes: files beside it have longer names"
        raise OutputError(f"the name of the {what} {path} is too long", hint)
    if path.is_dir():
        raise OutputError(f"the {what} {path} is a folder", "give the name of a file")
    if not folder.is_dir():
        raise OutputError(f"folder {folder} of the {what} does not exist", "create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"folder {folder} of the {what} cannot be written", "choose another one")


def is_stream(path: Path) -> bool:
    """Whether a path is written to as it is, not replaced: a device, a pipe, or a name for an open file."""
    return str(path.absolute().parent) in _STREAMS or (path.exists() and not (path.is_file() or path.is_dir()))


def descriptor_of(stream: Path) -> int | None:
    """Return the number of the open file that a name such as /dev/stdout stands for; None where it is a device."""
    if str(stream.absolute().parent) == "/dev":
        return _NAMED.get(stream.name)
    return int(stream.name) if stream.name.isdecimal() and str(stream.absolute().parent) in _STREAMS else None


def beginning(path: Path) -> str:
    """Return the first bytes of a file as text, by which its kind is told; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace")
    except OSError:
        return ""


def _identity(path: Path) -> object:
    """Return what two names of one file have in common; of one that is not there yet, its path without links."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
