"""Numbers of threads, bounded by the machine: a thousand of them stall it, and gain nothing."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, Field

_A_CORE, _LEAST = 4, 16  # so that a recipe from a larger machine still runs here


def most_threads() -> int:
    """Return how many threads may be asked for on this machine."""
    return max(_LEAST, _A_CORE * (os.cpu_count() or 1))


def _bounded(threads: int) -> int:
    if threads > (most := most_threads()):
        raise ValueError(f"at most {most} on this machine")
    return threads


Threads = Annotated[int, Field(ge=0), AfterValidator(_bounded)]
