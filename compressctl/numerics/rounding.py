"""Weights on few integers: the scale that suits each channel best, and rounding as the ONNX graph rounds.

Sources: least squared error, Banner et al. 2019 (arXiv:1810.05723), with Lloyd's alternation (1982); ternary weights,
Li et al. 2016 (arXiv:1605.04711), here with the exact threshold; signs times mean|w|, XNOR-Net, Rastegari et al. 2016
(arXiv:1603.05279).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compressctl.arrays import AnyFloats, Array, Floats, Floats32, Integers8
from compressctl.numerics.grids import INT8, REDUCED, TERNARY, Grid
from compressctl.numerics.parallel import by_rows
from compressctl.numerics.qparams import QParams, along, quantize, symmetric

_RATIOS = 2.0 ** -(np.arange(1, 41) / 8)  # scales tried, as shares of the one that covers the largest weight
_REFINEMENTS = 8
_CHECKED = 4  # after this many scales rows are dropped for which all smaller ones are worse
_SLACK = 1.001  # for rounding
_TINY = np.finfo(np.float32).tiny


def weight_qparams(
    weight: Array,
    axis: int | None,
    grid: Grid,
    *,
    least: AnyFloats | float = 0.0,
    name: str = "weight",
) -> QParams:
    """Return int8 parameters with zero point 0 for rounding `weight` to `grid`.

    INT8 and REDUCED cover the largest weight. On a narrower grid the scale has the least squared error: the optimum for
    TERNARY and BINARY, else the best that a search with alternating refinement finds, never worse than covering.

    Args:
        weight: any float tensor.
        axis: the dimension that gets one scale an entry (negative counts from the end); None for one scale in all.
        grid: the integers.
        least: smallest scale, or one a channel, see `least_weight_scale`.
        name: the tensor, for the error message.

    Raises:
        ModelError: `weight` holds NaN or infinity.
    """
    if grid in (INT8, REDUCED):
        return symmetric(weight, axis, high=grid.high, least=least, name=name)
    cover = symmetric(weight, axis, high=grid.high, name=name)
    rows = weight.reshape(1, -1) if axis is None else np.moveaxis(weight, axis, 0).reshape(cover.scale.size, -1)
    if grid.signs:
        scale: AnyFloats = _by_rows(lambda part: np.abs(part).mean(axis=1, dtype=np.float64), rows)
    elif grid == TERNARY:
        scale = _by_rows(_ternary_scale, rows)
        scale = np.where(scale > 0, scale, cover.scale.reshape(-1))
    else:
        scale = _searched_scale(rows, cover.scale.reshape(-1), grid)
    scale = np.maximum(scale.reshape(cover.scale.shape), np.maximum(np.max(least) if axis is None else least, _TINY))
    return QParams(scale.astype(np.float32), cover.zero_point, "int8", cover.axis)


def round_weights(weight: Array, qparams: QParams, grid: Grid) -> Integers8:
    """Return the integers of `weight`: QuantizeLinear -> Clip, or the sign (of 0: +1), bit for bit as onnxruntime."""
    if grid.signs:
        return np.where(weight >= 0, np.int8(1), np.int8(-1))
    integers: Integers8 = np.clip(quantize(weight, qparams), grid.low, grid.high).astype(np.int8, copy=False)
    return integers


def neighbours(weight: Array, qparams: QParams, grid: Grid) -> tuple[Floats32, Floats32, Floats32]:
    """Return the grid's integers below and above each weight, and how far up it lies between them, in [0, 1].

    A weight beyond the grid has the last integer on both sides, and the share 0.
    """
    ratio = (weight / along(qparams.scale, qparams.axis, weight.ndim)).astype(np.float32)
    if grid.signs:
        ones = np.ones_like(ratio)
        return -ones, ones, np.clip((ratio + 1) / 2, 0, 1)
    floor = np.floor(ratio)
    low, high = np.clip(floor, grid.low, grid.high), np.clip(floor + 1, grid.low, grid.high)
    return low, high, np.where(high > low, ratio - floor, np.float32(0))


def _by_rows(scale: Callable[[Array], Floats], rows: Array) -> Floats:
    scales: Floats = np.concatenate(by_rows(lambda piece: scale(rows[piece]), *rows.shape))
    return scales


def _searched_scale(rows: Array, cover: Floats32, grid: Grid) -> Floats32:
    pieces = by_rows(lambda piece: _search(rows[piece], cover[piece], grid), *rows.shape)
    scale: Floats32 = np.concatenate(pieces)
    return scale


def _search(rows: Array, cover: Floats32, grid: Grid) -> Floats32:
    best = cover.copy()
    least = _error(rows, best, grid)[0]
    live, left, magnitudes = np.arange(len(rows)), rows, np.abs(rows)  # rows that a smaller scale may still suit better
    for number, ratio in enumerate(_RATIOS, 1):
        scale = np.maximum(cover[live] * np.float32(ratio), _TINY)
        error = _error(left, scale, grid)[0]
        better = error < least[live]
        best[live[better]], least[live[better]] = scale[better], error[better]
        if number % _CHECKED == 0:
            open_ = _clipped(magnitudes, scale, grid) <= least[live] * _SLACK
            live, left, magnitudes = live[open_], left[open_], magnitudes[open_]
    integers = _error(rows, best, grid)[1]
    for _ in range(_REFINEMENTS):
        # For given integers the best scale is a quotient; for that scale, other integers may be nearer.
        power = np.square(integers, dtype=np.float64).sum(axis=1)
        product = np.einsum("cn,cn->c", integers, rows, dtype=np.float64)
        quotient = np.divide(product, power, out=best.astype(np.float64), where=(power > 0) & (product > 0))
        scale = np.maximum(quotient, _TINY).astype(np.float32)
        error, tried = _error(rows, scale, grid)
        better = error < least
        if not better.any():
            break
        best, least = np.where(better, scale, best), np.where(better, error, least)
        integers[better] = tried[better]
    return best


def _clipped(magnitudes: Array, scale: Floats32, grid: Grid) -> Floats:
    """Return each row's squared error on weights beyond the grid alone, which only grows as the scale shrinks."""
    beyond = magnitudes - (max(grid.high, -grid.low) * scale)[:, None]
    np.maximum(beyond, 0, out=beyond)
    error: Floats = np.einsum("cn,cn->c", beyond, beyond, dtype=np.float64)
    return error


def _error(rows: Array, scale: Floats32, grid: Grid) -> tuple[Floats, Floats32]:
    """Return each row's squared error at its scale, and the integers."""
    integers = np.rint(rows / scale[:, None])
    np.clip(integers, grid.low, grid.high, out=integers)
    error = integers * scale[:, None]
    error -= rows
    return np.einsum("cn,cn->c", error, error, dtype=np.float64), integers


def _ternary_scale(rows: Array) -> Floats:
    """Return the scale of least squared error over all thresholds: keeping the k largest gains (their sum)^2 / k."""
    sums = np.cumsum(np.sort(np.abs(rows), axis=1)[:, ::-1], axis=1, dtype=np.float64)
    counts = np.arange(1, rows.shape[1] + 1)
    best = np.argmax(sums**2 / counts, axis=1)
    scale: Floats = np.take_along_axis(sums, best[:, None], axis=1)[:, 0] / (best + 1)
    return scale
