"""Work in threads: on the rows of a matrix, a piece that fits the processor's cache at a time, or item by item.

numpy lets other threads run while it computes. Pieces depend on the matrix alone, so results do not depend on the
number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_ELEMENTS = 1 << 18

_I = TypeVar("_I")
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
    return in_threads(compute, pieces)


def in_threads(work: Callable[[_I], _T], items: Sequence[_I]) -> list[_T]:
    """Return work(item) for each item, in order; all cores of the process take part."""
    if len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(usable_cores(), len(items))) as pool:
        return list(pool.map(work, items))


def by_parts(compute: Callable[[tuple[slice, ...]], object], shape: tuple[int, ...]) -> None:
    """Call `compute` for each part of an array that fits the processor's cache; all cores of the process take part.

    Args:
        compute: takes the slices of a part; must write to no memory that other parts touch.
        shape: of the array, two axes or three; it is cut along all axes but the last.
    """
    *outer, rows, columns = shape
    high = max(1, min(rows, _ELEMENTS // max(columns, 1)))
    along = [slice(start, start + high) for start in range(0, rows, high)]
    if not outer:
        parts: list[tuple[slice, ...]] = [(one,) for one in along]
    else:
        deep = max(1, _ELEMENTS // max(high * columns, 1))
        parts = [(slice(start, start + deep), one) for start in range(0, outer[0], deep) for one in along]
    in_threads(compute, parts)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[_I], _T], items: Iterable[_I], threads: int) -> Iterator[_T]:
    """Yield work(item) for each item, computed by `threads` threads; 0: one for each core of the process.

    Work begins a few items ahead of where results are used, so that few are in memory.
    """
    count = threads or usable_cores()
    left = iter(items)
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[_T]] = deque(pool.submit(work, item) for item in islice(left, count + 1))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(left, 1))
        finally:
            pool.shutdown(cancel_futures=True)
