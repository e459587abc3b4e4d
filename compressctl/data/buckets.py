"""An order of samples in which those of like length stand together, so that batches hold little padding."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Integers

_TOGETHER = 512  # samples that are put in order at a time: the first of a source are no others than before


def by_length(lengths: Integers) -> Integers:
    """Return the order of samples of these lengths, [N]: the same whatever the batches are.

    Of each 512 the order is a loop: from the middle length to the longest, down to the shortest, and back to the
    middle. So neighbours are alike everywhere, batches of any size may cross from one loop to the next, and what is
    timed on the first batch has a usual length.
    """
    loops = [start + _loop(lengths[start : start + _TOGETHER]) for start in range(0, len(lengths), _TOGETHER)]
    return np.concatenate(loops) if loops else np.zeros(0, np.int64)


def _loop(lengths: Integers) -> Integers:
    ranked = np.argsort(lengths, kind="stable")
    upper, lower = ranked[len(ranked) // 2 :], ranked[: len(ranked) // 2][::-1]
    return np.concatenate([upper[0::2], upper[1::2][::-1], lower[0::2], lower[1::2][::-1]])
