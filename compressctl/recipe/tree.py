"""The content of a recipe file as a tree of mappings, lists and scalars, and the paths to what stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def children(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield the keys or indices of a mapping or list, each with what stands there; nothing for a scalar."""
    if isinstance(value, dict):
        yield from ((key if isinstance(key, int) else str(key), item) for key, item in value.items())
    elif isinstance(value, list):
        yield from enumerate(value)


def joined(path: str, part: str | int) -> str:
    """Return `path` with one more key or index, as errors name it: passes[1].epochs."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part
