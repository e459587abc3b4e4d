"""Feeding models in tests: samples held in memory, and rows of a layer's input cut out with loops."""

from itertools import product

import numpy as np
import onnx_ir as ir

from tests.training.tiny import Arrays


class Rows(Arrays):
    """Samples of the model's one input."""

    def __init__(self, model: ir.Model, samples: np.ndarray) -> None:
        (value,) = model.graph.inputs
        batch = value.shape[0]
        super().__init__({value.name: samples}, batch=batch if isinstance(batch, int) else None)


def conv_rows(x, kernel, groups=1, strides=None, dilations=None, pads=None) -> np.ndarray:
    """[groups, samples * places, channels / group * kernel] of a convolution's input."""
    rank = len(kernel)
    strides, dilations, pads = strides or [1] * rank, dilations or [1] * rank, pads or [0] * 2 * rank
    padded = np.pad(x, [(0, 0), (0, 0), *((pads[i], pads[rank + i]) for i in range(rank))]).astype(np.float64)
    sizes = [
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(padded.shape[2:], kernel, strides, dilations, strict=True)
    ]
    rows = []
    for sample in padded:
        for place in product(*map(range, sizes)):
            corner = [p * s for p, s in zip(place, strides, strict=True)]
            window = [
                [sample[(c, *(o + t * d for o, t, d in zip(corner, tap, dilations, strict=True)))]]
                for c in range(x.shape[1])
                for tap in product(*map(range, kernel))
            ]
            rows.append(np.ravel(window).reshape(groups, -1))
    return np.array(rows).swapaxes(0, 1)
