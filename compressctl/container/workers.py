"""Work on chunks in threads, in order, a few ahead of where the results are used, so that few are in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from compressctl.numerics.parallel import usable_cores

_I = TypeVar("_I")
_T = TypeVar("_T")


def in_order(work: Callable[[_I], _T], items: Iterable[_I], threads: int) -> Iterator[_T]:
    """Yield work(item) for each item, computed by `threads` threads; 0: one for each core of the process."""
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
