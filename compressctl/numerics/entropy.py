"""The entropy of bytes, taken one by one: the bound of a coder with one model for all of them."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Bytes, Integers

Counts = Integers

_AT_ONCE = 1 << 20  # bytes; bincount makes 8-byte integers of them


def histogram(data: Bytes) -> Counts:
    """Return how often each byte occurs in flat `data`, [256]."""
    counts = np.zeros(256, np.int64)
    for start in range(0, data.size, _AT_ONCE):
        counts += np.bincount(data[start : start + _AT_ONCE], minlength=256)
    return counts


def entropy_bits(counts: Array) -> float:
    """Return the empirical entropy of order 0 in bits, of all symbols together: sum of n_i log2(n / n_i).

    Source: Shannon 1948, "A Mathematical Theory of Communication", section 6, with frequencies as probabilities.
    """
    present = np.asarray(counts, np.float64)[np.asarray(counts) > 0]
    return float((present * np.log2(present.sum() / present)).sum()) if present.size > 1 else 0.0
