"""What a constant is like: how many of its elements are zero and where, and which different values it has.

A zero is an element without any bit set: -0.0 is a value like others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compressctl.arrays import Array, Mask
from compressctl.numerics.delta_index import Deltas, deltas_of
from compressctl.numerics.distinct import MOST, Distinct, distinct
from compressctl.numerics.parallel import by_rows
from compressctl.storage.codes import Packed
from compressctl.storage.floats import narrowest
from compressctl.storage.positions import Values

_WIDTHS = (2, 4, 8)  # of vectors
_FEW_ZEROS = 1 / 64  # where fewer are zero, no form that leaves them out is smaller
_MOST_ELEMENTS = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Survey:
    """What decides how a constant can be stored.

    Attributes:
        array: the constant.
        zeros: how many elements are zero.
        narrow: the smallest type that holds all elements.
        deltas: the distances between elements other than zero; None where hardly any or all are zero.
        values: the different values among the elements other than zero where there are deltas, else among all.
        vectors: different runs of 2, 4 or 8 elements.
    """

    array: Array
    zeros: int
    narrow: np.dtype[Any]
    deltas: Deltas | None
    values: Distinct | None
    vectors: tuple[Distinct, ...]

    @property
    def mask(self) -> Mask:
        """Which elements are not zero, [elements]."""
        mask: Mask = bits_of(self.array) != 0
        return mask

    @property
    def distinct(self) -> Distinct | None:
        """The different values among all elements."""
        if self.values is None or self.deltas is None:
            return self.values
        if len(self.values.values) == MOST:
            return None
        codes = np.zeros(self.array.size, np.uint8)
        codes[self.mask] = self.values.codes + 1
        return Distinct(_after_zero(self.values.values), codes)

    def nonzeros(self, *, coded: bool, blank: bool, count: int, real: Mask | None = None) -> Values | None:
        """Return the values other than zero as they are stored; None where too many differ.

        Args:
            coded: as codes of a codebook.
            blank: of the right sizes, but without the values.
            count: how many are stored; beyond those that are not zero, fillers.
            real: [count], which are no fillers; None where all are.
        """
        assert self.deltas is not None
        filled, dtype = count > len(self.deltas), self.array.dtype
        if not coded:
            if blank:
                return Values(dtype, count, plain=np.broadcast_to(np.zeros((), self.narrow), count))
            found = self.array.reshape(-1)[self.mask].astype(self.narrow)
            return Values(dtype, count, plain=_spread(found, real, count))
        if self.values is None or (filled and len(self.values.values) == MOST):
            return None
        table = _after_zero(self.values.values) if filled else self.values.values
        if len(table) == 1:
            return Values(dtype, count, table=table)
        if blank:
            return Values(dtype, count, table=table, codes=Packed.blank(count, len(table)))
        codes = _spread(self.values.codes + np.uint8(filled), real, count)
        return Values(dtype, count, table=table, codes=Packed.of(codes, len(table)))


def survey(array: Array) -> Survey:
    """Look at a contiguous array of at least one element, of numbers of 1 to 8 bytes, none of them NaN."""
    flat, bits = array.reshape(-1), bits_of(array)
    zeros = flat.size - int(np.count_nonzero(bits))
    sparse = _FEW_ZEROS * flat.size <= zeros < flat.size <= _MOST_ELEMENTS
    runs = (_few(flat.reshape(-1, width)) for width in _WIDTHS if flat.size % width == 0 and zeros < flat.size)
    return Survey(
        array=array,
        zeros=zeros,
        narrow=narrowest(flat),
        deltas=deltas_of(flat) if sparse else None,
        values=_few(flat[bits != 0] if sparse else flat),
        vectors=tuple(found for found in runs if found is not None),
    )


def has_nan(array: Array) -> bool:
    """Return whether a contiguous array holds NaN."""
    flat = array.reshape(-1)
    return array.dtype.kind == "f" and any(by_rows(lambda piece: bool(np.isnan(flat[piece]).any()), flat.size, 1))


def bits_of(array: Array) -> Array:
    """Return the bits of each element as an integer, [elements]."""
    return array.reshape(-1).view(np.dtype(f"u{array.itemsize}"))


def _few(array: Array) -> Distinct | None:
    """Return the different rows of an array where each occurs at least twice, on average."""
    found = distinct(array)
    return found if found is not None and 2 * len(found.values) <= len(array) else None


def _after_zero(values: Array) -> Array:
    return np.concatenate([np.zeros(1, values.dtype), values])


def _spread(stored: Array, real: Mask | None, count: int) -> Array:
    """Put zeros between the values where `real` has fillers."""
    if real is None:
        return stored
    spread = np.zeros(count, stored.dtype)
    spread[real] = stored
    return spread
