"""GPTQ through a model: layer after layer, each on what the layers before it, rounded already, give.

What is rounded may first be fitted, so that it makes up for the errors that reach it, too (`gptq_start.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Bytes, Floats
from compressctl.data.source import Source
from compressctl.layers.layerwise import Fit, fit_layers
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.numerics.gptq import gptq
from compressctl.numerics.levels import Levels
from compressctl.numerics.obs import damped
from compressctl.quantization.gptq_start import paired, start
from compressctl.quantization.weights.rounding import Rounded, Style
from compressctl.quantization.weights.targets import Target
from compressctl.resources import Resources


def gptq_layers(
    original: ir.Model,
    model: ir.Model,
    styles: Sequence[tuple[Target, Style]],
    source: Source,
    resources: Resources,
    *,
    damping: float,
    order: bool,
) -> tuple[list[Rounded], dict[str, float]]:
    """Round the layers of `styles` in place, and move biases to what suits them.

    Args:
        original: left as it is.
        model: holds the targets, which have no `obstacle`; their constants become what the codes stand for.
        styles: how each is rounded; none has one scale for the tensor.
        source: the samples; labels are not needed.
        resources: as `fit_layers`.
        damping: added to the diagonal of the moments, as a share of its mean.
        order: round inputs of large moments first.

    Returns:
        the codes of each target, and, by name of the layer, the squared error of its outputs over their energy.

    Raises:
        ModelError, DataError: as `fit_layers`.
    """
    by_name = {target.name: (target, style) for target, style in styles}
    codes: dict[str, list[Bytes]] = {target.name: [] for target, _ in styles}
    levels: dict[str, list[list[Levels]]] = {target.name: [] for target, _ in styles}

    def solve(layer: LinearLayer, group: int, fit: Fit) -> Floats:
        target, style = by_name[layer.name]
        size = style.size(target)[0]
        chosen, roundings = gptq(
            start(layer, fit, damping),
            damped(fit.moments, damping),
            lambda part: style.fit(part.astype(np.float32), f"weight {target.value.name!r}"),
            group=size,
            order=order,
        )
        codes[layer.name].append(chosen)
        levels[layer.name].append(roundings)
        parts = np.split(chosen, len(roundings), axis=1)
        values = [one.values(part) for one, part in zip(roundings, parts, strict=True)]
        return np.concatenate(values, axis=1, dtype=np.float64)

    olds = {layer.name: layer for layer in linear_layers(original.graph)}
    news = [target.layers[0] for target, _ in styles]
    errors = fit_layers(
        original,
        model,
        [paired(olds[layer.name], layer) for layer in news],
        source,
        solve,
        resources,
    )
    found = [_rounded(one, style.size(one)[0], codes[one.name], levels[one.name]) for one, style in styles]
    return found, errors


def _rounded(target: Target, size: int, codes: list[Bytes], levels: list[list[Levels]]) -> Rounded:
    """Put codes [outputs, inputs] and levels of the operator's groups in the order of `Layout.rows`."""
    first = target.layers[0].inputs_first
    stored = np.stack([one.T if first else one for one in codes])
    every = [one for group in levels for one in group]
    dtype = np.float16 if all(one.scale.dtype == np.float16 for one in every) else np.float32

    def joined(arrays: list[Array]) -> Array:
        stacked = np.stack(arrays).reshape(len(levels), -1, len(arrays[0]))  # [groups, groups of inputs, outputs]
        return (stacked if first else stacked.swapaxes(1, 2)).reshape(-1).astype(dtype)

    offsets = [one.offset for one in every if one.offset is not None]
    scale, offset = joined([one.scale for one in every]), joined(offsets) if offsets else None
    return Rounded(target.layout.rows(stored, size), Levels(every[0].grid, scale, offset))
