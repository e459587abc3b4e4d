"""The windows that a convolution's kernel sees, as rows of a matrix (im2col)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from compressctl.arrays import Array


def windows(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    *,
    fill: int = 0,
) -> Array:
    """Return a view [samples, *places, channels, *kernel] of what the kernel sees at each place.

    Args:
        x: [samples, channels, *spatial].
        kernel, strides, dilations: one number a spatial axis.
        pads: elements added before the first one of each spatial axis, then those after the last (may be negative).
        fill: what is added.
    """
    spatial = len(kernel)
    before, after = pads[:spatial], pads[spatial:]
    added = [(0, 0), (0, 0), *((max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True))]
    padded = np.pad(x, added, constant_values=fill)
    cut = [slice(max(-b, 0), min(a, 0) or None) for b, a in zip(before, after, strict=True)]
    padded = padded[(slice(None), slice(None), *cut)]
    seen = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = sliding_window_view(padded, seen, axis=tuple(range(2, 2 + spatial)))
    view = view[(slice(None), slice(None), *(slice(None, None, s) for s in (*strides, *dilations)))]
    return np.moveaxis(view, 1, 1 + spatial)


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], *, upper: bool
) -> tuple[int, ...]:
    """Return the pads that give ceil(size / stride) places: auto_pad SAME of the ONNX specification.

    Args:
        sizes, kernel, strides, dilations: one number a spatial axis.
        upper: whether the odd one goes to the end (SAME_UPPER), else to the beginning (SAME_LOWER).
    """
    totals = [
        max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if upper else (*large, *small)
