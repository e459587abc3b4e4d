"""Small integers, several in a byte, and the tables that take them apart again.

A byte of base b holds the digits d_0 + d_1 b + d_2 b² + …: eight of base 2, five of base 3, four of base 4, two of base
16. Integers of other sizes are sums of such digits: 3 bits are 2 bits and 1 bit. What a byte means is read in a table
of all bytes, so that unpacking is one Gather (see `storage.codes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Bytes, Integers

MOST = 256
"""How many different values integers may have."""


@dataclass(frozen=True)
class Plane:
    """Digits that share their bytes.

    Attributes:
        base: of the digits.
        digits: how many a byte holds, the lowest first.
        unit: what a digit of 1 counts in the integer.
    """

    base: int
    digits: int
    unit: int = 1

    @property
    def table(self) -> Integers:
        """[bytes, digits]: the digits that each byte holds."""
        values = np.arange(self.base**self.digits)[:, None]
        table: Integers = values // self.base ** np.arange(self.digits) % self.base
        return table

    def bytes(self, count: int) -> int:
        """Return how many bytes `count` digits take."""
        return -(-count // self.digits)


def planes(levels: int) -> tuple[Plane, ...]:
    """Return the planes in which integers in [0, levels) take the fewest bytes.

    Raises:
        ValueError: not 2 to 256 levels.
    """
    if not 2 <= levels <= MOST:
        raise ValueError(f"integers of {levels} levels cannot be packed, only of 2 to {MOST}")
    digits = 1
    while levels ** (digits + 1) <= MOST:
        digits += 1
    alone = (Plane(levels if digits > 1 else MOST, digits),)
    bits = (levels - 1).bit_length()
    split, unit = [], 1
    for width in (1, 2, 4, 8):
        if bits & width:
            split.append(Plane(2**width, 8 // width, unit))
            unit *= 2**width
    return tuple(split) if bits * digits < 8 else alone


def packed_bytes(count: int, levels: int) -> int:
    """Return how many bytes `count` integers in [0, levels) take; none where there is one level."""
    return sum(plane.bytes(count) for plane in planes(levels)) if levels > 1 else 0


def pack(codes: Array, levels: int) -> list[Bytes]:
    """Return the bytes of each plane of `planes(levels)`; the last byte is filled up with zeros.

    Args:
        codes: integers in [0, levels), of any shape; they are packed in row-major order.
        levels: 2 to 256.

    Raises:
        ValueError: not 2 to 256 levels, or a code beyond them.
    """
    flat = np.ascontiguousarray(codes).reshape(-1)
    if flat.size and not 0 <= int(flat.min()) <= int(flat.max()) < levels:
        raise ValueError(f"codes lie in [{flat.min()}, {flat.max()}], beyond {levels} levels")
    flat = flat.astype(np.uint8, copy=False)
    packed = []
    for plane in planes(levels):
        digits = flat if plane.unit == 1 else flat // np.uint8(plane.unit)
        if plane.unit * plane.base < levels:
            digits = digits % np.uint8(plane.base)
        byte = np.zeros(plane.bytes(flat.size), np.uint8)
        for index in range(plane.digits):
            these = digits[index :: plane.digits]
            byte[: these.size] += these * np.uint8(plane.base**index) if index else these
        packed.append(byte)
    return packed
