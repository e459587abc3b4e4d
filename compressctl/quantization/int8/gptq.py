"""GPTQ for static quantization: the integers of its weights, at the scales that it has anyway.

Layer after layer, on what the layers before it, rounded already, give (`gptq_start.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Bytes, Floats, Integers8
from compressctl.data.first import First
from compressctl.data.source import Source
from compressctl.layers.bias import find_bias
from compressctl.layers.layerwise import Fit, fit_layers
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.layers.moments import observable
from compressctl.layers.unseen import unseen
from compressctl.model.graph import is_only_use
from compressctl.notes import Note, done, skipped
from compressctl.numerics.gptq import gptq
from compressctl.numerics.levels import Levels
from compressctl.numerics.obs import damped
from compressctl.quantization.gptq_start import paired, start
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.plan import QuantizationPlan, named
from compressctl.quantization.int8.quantizers import Quantizer, Settings
from compressctl.quantization.int8.trainable import make_trainable
from compressctl.resources import Resources

_DAMPING = 0.01
_SAMPLES = 1024


def round_by_gptq(
    model: ir.Model,
    plan: QuantizationPlan,
    observations: Observations,
    settings: Settings,
    source: Source,
    resources: Resources,
) -> tuple[Settings, tuple[Note, ...]]:
    """Find the integers of the static layers of `plan`, and give their biases in `model` the values that suit them.

    Args:
        model: the float model; only biases change.
        plan: made for it.
        observations: ranges of the tensors of `placement_of(model, plan)`.
        settings: the grids of the weights.
        source: calibration samples, of which the first 1,024 are used; labels are not needed.
        resources: as `fit_layers`.

    Returns:
        the settings with the integers, and notes.

    Raises:
        ModelError, DataError: as `fit_layers`.
    """
    quantizers = _quantizers(model, plan, observations, settings)
    rounded: dict[str, Integers8] = {}
    changed = model.clone()
    olds = {layer.name: layer for layer in linear_layers(model.graph)}
    news, notes = [], []
    for layer in linear_layers(changed.graph):
        if layer.name in quantizers:
            reason = _obstacle(layer)
            notes += [skipped(f"rounded to the nearest: {reason}", layer.name)] if reason else []
            news += [] if reason else [layer]
    codes: dict[str, list[Bytes]] = {layer.name: [] for layer in news}

    inner = [node for node in named(model.graph, plan.static) if node.graph is not model.graph]
    notes += [skipped("rounded to the nearest: it is in a body", node.name) for node in inner]

    def solve(layer: LinearLayer, group: int, fit: Fit) -> Floats:
        levels = _levels(quantizers[layer.name], layer, group)
        found, _ = gptq(start(layer, fit, _DAMPING), damped(fit.moments, _DAMPING), lambda _: levels)
        codes[layer.name].append(found)
        return levels.values(found).astype(np.float64)

    pairs = [paired(olds[layer.name], layer) for layer in news]
    errors = fit_layers(model, changed, pairs, First(source, _SAMPLES), solve, resources)
    for layer in news:
        grid = quantizers[layer.name].grid
        integers = np.stack(codes[layer.name]).astype(np.int16) * (2 if grid.signs else 1) + grid.low
        rounded[layer.name] = np.ascontiguousarray(layer.restore(integers).astype(np.int8))
        old, new = find_bias(olds[layer.name]), find_bias(layer)
        if old is not None and new is not None:
            old.replace(new.array)
    notes += [unseen(layer.name, "rounded to the nearest") for layer in news if layer.name not in errors]
    moved = _moved(quantizers, _quantizers(model, plan, observations, settings))
    notes += [skipped("rounded to the nearest: its bias needs a larger scale", name) for name in moved]
    worst = max(errors.values(), default=0.0)
    notes.append(done(f"gptq on {len(news)} layers: the error of their outputs is at most {worst:.2g} of their energy"))
    kept = {name: integers for name, integers in rounded.items() if name not in moved}
    return replace(settings, rounded={**settings.rounded, **kept}), tuple(notes)


def _quantizers(
    model: ir.Model, plan: QuantizationPlan, observations: Observations, settings: Settings
) -> dict[str, Quantizer]:
    """Return what rounds each static layer's weight, of a clone."""
    made = make_trainable(model.clone(), plan, observations, settings)
    return {quantizer.node.name or "": quantizer for quantizer in made.quantizers}


def _obstacle(layer: LinearLayer) -> str | None:
    if not is_only_use(layer.weight, layer.node):
        return "other nodes use its weight, too"
    return None if observable(layer) else f"it reads {layer.shape[2]} inputs, too many to solve for"


def _levels(quantizer: Quantizer, layer: LinearLayer, group: int) -> Levels:
    """Return the values that the weights of one group of a layer may take."""
    groups, outputs, _ = layer.shape
    scale = np.broadcast_to(quantizer.qparams.scale, groups * outputs)
    return Levels(quantizer.grid, scale[group * outputs : (group + 1) * outputs])


def _moved(before: Mapping[str, Quantizer], after: Mapping[str, Quantizer]) -> set[str]:
    """Return the layers whose scale is another one now."""
    return {name for name, one in before.items() if not np.array_equal(one.qparams.scale, after[name].qparams.scale)}
