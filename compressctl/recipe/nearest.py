"""What the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(given: str, known: Sequence[str]) -> str | None:
    """Return a hint that names the known name closest to what was given, or None where none is close."""
    close = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {close[0]!r}?" if close else None
