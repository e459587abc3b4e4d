"""Which nodes the options include and exclude choose, by globs of names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Protocol

import onnx_ir as ir

from compressctl.errors import UsageError


class Choice(Protocol):
    """Options with include and exclude."""

    @property
    def include(self) -> tuple[str, ...]:
        """Globs of which a name must match one, where there are any."""
        ...

    @property
    def exclude(self) -> tuple[str, ...]:
        """Globs of which a name must match none."""
        ...


def check_globs(graph: ir.Graph, choice: Choice) -> None:
    """Refuse globs that match no node of `graph`: they are typing errors.

    Raises:
        UsageError: names the first.
    """
    names = [node.name or "" for node in graph]
    for key, globs in (("include", choice.include), ("exclude", choice.exclude)):
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                raise UsageError(f"{key} {glob!r} matches no node", "list the names with `compressctl inspect`")


def chosen(choice: Choice, names: Sequence[str]) -> bool:
    """Return whether what the nodes of these names share may be changed: one is included, none is excluded."""
    included = not choice.include or any(fnmatchcase(name, glob) for name in names for glob in choice.include)
    return included and not any(fnmatchcase(name, glob) for name in names for glob in choice.exclude)
