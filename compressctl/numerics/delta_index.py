"""Where the elements of a sparse array are, as distances from one to the next (relative indices).

Source: Deep Compression, Han et al. 2016 (arXiv:1510.00149), section 2. A distance that does not fit the bits is
bridged by fillers: elements that are zero, and stored all the same.
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Bytes, Integers32, Mask

_ELEMENTS = 1 << 22

Deltas = Integers32


def deltas_of(array: Array) -> Deltas:
    """Return the distances between elements with any bit set, [n]: the first from the start, so that sums are places.

    Args:
        array: [elements], fewer than 2^31.
    """
    bits, last, parts = array.view(np.dtype(f"u{array.itemsize}")), 0, [np.empty(0, np.int32)]
    for start in range(0, bits.size, _ELEMENTS):
        places = np.flatnonzero(bits[start : start + _ELEMENTS]) + start
        if places.size:
            parts.append(np.diff(places, prepend=last).astype(np.int32))
            last = int(places[-1])
    return np.concatenate(parts)


def fillers(deltas: Deltas, bits: int) -> int:
    """Return how many fillers deltas of `bits` bits need."""
    return int(_fillers(deltas, bits).sum(dtype=np.int64))


def split(deltas: Deltas, bits: int) -> tuple[Bytes, Mask]:
    """Return deltas that fit 1 to 8 bits, [n + fillers], and which lead to an element rather than to a filler."""
    ends = np.cumsum(_fillers(deltas, bits) + 1) - 1
    most = (1 << bits) - 1
    short = np.full(ends[-1] + 1 if ends.size else 0, most, np.uint8)
    short[ends] = deltas - _fillers(deltas, bits) * most
    real = np.zeros(short.size, np.bool_)
    real[ends] = True
    return short, real


def _fillers(deltas: Deltas, bits: int) -> Deltas:
    """Return how many fillers stand before each element; the last step to it is at least 1 unless the gap is 0."""
    count: Deltas = np.maximum(deltas - 1, 0) // ((1 << bits) - 1)
    return count
