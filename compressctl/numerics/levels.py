"""Rows of weights on few evenly spaced values: each row, or group of weights, has its own scale, and maybe an offset.

A weight is (low + step * code) * scale + offset with a code in [0, count). Scales and offsets are rounded to 16 bits
first and codes chosen after that, so that storing them in 16 bits costs next to nothing.

Source: least squares by Lloyd's alternation (1982) between the codes and the line through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Bytes, Floats32, Mask
from compressctl.errors import ModelError
from compressctl.numerics.grids import BINARY, Grid
from compressctl.numerics.parallel import by_parts
from compressctl.numerics.rounding import weight_qparams

_SPANS = ((1.0, 0.5), (0.9, 0.5), (0.8, 0.5), (0.8, 0.0), (0.8, 1.0), (0.65, 0.5), (0.65, 0.0), (0.65, 1.0), (0.5, 0.5))
"""Spans to start from: the share of a row's whole range, and which share of the rest lies below. Where levels are many,
the first three do: no more of one end is cut than of the other."""
_MANY, _CENTRED = 16, 3
_STRIDES = (4.0, 2.0, 1.0)  # how far to go from the best line so far, as shares of a step of Lloyd's alternation
_LEAST = np.float32(0.25)  # of the best scale, that is probed
_EXACT = 1 << 20  # sums of this many squares are reckoned in float32: of integers exactly, with room for their products
_TINY = np.finfo(np.float32).tiny
_HALF = np.finfo(np.float16)
_FAR = 64  # steps; 16 bits hold an offset that is no larger to 1/32 of a step


_Line = tuple[Floats32, Floats32]
_Part = tuple[slice, ...]


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
        """Return the codes of the nearest values to `rows` [rows, columns] or [blocks, rows, columns]."""
        codes = np.empty_like(rows, np.uint8)  # its elements lie in memory as those of the rows do

        def of_rows(array: Array, part: _Part) -> Floats32:
            return array.reshape(rows.shape[:-1])[part][..., None].astype(np.float32)

        def compute(part: _Part) -> None:
            if self.grid.signs:
                codes[part] = rows[part] >= 0
                return
            shifted = rows[part] if self.offset is None else rows[part] - of_rows(self.offset, part)
            with np.errstate(over="ignore"):  # an infinite quotient saturates like any large one
                integers = np.divide(shifted, of_rows(self.scale, part), dtype=np.float32)
            np.rint(integers, out=integers)
            np.clip(integers, self.low, self.low + self.count - 1, out=integers)
            if self.low:
                integers -= self.low
            codes[part] = integers

        by_parts(compute, rows.shape)
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
        rows: [rows, columns] or [blocks, rows, columns].
        grid: the integers; with offsets only their number counts.
        offset: whether rows get one; not on BINARY.
        name: the tensor, for the error message.

    Raises:
        ModelError: `rows` holds NaN or infinity.
    """
    if not offset:
        return as_halves(Levels(grid, weight_qparams(rows.reshape(-1, rows.shape[-1]), 0, grid, name=name).scale))
    count = grid.high - grid.low + 1
    scale, shift = np.empty((2, *rows.shape[:-1]), np.float32)

    def compute(part: _Part) -> None:
        piece = rows[part]
        columns = np.moveaxis(piece, -1, 0).reshape(rows.shape[-1], -1)  # as they lie, where rows are columns in memory
        scale[part], shift[part] = (one.reshape(piece.shape[:-1]) for one in _line(columns, count, name))

    by_parts(compute, rows.shape)
    return as_halves(Levels(grid, scale.reshape(-1), shift.reshape(-1)))


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


def _line(columns: Array, count: int, name: str) -> _Line:
    """Return scale and offset of each column: what is done to all of them goes along the last axis."""
    columns = np.ascontiguousarray(columns, np.float32)
    full, low = covering(columns.T, count, name)
    units = columns - low
    units /= full
    search = _Search(units, count)
    for share, below in _SPANS if count < _MANY else _SPANS[:_CENTRED]:
        search.probe(search.line(share, (1 - share) * (count - 1) * below))
    for stride in _STRIDES:
        search.probe(search.beyond(stride))
    scale, offset = search.best
    return np.maximum(scale * full, _TINY), offset * full + low


class _Search:
    """The search for the line of least squared error through the weights of each column.

    Codes tell the line through them, and by how much it errs, without another look at the weights: so a line is probed
    by rounding to it, and what counts is the line that its codes lead to. Lloyd's alternation would probe that one
    next, and come to rest many steps later; this goes further in its direction.

    Args:
        weights: [weights, columns], in units of the line that covers each column.
        count: codes.

    Attributes:
        best: scale and offset of each column, in these units.
    """

    def __init__(self, weights: Floats32, count: int) -> None:
        self._weights, self._codes = weights, np.empty_like(weights)
        self._top, self._number = np.float32(count - 1), len(self._weights)
        self._dtype = np.float32 if self._number * count**2 <= _EXACT else np.float64
        self._total = self._weights.sum(axis=0, dtype=self._dtype)
        self._gain = np.zeros(weights.shape[1], self._dtype)
        self._probed = self.best = self.line(1, 0)

    def line(self, scale: float, offset: float) -> _Line:
        """Return one line for all columns."""
        return np.full_like(self._gain, scale, np.float32), np.full_like(self._gain, offset, np.float32)

    def beyond(self, stride: float) -> _Line:
        """Return for each column the line `stride` times as far from the one that led to the best as that is."""
        (scale, offset), (better, shifted) = self._probed, self.best
        ahead = np.maximum(scale + np.float32(stride) * (better - scale), _LEAST * better)
        return ahead, offset + np.float32(stride) * (shifted - offset)

    def probe(self, line: _Line) -> None:
        """Round to `line`, and keep the lines of least squares that this leads to where none before was better."""
        codes = np.subtract(self._weights, line[1], out=self._codes)
        codes *= 1 / line[0]
        np.rint(codes, out=codes)
        np.clip(codes, 0, self._top, out=codes)
        total = codes.sum(axis=0, dtype=self._dtype)
        spread = self._dot(codes) - total * total / self._number
        common = self._dot(self._weights) - total * self._total / self._number
        slope = np.divide(common, spread, out=np.zeros_like(common), where=spread > 0)
        gain = slope * common  # what the squared error is below that of a constant
        better = (gain > self._gain) & (slope > 0)
        found = slope, (self._total - slope * total) / self._number
        self._gain = np.where(better, gain, self._gain)
        self.best, self._probed = _chosen(better, found, self.best), _chosen(better, line, self._probed)

    def _dot(self, others: Floats32) -> Array:
        """Return the dot products of codes and `others`, by column."""
        products: Array = np.einsum("nc,nc->c", self._codes, others, dtype=self._dtype)
        return products


def _chosen(where: Mask, one: _Line, other: _Line) -> _Line:
    scale, offset = (np.where(where, a, b).astype(np.float32, copy=False) for a, b in zip(one, other, strict=True))
    return scale, offset
