"""Short headers, bit by bit: numbers in Elias's gamma code, and rows of small numbers that resemble their neighbours.

Sources: Elias 1975, "Universal codeword sets and representations of the integers". Bits fill bytes from the highest.
"""

from __future__ import annotations

from collections.abc import Sequence

_SYMBOLS = 256  # of a table


class BitWriter:
    """Collects bits."""

    def __init__(self) -> None:
        self._digits: list[str] = []

    def put(self, value: int, bits: int) -> None:
        """Append the lowest `bits` bits of `value`, the highest first."""
        if bits:
            self._digits.append(f"{value & ((1 << bits) - 1):0{bits}b}")

    def gamma(self, value: int) -> None:
        """Append an integer >= 1: as many zeros as it has digits after the first, then its digits."""
        self.put(value, 2 * value.bit_length() - 1)

    def to_bytes(self) -> bytes:
        """Return what was appended, filled up with zeros to a whole byte."""
        digits = "".join(self._digits)
        size = -(-len(digits) // 8)
        return int(digits.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


class BitReader:
    """Takes bits from the start of `data`.

    Raises:
        ValueError: by all methods, where the data end too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def get(self, bits: int) -> int:
        """Return the next `bits` bits as an integer."""
        first, self._at = self._at, self._at + bits
        if self._at > 8 * len(self._data):
            raise ValueError("a table of symbols ends too early")
        held = int.from_bytes(self._data[first // 8 : -(-self._at // 8)], "big")
        return held >> (-self._at % 8) & ((1 << bits) - 1)

    def gamma(self) -> int:
        """Return the next integer in gamma code."""
        zeros = 0
        while not self.get(1):
            zeros += 1
        return 1 << zeros | self.get(zeros)

    @property
    def bytes_read(self) -> int:
        """Bytes that have been begun."""
        return -(-self._at // 8)


def put_levels(writer: BitWriter, levels: Sequence[int]) -> None:
    """Append small integers >= 0, 256 of them: runs of zeros by their length, others by the step from the last one."""
    last, index = 0, 0
    while index < len(levels):
        level = levels[index]
        run = 1
        if level:
            step = level - last
            writer.gamma(1 + (2 * step if step >= 0 else -2 * step - 1) + 1)
            last = level
        else:
            while index + run < len(levels) and not levels[index + run]:
                run += 1
            writer.gamma(1)
            writer.gamma(run)
        index += run


def get_levels(reader: BitReader) -> list[int]:
    """Return what `put_levels` appended.

    Raises:
        ValueError: more than 256 numbers, or one below 1 that is not part of a run of zeros.
    """
    levels: list[int] = []
    last = 0
    while len(levels) < _SYMBOLS:
        code = reader.gamma()
        if code == 1:
            run = reader.gamma()
            if run > _SYMBOLS - len(levels):
                raise ValueError("a table of symbols is too long")
            levels.extend([0] * run)
            continue
        folded = code - 2
        last += folded // 2 if folded % 2 == 0 else -(folded + 1) // 2
        if last < 1:
            raise ValueError("a table of symbols holds a number below 1")
        levels.append(last)
    return levels
