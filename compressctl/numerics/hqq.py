"""Half-quadratic quantization: offsets that make the errors sparse rather than their squares small.

With scales that cover each row, the offset minimises the sum of |w - w'|^p, p < 1: a few large errors on outliers
stay, and the many small ones shrink. The half-quadratic split takes turns: errors E = shrink(w - w'), the proximal
operator of |.|^p, and the offset that fits w - E best in the square, under a penalty that grows.

Source: Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models".
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats, Floats32
from compressctl.numerics.grids import Grid
from compressctl.numerics.levels import Levels, as_halves, covering
from compressctl.numerics.parallel import by_rows

NORM = 0.7
_PENALTY, _GROWTH, _STEPS = 10.0, 1.01, 20  # as published


def hqq(rows: Array, grid: Grid, *, name: str = "weight") -> Levels:
    """Return levels with the offsets that half-quadratic quantization finds.

    Args:
        rows: [rows, columns].
        grid: only the number of its integers counts.
        name: the tensor, for the error message.

    Raises:
        ModelError: `rows` holds NaN or infinity.
    """
    count = grid.high - grid.low + 1
    scales, offsets = zip(*by_rows(lambda piece: _offsets(rows[piece], count, name), *rows.shape), strict=True)
    return as_halves(Levels(grid, np.concatenate(scales), np.concatenate(offsets)))


def objective(error: Array) -> Floats:
    """Return the sum of |error|^p of each row."""
    total: Floats = (np.abs(error) ** np.float32(NORM)).sum(axis=1, dtype=np.float64)
    return total


def _offsets(rows: Array, count: int, name: str) -> tuple[Floats32, Floats32]:
    scale, low = covering(rows, count, name)
    ratio = rows / scale[:, None]  # everything in steps
    offset = best = low / scale
    least = np.full(len(rows), np.inf)
    penalty = _PENALTY
    for _ in range(_STEPS + 1):
        codes = np.clip(np.rint(ratio - offset[:, None]), 0, count - 1)
        error = ratio - codes - offset[:, None]
        cost = objective(error)
        better = cost < least
        if not better.any():
            break
        best, least = np.where(better, offset, best), np.where(better, cost, least)
        sparse = _shrink(error * scale[:, None], penalty) / scale[:, None]
        offset = (ratio - sparse - codes).mean(axis=1)
        penalty *= _GROWTH
    return scale, best * scale


def _shrink(error: Floats32, penalty: float) -> Floats32:
    """Return the generalised soft threshold: sign(e) max(|e| - |e|^(p - 1) / penalty, 0)."""
    size = np.abs(error)
    with np.errstate(divide="ignore"):
        threshold = np.where(size > 0, size, 1) ** np.float32(NORM - 1) / np.float32(penalty)
    shrunk: Floats32 = np.copysign(np.maximum(size - threshold, 0), error)
    return shrunk
