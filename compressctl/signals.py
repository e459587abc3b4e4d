"""Signals that end a run: Ctrl-C, SIGTERM (`timeout`, a container or CI job that is stopped), SIGHUP (a lost terminal).

The first one raises KeyboardInterrupt in the main thread, so that every block cleans up after itself; those that follow
are ignored. Python raises it between two steps of the interpreter. Where native code does not come back to that, a
thread ends the process: files are written so that this may happen at any moment.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from compressctl.errors import EXIT_INTERRUPTED
from compressctl.scratch import remove_all, sweep

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_GRACE = 3.0  # seconds; a container is killed after 10, a step of GitHub's CI after 7.5
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

_received: int | None = None  # number of the first signal
_ended = False
_told = threading.Lock()


def handle(*, silent: bool = False) -> None:
    """Let signals end this process as the module says; a signal that the parent has it ignore (nohup) stays ignored.

    Args:
        silent: the process that started this one says why it ends.
    """
    if os.name == "nt":
        return
    if silent:
        _told.acquire()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)  # written to at once, whatever the main thread does
    numbers = [signal.Signals[name] for name in _NAMES if signal.getsignal(signal.Signals[name]) is not signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, _interrupt)
    with suppress(RuntimeError):  # no thread is to be had: native code ends a little later
        threading.Thread(target=_watch, args=(reading, numbers), name="signals", daemon=True).start()


def tell() -> int:
    """Say on stderr, once, which signal ends the process; return the exit code."""
    number = _received or signal.SIGINT
    if _received is None or _told.acquire(blocking=False):
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        with suppress(OSError, ValueError):  # a lost terminal
            print(f"error: interrupted{by}", file=sys.stderr, flush=True)
    return EXIT_INTERRUPTED - signal.SIGINT + number


def end(code: int) -> NoReturn:
    """Exit with `code`: signals are ignored from now on, and what is temporary goes."""
    global _ended
    _ended = True
    remove_all()
    if _received is not None:
        _exit(code)  # threads that still work are not waited for
    sys.exit(code)


def _interrupt(number: int, _: FrameType | None) -> None:
    global _received
    if _received is None and not _ended:
        _received = number
        raise KeyboardInterrupt


def _watch(reading: int, numbers: list[signal.Signals]) -> None:
    """Wait for a signal; end the process where it has not ended by itself some time after it."""
    global _received
    while (number := os.read(reading, 1)[0]) not in numbers:
        continue
    if _ended:
        return
    for helper in _helpers():
        helper.terminate()
    time.sleep(_GRACE)
    _received = _received or number
    for helper in _helpers():
        helper.kill()
        helper.join()
    remove_all()
    sweep(Path(tempfile.gettempdir()))  # what the helpers left
    _exit(tell())


def _helpers() -> list[BaseProcess]:
    if "multiprocessing.process" not in sys.modules:
        return []
    from multiprocessing import active_children  # not at the start, which is to be fast

    return active_children()


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
