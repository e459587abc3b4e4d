"""Products whose inputs suffer from one scale: large models hold few values there that are hundreds of times the rest.

A dynamic product rounds its whole input to 255 steps between its smallest and its largest value. What that does to the
outputs of the layer itself is known from one run of the model in float, so that hundreds of layers are ranked for the
price of two; ranking them by the outputs of the model costs a session and its samples each.

Source: Dettmers et al. 2022, LLM.int8() (arXiv:2208.07339), on outliers in the activations of transformers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats32
from compressctl.data.source import Feeds
from compressctl.layers.inputs import LayerInputs
from compressctl.layers.linear import linear_layers
from compressctl.layers.rows import input_rows
from compressctl.quantization.int8.sensitivity import Sensitivity
from compressctl.resources import Resources

_STEPS = 255
_ROWS = 256  # of a layer and batch, spread evenly: the largest value, which sets the scale, is of all


def rank_inputs(
    model: ir.Model, names: Collection[str], batches: Iterable[Feeds], resources: Resources
) -> list[Sensitivity]:
    """Rank linear layers by the noise in their own outputs when their inputs are rounded to 8 bits; the worst first.

    Args:
        model: in float, left as it is.
        names: of layers; those that are no linear layers of the main graph are left out.
        batches: samples.
        resources: threads, work folder and progress: one tick a layer.

    Raises:
        ModelError: onnxruntime cannot run the model.
    """
    layers = [layer for layer in linear_layers(model.graph) if layer.name in names]
    if not layers:
        return []
    inputs = LayerInputs(model, layers, resources)
    noise, signal = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 0.0)
    for feeds in batches:
        found = inputs.read(feeds)
        for layer in resources.progress.track(layers, "find inputs with outliers", len(layers)):
            x = found[layer]
            rows = input_rows(layer, x)
            numbers = np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).astype(np.int64)
            taken = rows.take(numbers)
            matrix = layer.matrix().swapaxes(1, 2)
            error = _rounded(taken, float(min(x.min(initial=0), 0)), float(max(x.max(initial=0), 0))) - taken
            noise[layer] += float(np.square(error @ matrix, dtype=np.float64).sum())
            signal[layer] += float(np.square(taken @ matrix, dtype=np.float64).sum())
    tiny = float(np.finfo(np.float64).tiny)
    ranked = [Sensitivity(layer.name, noise[layer] / max(signal[layer], tiny)) for layer in layers]
    return sorted(ranked, key=lambda one: (-one.noise, one.layer))


def _rounded(rows: Floats32, low: float, high: float) -> Floats32:
    """Return what DynamicQuantizeLinear makes of values between `low` and `high`, decoded."""
    scale = (high - low) / _STEPS
    if not scale:
        return rows
    zero = round(-low / scale)
    rounded: Floats32 = ((np.clip(np.rint(rows / scale) + zero, 0, _STEPS) - zero) * scale).astype(np.float32)
    return rounded
