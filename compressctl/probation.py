"""What is done on a file before it has proved itself: within bounds of time and memory, and told to the supervisor.

A few hundred bytes can ask for any amount of work: constants that double node by node, endless loops, zip members of
zeros. Most of that work is done by native code, which nothing inside the process can stop. So the process only says
which file it works on and how far that may go; `supervisor` watches it from outside.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from compressctl.errors import CompressctlError, ModelError, UsageError

# Memory: what the activations of large images or long texts take in a first run, and onnxruntime's own, stays below
# 2 GB; weights are held several times over while a model is parsed, checked, laid out for kernels and opened.
BASE_BYTES, BYTES_A_BYTE = 2 << 30, 8
# Time: of computing. Converting TorchScript, which imports torch, takes about 10 s on a slow core; following every axis
# of a graph takes some milliseconds a node, of a few hundred bytes.
BASE_SECONDS, BYTES_A_SECOND = 20.0, 1 << 18
MEMORY, SECONDS = "COMPRESSCTL_LOAD_MEMORY", "COMPRESSCTL_LOAD_SECONDS"
"""Environment variables that replace the bounds: bytes, and seconds."""

_LONGEST = 300  # characters of what is told of an error
_RSS = "RssAnon:"  # resident memory without mapped files, which the system can reclaim


@dataclass(frozen=True)
class Watch:
    """One file on probation, as the supervisor is told.

    Attributes:
        path: the file, as the user named it.
        size: its bytes, with those of its external data.
        memory: bytes of memory that it may take.
        seconds: of computing that it may take.
        resident: bytes of resident memory of the process when it began.
        clock: `time.monotonic()` then.
        computed: seconds of processor time that the process had used then.
    """

    path: str
    size: int
    memory: int
    seconds: float
    resident: int
    clock: float
    computed: float

    def exceeded(self, resident: int, clock: float, computed: float) -> str | None:
        """Return what the file took too much of, in words; None where it keeps to its bounds.

        Time counts where it passed and was computed with: neither a busy machine nor many threads make it longer.
        """
        if resident - self.resident > self.memory:
            return f"{self.memory / (1 << 30):.3g} GB of memory"
        if min(clock - self.clock, computed - self.computed) > self.seconds:
            return f"{self.seconds:.3g} seconds"
        return None


_channel: int | None = None  # a pipe to the supervisor, where there is one
_watched: list[Watch] = []
_beside: dict[str, int] = {}  # bytes of external data, by the path of the file, once they are known


def report_to(channel: int) -> None:
    """Tell the supervisor from now on, through a file descriptor."""
    global _channel
    _channel = channel


@contextmanager
def on_probation(path: Path) -> Iterator[None]:
    """Bound what is done in the block on the file `path`, where a supervisor watches.

    Raises:
        ModelError: there is not enough memory for it, or the file has something that nobody thought of.
        UsageError: an environment variable that sets a bound is no number.
    """
    size = 0
    with suppress(OSError, ValueError):  # whoever opens it says why not
        size = path.stat().st_size + _beside.get(str(path), 0)
    memory, seconds = _bounds(size)
    now = Watch(str(path), size, memory, seconds, resident_bytes("self"), time.monotonic(), time.process_time())
    _watched.append(now)
    _tell()
    try:
        yield
    except MemoryError as error:
        hint = "it asks for more than its size suggests, or this machine has too little"
        raise ModelError(f"{path}: loading it ran out of memory", hint) from error
    except ModelError as error:
        if str(path) not in error.message:
            error.message = f"{path}: {error.message}"
        raise
    except (CompressctlError, OSError):
        raise
    except Exception as error:  # it has not proved itself, we have
        text = f"{path} cannot be used: {type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}"
        raise ModelError(text, "`compressctl --debug …` shows where; report it if the file is sound") from error
    finally:
        _watched.pop()
        _tell()


def counts_too(files: Iterable[Path]) -> None:
    """Let the file on probation take as much as one with the bytes of `files`, its external data, may."""
    if not _watched:
        return
    was = _watched.pop()
    before = _beside.get(was.path, 0)
    _beside[was.path] = sum(file.stat().st_size for file in files)
    size = was.size - before + _beside[was.path]
    memory, seconds = _bounds(size)
    _watched.append(Watch(was.path, size, memory, seconds, was.resident, was.clock, was.computed))
    _tell()


def resident_bytes(process: int | str) -> int:
    """Return the resident memory of a process in bytes; 0 where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(_RSS):
                return int(line.split()[1]) << 10
    return 0


def _bounds(size: int) -> tuple[int, float]:
    """Return the bytes and seconds that a file of `size` bytes may take."""
    memory, seconds = _setting(MEMORY), _setting(SECONDS)
    return (
        BASE_BYTES + BYTES_A_BYTE * size if memory is None else int(memory),
        BASE_SECONDS + size / BYTES_A_SECOND if seconds is None else seconds,
    )


def _setting(name: str) -> float | None:
    text = os.environ.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e18:
        example = "bytes, such as 4e9" if name == MEMORY else "seconds, such as 60"
        raise UsageError(f"{name}={text}: not a number above 0", f"give {example}, or unset it")
    return value


def _tell() -> None:
    if _channel is None:
        return
    message = json.dumps(vars(_watched[-1])) if _watched else ""
    with suppress(OSError):  # a supervisor that is gone watches no more
        os.write(_channel, message.encode() + b"\n")
