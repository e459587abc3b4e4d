"""Clipping weights: those beyond a threshold become the threshold, or a value of the same sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compressctl.arrays import Array


@dataclass(frozen=True, eq=False)
class Clipped:
    """A tensor after clipping.

    Attributes:
        array: in the type of the original; the original itself where nothing was clipped.
        count: elements beyond the threshold.
        mse: mean squared difference to the original, over all elements.
    """

    array: Array
    count: int
    mse: float


def clip(array: Array, threshold: float, value: float | None = None) -> Clipped:
    """Set each element w with |w| > `threshold` to sign(w) * `value`.

    Args:
        array: floats of any shape, finite.
        threshold: not negative.
        value: not negative; `threshold` where None.
    """
    beyond = np.abs(array.astype(np.float64)) > threshold
    count = int(np.count_nonzero(beyond))
    if not count:
        return Clipped(array, 0, 0.0)
    target = _toward_zero(threshold, array.dtype) if value is None else value
    clipped = np.where(beyond, np.copysign(array.dtype.type(target), array), array).astype(array.dtype)
    difference = clipped[beyond].astype(np.float64) - array[beyond].astype(np.float64)
    return Clipped(clipped, count, float(np.sum(difference**2)) / array.size)


def percentile_threshold(array: Array, percentile: float) -> float:
    """Return the magnitude that `percentile` per cent of the elements do not exceed, interpolated; 0 of no elements."""
    return float(np.percentile(np.abs(array.astype(np.float64)), percentile)) if array.size else 0.0


def sigma_threshold(array: Array, sigma: float) -> float:
    """Return `sigma` times the standard deviation of the elements; 0 of no elements."""
    return sigma * float(np.std(array.astype(np.float64))) if array.size else 0.0


def _toward_zero(threshold: float, dtype: np.dtype[Any]) -> float:
    """Round to the type so that no clipped element lies beyond the threshold."""
    rounded = dtype.type(threshold)
    return float(rounded if float(rounded) <= threshold else np.nextafter(rounded, dtype.type(0)))
