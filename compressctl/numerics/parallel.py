"""Work on the rows of a matrix in threads, a piece that fits the processor's cache at a time.

numpy lets other threads run while it computes. Pieces depend on the matrix alone, so results do not depend on the
number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_ELEMENTS = 1 << 18

_T = TypeVar("_T")


def by_rows(compute: Callable[[slice], _T], rows: int, width: int) -> list[_T]:
    """Return what `compute` gives for consecutive pieces of the rows, in order; all cores of the process take part.

    Args:
        compute: takes the rows of a piece; must write to no memory that other pieces touch.
        rows: how many there are; one piece at least.
        width: elements of a row.
    """
    size = max(1, _ELEMENTS // max(width, 1))
    pieces = [slice(start, min(start + size, rows)) for start in range(0, max(rows, 1), size)]
    if len(pieces) == 1:
        return [compute(pieces[0])]
    with ThreadPoolExecutor(min(usable_cores(), len(pieces))) as pool:
        return list(pool.map(compute, pieces))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
