"""Scales that move a range from one tensor to the next, channel by channel, and change nothing of what is computed.

Cross-layer equalization gives consecutive layers the same range in every channel; SmoothQuant divides the channels of
an activation, and multiplies the weights that read them.

Sources: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1; Xiao
et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Floats

_SETTLED = 1e-3  # relative change of a scale in a sweep
_BIAS_GROWTH = 4.0  # how far a bias may rise above the usual proportion of bias to weights in its layer
_LEAST = 1e-5  # as in the authors' code: keeps the scales of nearly silent channels from exploding the rest


@dataclass
class Layer:
    """A convolution as equalization sees it: its largest weights, and the scales found for it so far.

    Attributes:
        reach: largest magnitude over the kernel, float64 [groups, outputs / groups, inputs / groups].
        bias: magnitude of the bias, float64 [groups, outputs / groups].
        inputs: factor of each input channel's weights, float64 [groups, inputs / groups].
        outputs: divisor of each output channel's weights and bias, float64 [groups, outputs / groups].
    """

    reach: Floats
    bias: Floats
    inputs: Floats
    outputs: Floats

    @classmethod
    def of(cls, weight: Array, bias: Array | None, groups: int) -> Layer:
        """Return the layer of a Conv weight [outputs, inputs / groups, *kernel] and its bias, with scales of 1."""
        magnitude = np.abs(weight.reshape(*weight.shape[:2], -1)).max(axis=2, initial=0).astype(np.float64)
        reach = magnitude.reshape(groups, weight.shape[0] // groups, weight.shape[1])
        outputs, inputs = reach.shape[:2], reach[:, 0].shape
        magnitude = np.zeros(outputs) if bias is None else np.abs(bias.astype(np.float64)).reshape(outputs)
        return cls(reach, magnitude, np.ones(inputs), np.ones(outputs))

    def input_ranges(self) -> Floats:
        """Return the largest weight that reads each input channel, under the scales found so far."""
        ranges: Floats = self._scaled().max(axis=1).reshape(-1)
        return ranges

    def output_ranges(self) -> Floats:
        """Return the largest weight of each output channel, under the scales found so far.

        A channel that its bias alone keeps alive (BatchNormalization leaves many such) counts as if it had weights:
        scaling up next to nothing would scale up the bias with it, and so the range of the activations.
        """
        weights, bias = self._scaled().max(axis=2).reshape(-1), (self.bias / self.outputs).reshape(-1)
        both = (weights > 0) & (bias > 0)
        usual = np.median(weights[both] / bias[both]) if both.any() else 0.0
        ranges: Floats = np.maximum(weights, bias * (usual / _BIAS_GROWTH))
        return ranges

    def _scaled(self) -> Floats:
        return self.reach * self.inputs[:, None, :] / self.outputs[:, :, None]


def equalize(pairs: Sequence[tuple[Layer, Layer]], sweeps: int) -> int:
    """Find scales for layers that follow each other, in place; returns how many sweeps over all pairs it took.

    The outputs of a pair's first layer are the inputs of its second, in number and order. A channel without weights on
    either side keeps its scale.
    """
    for sweep in range(1, sweeps + 1):
        change = 0.0
        for first, second in pairs:
            r1, r2 = first.output_ranges(), second.input_ranges()
            alive = (r1 > 0) & (r2 > 0)
            scale = np.sqrt(np.divide(r1, r2, out=np.ones_like(r1), where=alive))
            first.outputs *= scale.reshape(first.outputs.shape)
            second.inputs *= scale.reshape(second.inputs.shape)
            change = max(change, float(np.abs(np.log(scale)).max(initial=0)))
        if change < _SETTLED:
            return sweep
    return sweeps


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
