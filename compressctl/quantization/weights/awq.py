"""AWQ through a model: where the producer of an activation can take up scales, weights are scaled before rounding."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.arrays import Floats
from compressctl.data.source import Source
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.layers.moments import input_statistics, observable
from compressctl.layers.unseen import unseen
from compressctl.notes import Note, done
from compressctl.numerics.awq import Rounding, awq_scales
from compressctl.quantization.preparation.smoothing import Place, move_scales, places
from compressctl.resources import Resources


def scale_inputs(
    model: ir.Model,
    roundings: dict[str, Rounding],
    source: Source,
    resources: Resources,
    *,
    samples: int,
) -> tuple[Note, ...]:
    """Scale the inputs of layers in place, as AWQ does; what the model computes stays the same but for rounding.

    Args:
        model: edited.
        roundings: what rounds the matrix [outputs, inputs] of a layer, by its name.
        source: the samples; labels are not needed.
        resources: threads, work folder and progress.
        samples: at most so many are used, the first.

    Returns:
        what was scaled, and why the inputs of other layers were not.

    Raises:
        ModelError, DataError: as `layers.moments.input_statistics`.
    """
    layers = {layer.node: layer for layer in linear_layers(model.graph)}
    found, notes = places(model.graph)
    usable = {
        layers[place.readers[0]]: place
        for place in found
        if all(node in layers and node.name in roundings for node in place.readers)
        and observable(layers[place.readers[0]])
    }
    if not usable:
        return notes
    observed = input_statistics(model, list(usable), source, resources, samples=samples)
    scales = [
        (usable[layer], _scales(usable[layer], layers, moments.second[0], roundings), moments.silent)
        for layer, moments in observed
    ]
    told = [unseen(place.tensor, "its readers are rounded to the nearest") for place, _, silent in scales if silent]
    for place, (chosen, gain), _ in scales:
        if gain < 1:
            move_scales(model.graph, place, chosen)
            told.append(done(f"scaled for its readers: they err by {gain:.2f} of what they would", place.tensor))
    return (*notes, *told)


def _scales(
    place: Place, layers: dict[ir.Node, LinearLayer], moments: Floats, roundings: dict[str, Rounding]
) -> tuple[Floats, float]:
    return awq_scales([(layers[node].matrix()[0], roundings[node.name or ""]) for node in place.readers], moments)
