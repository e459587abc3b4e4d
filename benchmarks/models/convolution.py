"""What the convolutional models share: Conv and BatchNormalization as exporters write them, initialised to be sane."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.builder import Graph


class ConvNet(Graph):
    """A graph of one input, `input`, whose BatchNormalization nodes know the statistics of some images."""

    def __init__(self, name: str, images: NDArray[np.float32]) -> None:
        super().__init__(name)
        self._images = images

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, *, pad: int, group: int = 1) -> str:
        """Add a Conv without bias; `pad` rows and columns on each side."""
        shape = (outputs, inputs // group, kernel, kernel)
        weight = self.normal(shape, sqrt(2 / prod(shape[1:])))  # He et al. 2015 (arXiv:1502.01852), equation 10
        return self.op(
            "Conv",
            x,
            weight,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            dilations=[1, 1],
            group=group,
        )

    def batch_norm(self, x: str, gain: float = 1.0) -> str:
        """Add a BatchNormalization with the statistics of `x`, as training leaves them; `gain` is its mean scale.

        Without them all outputs of a deep random network are nearly one and the same vector.
        """
        values = self.evaluate(x, {"input": self._images})
        mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3))
        scale, bias = self.uniform(mean.shape, 0.5 * gain, 1.5 * gain), self.normal(mean.shape, 0.2)
        return self.op("BatchNormalization", x, scale, bias, self.constant(mean), self.constant(variance), epsilon=1e-5)

    def conv_bn(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, *, pad: int, gain: float = 1.0
    ) -> str:
        """Add a Conv and its BatchNormalization."""
        return self.batch_norm(self.conv(x, inputs, outputs, kernel, stride, pad=pad), gain)
