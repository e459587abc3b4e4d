"""How the names of `.ccz` files end, and how they are recognised whatever their names."""

from __future__ import annotations

from pathlib import Path

MAGIC = b"\x89CCZ"
PACKED = ".ccz"
"""How the names of new packed files end."""


def is_packed(path: Path) -> bool:
    """Return whether an existing file begins as a .ccz file does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
