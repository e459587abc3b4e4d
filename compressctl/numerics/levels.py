"""Rows of weights on few evenly spaced values: each row, or group of weights, has its own scale, and maybe an offset.

A weight is (low + step * code) * scale + offset with a code in [0, count). Scales and offsets are rounded to 16 bits
first and codes chosen after that, so that storing them in 16 bits costs next to nothing.

Source: least squares by Lloyd's alternation (1982) between the codes and the line through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Bytes, Floats, Floats32
from compressctl.errors import ModelError
from compressctl.numerics.grids import BINARY, Grid
from compressctl.numerics.parallel import by_rows
from compressctl.numerics.rounding import weight_qparams

_SPANS = ((0.9, 0.5), (0.8, 0.5), (0.8, 0.0), (0.8, 1.0), (0.65, 0.5), (0.65, 0.0), (0.65, 1.0), (0.5, 0.5))
"""Spans to start from, besides a row's whole range: the share of it, and which share of the rest lies below."""
_REFINEMENTS = 6
_TINY = np.finfo(np.float32).tiny
_HALF = np.finfo(np.float16)
_FAR = 64  # steps; 16 bits hold an offset that is no larger to 1/32 of a step


_Line = tuple[Floats32, Floats32]


@dataclass(frozen=True, eq=False)
class Levels:
    """The values that each row may take.

    Attributes:
        grid: the integers; with offsets the codes count from 0 instead.
        scale: float16 or float32, [rows].
        offset: as `scale`, or None.
    """

    grid: Grid
    scale: Array
    offset: Array | None = None

    @property
    def count(self) -> int:
        """Codes lie in [0, count)."""
        return 2 if self.grid.signs else self.grid.high - self.grid.low + 1

    @property
    def low(self) -> int:
        """The integer of code 0."""
        return 0 if self.offset is not None else self.grid.low

    @property
    def step(self) -> int:
        """Between the integers of neighbouring codes."""
        return 2 if self.grid.signs else 1

    def codes(self, rows: Array) -> Bytes:
        """Return the codes of the nearest values to `rows` [rows, columns]."""
        codes = np.empty(rows.shape, np.uint8)

        def compute(piece: slice) -> None:
            if self.grid.signs:
                codes[piece] = rows[piece] >= 0
                return
            scale = self.scale[piece, None].astype(np.float32)
            shifted = rows[piece] if self.offset is None else rows[piece] - self.offset[piece, None].astype(np.float32)
            with np.errstate(over="ignore"):  # an infinite quotient saturates like any large one
                integers = np.rint(shifted / scale)
            np.clip(integers, self.low, self.low + self.count - 1, out=integers)
            codes[piece] = integers - self.low

        by_rows(compute, *rows.shape)
        return codes

    def values(self, codes: Bytes) -> Floats32:
        """Return the weights that codes [rows, columns] stand for, in the arithmetic of the stored form."""
        values = codes.astype(np.float32)
        values *= self.step
        values += self.low
        values *= self.scale[:, None].astype(np.float32)
        if self.offset is not None:
            values += self.offset[:, None].astype(np.float32)
        return values


def fit_levels(rows: Array, grid: Grid, *, offset: bool = False, name: str = "weight") -> Levels:
    """Return the levels of least squared error for each row, as far as a search with refinement finds them.

    Without offsets these are the scales of `rounding.weight_qparams`.

    Args:
        rows: [rows, columns].
        grid: the integers; with offsets only their number counts.
        offset: whether rows get one; not on BINARY.
        name: the tensor, for the error message.

    Raises:
        ModelError: `rows` holds NaN or infinity.
    """
    if not offset:
        return as_halves(Levels(grid, weight_qparams(rows, 0, grid, name=name).scale))
    count = grid.high - grid.low + 1
    scales, offsets = zip(*by_rows(lambda piece: _line(rows[piece], count, name), *rows.shape), strict=True)
    return as_halves(Levels(grid, np.concatenate(scales), np.concatenate(offsets)))


def covering(rows: Array, count: int, name: str = "weight") -> tuple[Floats32, Floats32]:
    """Return the scales and offsets at which `count` levels reach from the smallest to the largest of each row.

    Raises:
        ModelError: `rows` holds NaN or infinity.
    """
    low, high = rows.min(axis=1).astype(np.float32), rows.max(axis=1).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    if not np.isfinite(span).all():
        raise ModelError(f"{name} holds NaN, infinite or huge values", "such a tensor cannot be quantized")
    flat = np.where(low == 0, np.float32(1), np.abs(low))  # of a constant row: any scale will do
    return np.maximum(np.where(span > 0, span / np.float32(count - 1), flat), _TINY), low


def as_halves(levels: Levels) -> Levels:
    """Return the levels with scales and offsets as float16, or as they are where those lose what matters."""
    scale, offset = levels.scale, levels.offset
    live = scale[scale > _TINY]
    fits = live.size == 0 or (live.min() >= _HALF.tiny and live.max() <= _HALF.max)
    if levels.grid != BINARY:
        fits = fits and live.size == scale.size  # a scale of zero has no quotient
    if offset is not None:
        fits = fits and bool((np.abs(offset) <= np.minimum(_FAR * scale, _HALF.max)).all())
    if not fits:
        return levels
    return Levels(levels.grid, scale.astype(np.float16), None if offset is None else offset.astype(np.float16))


def _line(rows: Array, count: int, name: str) -> _Line:
    """Return scale and offset of each row."""
    full, low = covering(rows, count, name)
    best, shift = full.copy(), low.copy()
    least = _error(rows, best, shift, count)[0]
    for share, below in _SPANS:
        scale = np.maximum(full * np.float32(share), _TINY)
        offset = low + (full - scale) * np.float32((count - 1) * below)
        error = _error(rows, scale, offset, count)[0]
        better = error < least
        best[better], shift[better], least[better] = scale[better], offset[better], error[better]
    codes = _error(rows, best, shift, count)[1]
    for _ in range(_REFINEMENTS):
        scale, offset = _regression(codes, rows, best, shift)
        error, tried = _error(rows, scale, offset, count)
        better = error < least
        if not better.any():
            break
        best[better], shift[better], least[better] = scale[better], offset[better], error[better]
        codes[better] = tried[better]
    return best, shift


def _error(rows: Array, scale: Floats32, offset: Floats32, count: int) -> tuple[Floats, Floats32]:
    codes = rows - offset[:, None]
    codes /= scale[:, None]
    np.rint(codes, out=codes)
    np.clip(codes, 0, count - 1, out=codes)
    error = codes * scale[:, None]
    error += offset[:, None]
    error -= rows
    return np.einsum("cn,cn->c", error, error, dtype=np.float64), codes


def _regression(codes: Floats32, rows: Array, scale: Array, offset: Array) -> _Line:
    """Return the line of least squares through (code, weight) of each row; the given one where there is none."""
    mean, centre = codes.mean(axis=1, dtype=np.float64), rows.mean(axis=1, dtype=np.float64)
    spread = np.einsum("cn,cn->c", codes, codes, dtype=np.float64) - codes.shape[1] * mean**2
    common = np.einsum("cn,cn->c", codes, rows, dtype=np.float64) - codes.shape[1] * mean * centre
    known = (spread > 0) & (common > 0)
    slope = np.maximum(np.divide(common, spread, out=scale.astype(np.float64), where=known), _TINY)
    return slope.astype(np.float32), np.where(known, centre - slope * mean, offset).astype(np.float32)
