"""Ways to change samples. Strengths are in standard deviations of an input, or in pixels; images keep to their range.

Sources: corruptions as in Hendrycks and Dietterich 2019 (arXiv:1903.12261), scaled by the data, whose range of pixels
is not known; the fast gradient sign method, Goodfellow et al. 2015 (arXiv:1412.6572), section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compressctl.arrays import Array
from compressctl.robustness.inputs import InputSpread

ImageChange = Callable[[Array, InputSpread], Array]
_TRUNCATE = 4.0  # standard deviations of the kernel that a blur reaches


def noisy(array: Array, spread: InputSpread, strength: float, seed: tuple[int, ...], first_row: int) -> Array:
    """Add Gaussian noise; a row's noise depends on the seed and its number alone, not on how rows are batched."""
    noise = np.stack(
        [np.random.default_rng((*seed, first_row + row)).standard_normal(array.shape[1:]) for row in range(len(array))]
    )
    return _kept(array + strength * spread.std * noise, spread, array.dtype)


def blurred(array: Array, spread: InputSpread, sigma: float) -> Array:
    """Blur images by a Gaussian kernel of `sigma` pixels, mirrored at the edges."""
    radius = int(_TRUNCATE * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    result = array.astype(np.float64)
    for axis in (2, 3) if spread.layout == "NCHW" else (1, 2):
        widths = [(radius, radius) if other == axis else (0, 0) for other in range(4)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(result, widths, "symmetric"), len(kernel), axis)
        result = windows @ kernel
    return result.astype(array.dtype)


def brighter(array: Array, spread: InputSpread, strength: float) -> Array:
    """Add `strength` standard deviations to all pixels."""
    return _kept(array.astype(np.float64) + strength * spread.std, spread, array.dtype)


def flatter(array: Array, spread: InputSpread, factor: float) -> Array:
    """Multiply each pixel's distance from its image's mean, channel by channel, by `factor`."""
    mean = array.astype(np.float64).mean(axis=(2, 3) if spread.layout == "NCHW" else (1, 2), keepdims=True)
    return _kept(mean + factor * (array - mean), spread, array.dtype)


def adversarial(array: Array, spread: InputSpread, gradient: Array, strength: float) -> Array:
    """Step by `strength` standard deviations along the sign of the gradient of the loss."""
    return _kept(array + strength * spread.std * np.sign(gradient.astype(np.float64)), spread, array.dtype)


def _kept(values: Array, spread: InputSpread, dtype: np.dtype[Any]) -> Array:
    """Return `values` within the range of the samples where they are images: pixels have one."""
    kept: Array = (values if spread.layout is None else values.clip(spread.low, spread.high)).astype(dtype)
    return kept
