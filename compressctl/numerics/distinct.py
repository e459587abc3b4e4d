"""Few different values among many elements: which they are, and which of them each element is.

Elements are compared bit for bit, so that -0.0 is not 0.0. Where there are many different ones, a sample tells soon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Bytes
from compressctl.numerics.parallel import by_rows

MOST = 256
_SAMPLE = 1 << 14
_MULTIPLIERS = np.random.default_rng(0).integers(1 << 63, size=(64, 2), dtype=np.uint64) | np.uint64(1)


@dataclass(frozen=True, eq=False)
class Distinct:
    """Different rows, and which of them each row is.

    Attributes:
        values: [k] or [k, width], of the type that was asked about, in the order of their bits where single.
        codes: [rows]: index into `values`.
    """

    values: Array
    codes: Bytes


def distinct(array: Array) -> Distinct | None:
    """Return the different elements of an array [n], or the different rows of one [n, width]; None beyond 256 of them.

    Args:
        array: contiguous, of numbers of 1, 2, 4 or 8 bytes; n > 0; at most 64 elements a row.
    """
    bits = array.view(np.dtype(f"u{array.itemsize}"))
    width = 1 if bits.ndim == 1 else bits.shape[1]
    table = np.unique(_keys(bits[:: -(-len(bits) // _SAMPLE)]))
    if len(table) > MOST:
        return None
    unknown = by_rows(lambda piece: _others(_keys(bits[piece]), table), len(bits), width)
    for others in unknown:
        table = np.union1d(table, others)
        if len(table) > MOST:
            return None
    codes = np.empty(len(bits), np.uint8)

    def look_up(piece: slice) -> None:
        codes[piece] = np.searchsorted(table, _keys(bits[piece]))

    by_rows(look_up, len(bits), width)
    places = np.empty(len(table), np.int64)
    places[codes] = np.arange(len(codes))
    values = array[places]
    if width > 1:  # keys of different rows may agree, if hardly ever
        known = values.view(bits.dtype)
        if not all(by_rows(lambda piece: bool((known[codes[piece]] == bits[piece]).all()), len(bits), width)):
            return None
    return Distinct(values, codes)


def _others(keys: Array, table: Array) -> Array:
    """Return the different keys that the sorted table lacks; more than 256 may be cut off."""
    places = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    missing = keys[table[places] != keys]
    return np.unique(missing)[: MOST + 1] if missing.size else missing


def _keys(bits: Array) -> Array:
    """Return a number for each row: equal rows have equal ones, and different rows different ones, almost surely."""
    if bits.ndim == 1:
        return bits
    keys = np.zeros(len(bits), np.uint64)
    for column, (multiplier, other) in zip(bits.T, _MULTIPLIERS, strict=False):
        mixed = (column.astype(np.uint64) + other) * multiplier
        keys = (keys ^ mixed ^ mixed >> np.uint64(29)) * other
    return keys
