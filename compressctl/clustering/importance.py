"""How much each element of a weight counts when centroids are placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.clustering.reconstruct import ObservedSamples
from compressctl.layers.weights import Weight, input_squares

if TYPE_CHECKING:
    from compressctl.torchexec.gradients import Loss

_LEAST = 1e-6  # of the mean


def by_activation(model: ir.Model, weights: Sequence[Weight], samples: ObservedSamples) -> dict[str, Array]:
    """Return the mean square of the input that each element multiplies, of the weights' shapes, by name.

    Weights of which nothing is known have no entry; see `input_squares`, also for what it raises.
    """
    squares = input_squares(model, weights, samples.source, samples.resources, samples=samples.count)
    found = {}
    for weight in weights:
        if weight.name in squares:
            layer = weight.layers[0]
            spread = np.broadcast_to(squares[weight.name][:, None, :], layer.shape).astype(np.float32)
            found[weight.name] = _above_zero(layer.restore(spread).astype(np.float32))
    return found


def by_hessian(
    model: ir.Model, weights: Sequence[Weight], samples: ObservedSamples, *, loss: Loss | None
) -> dict[str, Array]:
    """Return the mean over samples of the squared gradient of each element: the diagonal of the Fisher matrix.

    Weights that no gradient reaches have no entry.

    Args:
        model: left as it is.
        weights: of the model.
        samples: with labels for `loss`.
        loss: None: the squared error of the outputs; see `torchexec.gradients`.

    Raises:
        ModelError, DataError: as `gradients`.
    """
    from compressctl.torchexec.gradients import gradients

    found = gradients(model, samples.source, samples.resources, samples=samples.count, loss=loss)
    seconds = {weight.name: found[weight.name].second for weight in weights if weight.name in found}
    return {name: _above_zero(second) for name, second in seconds.items() if second.any()}


def _above_zero(importance: Array) -> Array:
    """Let elements that no sample shows count a little, so that they have their place among the centroids."""
    return importance + float(importance.mean()) * _LEAST
