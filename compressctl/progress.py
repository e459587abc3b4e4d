"""The one way in which long work reports its progress; the command line decides how it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
Description = str | Callable[[], str]
"""What work is called; a function is asked again after every item."""


class Progress(Protocol):
    """Something that can show that work goes on (stderr bars, log lines, or nothing)."""

    def track(self, items: Iterable[T], description: Description, total: int | None = None) -> Iterator[T]:
        """Yield `items` unchanged while showing how many of `total` were taken."""
        ...

    def step(self, description: str) -> None:
        """Say in a few words what happens next."""
        ...


class Silent:
    """A Progress that shows nothing."""

    def track(self, items: Iterable[T], description: Description, total: int | None = None) -> Iterator[T]:
        """Yield `items` unchanged."""
        yield from items

    def step(self, description: str) -> None:
        """Say nothing."""
