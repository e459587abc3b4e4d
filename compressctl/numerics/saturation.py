"""What x86 processors without VNNI do to INT8 products: sums of two u8 * s8 products saturate at 16 bits.

The instruction is vpmaddubsw (Intel SDM, PMADDUBSW): neighbours along the summed axis are multiplied, then added.
Weights within [-64, 64] cannot saturate: 2 * 255 * 64 < 2^15.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Bytes, Integers8

_COLUMNS = 16  # outputs handled at once: bounds the memory


@dataclass(frozen=True)
class Saturation:
    """How saturation changes a product.

    Attributes:
        share: of the sums of two products, those that saturate.
        noise: root mean square error of the outputs by it, over their root mean square.
    """

    share: float
    noise: float


def saturation(x: Bytes, weight: Integers8, zero_point: int) -> Saturation:
    """Simulate `(x - zero_point) @ weight` with pairs that saturate.

    Args:
        x: [rows, inputs], quantized activations; pairs are inputs 2i and 2i + 1, in the kernel's order.
        weight: [inputs, outputs].
        zero_point: of `x`; its part of the sum is taken off exactly, as the kernels do.
    """
    if x.shape[1] % 2:
        x, weight = np.pad(x, ((0, 0), (0, 1))), np.pad(weight, ((0, 1), (0, 0)))
    saturated = pairs = 0
    error = signal = 0.0
    wide = x.astype(np.int32)
    for start in range(0, weight.shape[1], _COLUMNS):
        columns: Array = weight[:, start : start + _COLUMNS].astype(np.int32)
        products = wide[:, :, None] * columns[None]
        sums = products[:, 0::2] + products[:, 1::2]
        clipped = np.clip(sums, -(2**15), 2**15 - 1)
        saturated += int(np.count_nonzero(clipped != sums))
        pairs += sums.size
        exact = sums.sum(axis=1) - zero_point * columns.sum(axis=0)
        error += float(np.square((clipped - sums).sum(axis=1, dtype=np.float64)).sum())
        signal += float(np.square(exact.astype(np.float64)).sum())
    return Saturation(saturated / max(pairs, 1), float(np.sqrt(error / signal)) if signal else 0.0)
