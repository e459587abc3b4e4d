"""Activation-aware scaling: large inputs are worth finer steps, so their weights are scaled up before rounding.

W x = (W s) (x / s): rounding W s in place of W divides the error on the inputs of large s. s = (size of x)^alpha with
the alpha in [0, 1] that changes the output least; at 0 nothing is scaled. What makes x takes up 1 / s.

Source: Lin et al. 2023, AWQ (arXiv:2306.00978). The size of an input is its root mean square here, which the second
moments tell, in the place of its mean magnitude.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compressctl.arrays import Array, Floats, Floats32

_ALPHAS = np.linspace(0, 1, 21)
_LEAST = 1e-4  # as in the authors' code

Rounding = Callable[[Floats32], Array]
"""Takes a weight [outputs, inputs] and returns what rounding makes of it."""


def awq_scales(readers: Sequence[tuple[Array, Rounding]], moments: Array) -> tuple[Floats, float]:
    """Return s [inputs], and the error of the outputs over that without scaling.

    Args:
        readers: the weight [outputs, inputs] of each layer that reads x, and what rounds it.
        moments: second moments of x, [inputs, inputs]. Inputs that were zero on all samples are taken to be as large as
            the others in the mean, so that their weights are not rounded away.
    """
    power = np.maximum(np.diag(moments), 0)
    seen = power > 0
    power = np.where(seen, power, power.sum() / max(np.count_nonzero(seen), 1))
    size = np.maximum(np.sqrt(power), _LEAST)
    best, least, plain = np.ones(len(size)), np.inf, 0.0
    for alpha in _ALPHAS:
        scales = size**alpha
        scales = scales / np.sqrt(scales.max() * scales.min())
        error = sum(_error(weight, scales, moments, rounded) for weight, rounded in readers)
        if alpha == 0:
            plain = error
        if error < least:
            best, least = scales, error
    return best, least / plain if plain > 0 else 1.0


def _error(weight: Array, scales: Floats, moments: Array, rounded: Rounding) -> float:
    """Return trace(E M E^T) with E what rounding changes, seen by the unscaled input."""
    error = rounded((weight * scales).astype(np.float32)) / scales - weight
    return float(((error @ moments) * error).sum())
