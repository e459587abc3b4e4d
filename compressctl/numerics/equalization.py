"""Cross-layer equalization: scales between consecutive layers that give both the same range in every channel.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SETTLED = 1e-3  # relative change of a scale in a sweep


@dataclass
class Layer:
    """A convolution as equalization sees it: its largest weights, and the scales found for it so far.

    Attributes:
        reach: largest magnitude over the kernel, float64 [groups, outputs / groups, inputs / groups].
        inputs: factor of each input channel's weights, float64 [groups, inputs / groups].
        outputs: divisor of each output channel's weights and bias, float64 [groups, outputs / groups].
    """

    reach: NDArray[np.float64]
    inputs: NDArray[np.float64]
    outputs: NDArray[np.float64]

    @classmethod
    def of(cls, weight: NDArray[Any], groups: int) -> Layer:
        """Return the layer of a Conv weight [outputs, inputs / groups, *kernel], with scales of 1."""
        magnitude = np.abs(weight.reshape(*weight.shape[:2], -1)).max(axis=2, initial=0).astype(np.float64)
        reach = magnitude.reshape(groups, weight.shape[0] // groups, weight.shape[1])
        return cls(reach, np.ones(reach[:, 0].shape), np.ones(reach[:, :, 0].shape))

    def scaled(self) -> NDArray[np.float64]:
        """Return `reach` under the scales found so far."""
        return self.reach * self.inputs[:, None, :] / self.outputs[:, :, None]


def equalize(pairs: Sequence[tuple[Layer, Layer]], sweeps: int) -> int:
    """Find scales for layers that follow each other, in place; returns how many sweeps over all pairs it took.

    The outputs of a pair's first layer are the inputs of its second, in number and order. A channel without weights on
    either side keeps its scale.
    """
    for sweep in range(1, sweeps + 1):
        change = 0.0
        for first, second in pairs:
            r1 = first.scaled().max(axis=2).reshape(-1)
            r2 = second.scaled().max(axis=1).reshape(-1)
            alive = (r1 > 0) & (r2 > 0)
            scale = np.sqrt(np.divide(r1, r2, out=np.ones_like(r1), where=alive))
            first.outputs *= scale.reshape(first.outputs.shape)
            second.inputs *= scale.reshape(second.inputs.shape)
            change = max(change, float(np.abs(np.log(scale)).max(initial=0)))
        if change < _SETTLED:
            return sweep
    return sweeps
