"""Scaling maps of numbers to another size."""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array


def resized(maps: Array, size: tuple[int, ...]) -> Array:
    """Return maps [N, C, H, W] at another height and width: bilinear between centres of pixels, as torch's
    `interpolate(mode="bilinear", align_corners=False)`."""
    down, across = (_weights(have, want) for have, want in zip(maps.shape[2:], size, strict=True))
    return np.asarray(np.einsum("hi,ncij,wj->nchw", down, maps.astype(np.float32), across, optimize=True))


def _weights(have: int, want: int) -> Array:
    at = np.clip((np.arange(want) + 0.5) * have / want - 0.5, 0, have - 1)
    low = np.minimum(at.astype(int), max(have - 2, 0))
    weights = np.zeros((want, have), np.float32)
    weights[np.arange(want), low] = 1 - (at - low)
    weights[np.arange(want), np.minimum(low + 1, have - 1)] += at - low
    return weights
