"""Bias correction: take out the mean error that rounding the weights adds to a layer's output.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2.
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats


def bias_shift(error: Array, means: Array, output_axis: int) -> Floats:
    """Return by how much rounding moves the mean of each output channel; subtract it from the bias.

    `shift[o] = sum_i E[x_i] * sum over the kernel of error[o, i, ...]`. Exact for Gemm and MatMul; for Conv up to its
    zero padding, which the mean does not know of.

    Args:
        error: rounded minus float weight. Conv: [outputs, inputs / groups, *kernel]; Gemm, MatMul: [inputs, outputs] or
            [outputs, inputs].
        means: mean of each input channel, [inputs]; more than the weight has inputs means groups.
        output_axis: the axis of `error` along which outputs lie.

    Raises:
        ValueError: the shapes do not fit.
    """
    by_output = np.moveaxis(error, output_axis, 0)
    outputs, inputs = by_output.shape[:2]
    groups = means.size // max(inputs, 1)
    if means.ndim != 1 or means.size != groups * inputs or groups == 0 or outputs % groups:
        raise ValueError(f"means of shape {means.shape} do not fit a weight of shape {error.shape}")
    per_input = by_output.sum(axis=tuple(range(2, error.ndim)), dtype=np.float64).reshape(groups, -1, inputs)
    shift: Floats = np.einsum("goi,gi->go", per_input, means.astype(np.float64).reshape(groups, inputs))
    return shift.reshape(outputs)
