"""SmoothQuant: by how much to divide the channels of an activation, and multiply the weights that read them.

Source: Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models".
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats

_LEAST = 1e-5  # as in the authors' code: keeps the scales of nearly silent channels from exploding the rest


def smoothing_scales(activation: Array, weight: Array, alpha: float) -> Floats:
    """Return s_j = max|X_j|^alpha / max|W_j|^(1 - alpha), 1 for channels that are silent on either side.

    Args:
        activation: max|X_j| of each channel.
        weight: max|W_j| of each channel, over all weights that read it.
        alpha: share of the difficulty that moves into the weights, 0 to 1.
    """
    x, w = activation.astype(np.float64), weight.astype(np.float64)
    silent = (x <= 0) | (w <= 0)
    x[silent] = w[silent] = 1.0
    scales: Floats = np.maximum(x**alpha / w ** (1 - alpha), _LEAST)
    return scales
