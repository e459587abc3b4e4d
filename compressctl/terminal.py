"""Progress on stderr: a bar that appears after a second on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from compressctl.plain import plain
from compressctl.progress import Description, Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

T = TypeVar("T")
_DELAY = 1.0  # seconds before a bar shows


@contextmanager
def terminal_progress(quiet: bool) -> Iterator[Progress]:
    """Give the Progress that suits stderr; bars are gone when the block ends."""
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich import console, progress

        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, console=console.Console(stderr=True), transient=True) as bars:
            yield _OnTerminal(bars)


class _Lines:
    """One line a step, for logs."""

    def track(self, items: Iterable[T], description: Description, total: int | None = None) -> Iterator[T]:
        yield from items

    def step(self, description: str) -> None:
        with suppress(OSError):  # nobody reads on (`2>&1 | head`), which is no reason to stop the work
            print(plain(f"compressctl: {description}"), file=sys.stderr)


class _OnTerminal:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def track(self, items: Iterable[T], description: Description, total: int | None = None) -> Iterator[T]:
        task = self._bars.add_task(_words(description), total=total, visible=False)
        begun = time.monotonic()
        try:
            for item in items:
                yield item
                shown = time.monotonic() - begun > _DELAY
                self._bars.update(task, advance=1, visible=shown, description=_words(description))
        finally:
            self._bars.remove_task(task)

    def step(self, description: str) -> None:
        self._bars.console.print(plain(f"compressctl: {description}"), highlight=False, markup=False)


def _words(description: Description) -> str:
    return plain(description if isinstance(description, str) else description())
