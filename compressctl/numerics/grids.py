"""Few integers for weights. Cheap to import: no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2


@dataclass(frozen=True)
class Grid:
    """The integers that weights are rounded to: all from `low` to `high`, or, where `signs`, -1 and 1 alone."""

    low: int
    high: int
    signs: bool = False

    @property
    def narrow(self) -> bool:
        """Whether integers must be clipped: QuantizeLinear saturates int8 by itself."""
        return self.high < 127

    @property
    def lopsided(self) -> bool:
        """Whether they are all of fewer than 8 bits: with one more below 0 than above it, which offsets put to use."""
        return self.narrow and self.low < -self.high

    @property
    def bits(self) -> float:
        """Bits that tell the integers apart."""
        return 1.0 if self.signs else log2(self.high - self.low + 1)


INT8 = Grid(-128, 127)
REDUCED = Grid(-64, 64)  # 8-bit integers that cannot saturate on x86 without VNNI, see `numerics.saturation`
INT4, INT3, INT2 = Grid(-8, 7), Grid(-4, 3), Grid(-2, 1)
TERNARY = Grid(-1, 1)
BINARY = Grid(-1, 1, signs=True)
