"""A process that watches the one that works: it ends a file that takes too much, and says so where native code crashed.

Linux alone, which tells of other processes under /proc; elsewhere nothing is watched.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from compressctl import probation
from compressctl.errors import EXIT_FAULT, EXIT_UNUSABLE
from compressctl.probation import Watch
from compressctl.scratch import sweep

_INTERVAL = 0.05  # seconds between two looks at a file on probation: memory grows by at most some 100 MB in between
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_DIE_WITH_PARENT = 1  # prctl(2): PR_SET_PDEATHSIG


def supervise() -> None:
    """Go on in a new process that this one watches; returns in the new one alone.

    The new process is a group of its own and gets the signals that this one gets, so that each arrives once.
    """
    if not Path("/proc/self/status").exists():
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (*_FORWARDED, signal.SIGCHLD, signal.SIGTSTP))
    try:
        reading, writing = os.pipe()
        worker = os.fork()
    except OSError:  # no room for a process: nothing is watched
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        return
    if worker:
        os.close(writing)
        with suppress(OSError):
            os.setpgid(worker, worker)  # whoever of the two comes first
        _watch(worker, reading, held)
    os.close(reading)
    os.setpgid(0, 0)
    _end_with(os.getppid())
    probation.report_to(writing)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _end_with(parent: int) -> None:
    """Let the system kill this process when its parent ends."""
    import ctypes

    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(EXIT_FAULT)


def _watch(worker: int, channel: int, held: set[int | signal.Signals]) -> NoReturn:
    """Wait for the worker, and exit as it did."""

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(worker, number)

    def pause(*_: object) -> None:
        os.killpg(worker, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.killpg(worker, signal.SIGCONT)

    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    signal.signal(signal.SIGTSTP, pause)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    watched: Watch | None = None
    exceeded: str | None = None
    told, sources = b"", [channel, woken]
    while (ended := os.waitpid(worker, os.WNOHANG))[0] == 0:
        ready, _, _ = select.select(sources, [], [], _INTERVAL if watched else None)
        if woken in ready:
            os.read(woken, 4096)
        if channel in ready:
            if not (read := os.read(channel, 65536)):
                sources.remove(channel)
            *lines, told = (told + read).split(b"\n")
            if lines:
                watched = Watch(**json.loads(lines[-1])) if lines[-1] else None
        elif watched and (exceeded := watched.exceeded(*_use(worker))):
            with suppress(ProcessLookupError):
                os.killpg(worker, signal.SIGKILL)
            ended = os.waitpid(worker, 0)
            break
    if os.WIFSIGNALED(ended[1]):
        with suppress(OSError):
            sweep(Path(tempfile.gettempdir()))
    os._exit(_conclude(ended[1], watched, exceeded))


def _use(worker: int) -> tuple[int, float, float]:
    """Return the worker's resident memory in bytes, the time, and the processor time that it used in seconds."""
    try:  # proc(5): the 14th and 15th field; the second, a name in brackets, may hold spaces
        fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
        computed = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):  # it has just ended
        computed = 0.0
    return probation.resident_bytes(worker), time.monotonic(), computed


def _conclude(status: int, watched: Watch | None, exceeded: str | None) -> int:
    """Return the exit code for how the worker ended; where it could not say so itself, say it."""
    if watched and exceeded:
        hint = f"{probation.MEMORY}=BYTES and {probation.SECONDS}=N allow more"
        needs = f"more than a file of {watched.size:,} bytes needs"
        return _say(f"{watched.path}: loading it took over {exceeded}: {needs}", hint, EXIT_UNUSABLE)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code in _FORWARDED:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if -code == signal.SIGKILL:
        about = f"{watched.path}: loading it" if watched else "the process"
        return _say(f"{about} was killed", "the system may have run out of memory", EXIT_UNUSABLE)
    if watched:
        hint = "the file is damaged, or holds what onnx or onnxruntime cannot stand"
        return _say(f"{watched.path}: loading it crashed ({name})", hint, EXIT_UNUSABLE)
    return _say(f"internal fault: the process crashed ({name})", "report it, with the command", EXIT_FAULT)


def _say(message: str, hint: str, code: int) -> int:
    clear = "\r\x1b[2K" if sys.stderr is not None and sys.stderr.isatty() else ""  # a bar of progress may stand there
    with suppress(OSError, ValueError):
        os.write(2, f"{clear}error: {' '.join(message.split())}\n  hint: {hint}\n".encode())
    return code
