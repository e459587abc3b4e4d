"""What a layer costs in factors: multiply-accumulates, and measured latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.choices import FactorMethod
from compressctl.data.walk import standing
from compressctl.factorization.forms import Factors, Shape
from compressctl.factorization.rewrite import replace
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.layers.rows import input_rows
from compressctl.measure.clocks import Limits
from compressctl.measure.latency import LatencyOptions, LatencyRatio, compare_latency
from compressctl.model.graph import bias_of, constant, initializer, remove_dead
from compressctl.model.save import save_model
from compressctl.model.shapes import infer_shapes
from compressctl.resources import Resources

FASTER = 0.95  # of the latency: the whole interval of the ratio must lie below
_SECONDS = 0.5  # that measuring a layer takes, or a little more


def macs(layer: LinearLayer, x: Shape) -> int:
    """Return the multiply-accumulates of `layer` where it reads an input of shape `x`."""
    return math.prod(_places(layer, x)) * math.prod(layer.weight_shape)


def factored_macs(layer: LinearLayer, x: Shape, method: FactorMethod, shapes: Sequence[Shape]) -> int:
    """Return the multiply-accumulates of factors of these `shapes` in the place of `layer`."""
    after = _places(layer, x)
    places = [after] * len(shapes)
    if method == "spatial":  # the column has no stride along the width
        places[0] = (*after[:2], x[3])
    elif method == "tucker":
        places[0] = (x[0], *x[2:])
    return sum(math.prod(place) * math.prod(shape) for place, shape in zip(places, shapes, strict=True))


def latency_ratio(
    model: ir.Model, layer: LinearLayer, factors: Factors, x: Shape, resources: Resources
) -> LatencyRatio:
    """Return the latency of `factors` over that of `layer`, alone in a model each, on an input of shape `x`.

    Args:
        model: that the layer is of; left as it is.
        layer: the layer.
        factors: in its place.
        x: the shape of its input.
        resources: threads, a work folder for the two files, which are removed, and the seed of the values of the input
            and of the order of measuring.
    """
    before, after = _alone(model, layer, x), _alone(model, layer, x)
    replace(after.graph, linear_layers(after.graph), factors)
    remove_dead(after)
    paths = [resources.workdir / f"low_rank_{name}.onnx" for name in ("before", "after")]
    files: list[Path] = []
    try:
        for alone, path in zip((before, after), paths, strict=True):
            files += save_model(alone, path, overwrite=True)
        value = np.random.default_rng(resources.seed).standard_normal(x).astype(layer.stored.dtype)
        limits = Limits(ratio=FASTER)
        options = LatencyOptions(threads=resources.threads, seed=resources.seed, seconds=_SECONDS, limits=limits)
        (ratio,) = compare_latency(paths[0], paths[1:], standing({"x": value}), options)
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    return ratio


def _places(layer: LinearLayer, x: Shape) -> Shape:
    """The places, samples among them, at which `layer` multiplies."""
    rows = input_rows(layer, np.broadcast_to(np.float32(0), x))
    return rows.view.shape[: rows.places]


def _alone(model: ir.Model, layer: LinearLayer, x: Shape) -> ir.Model:
    """Return a model of `layer` alone, with its bias where that is constant."""
    kind = ir.TensorType(ir.DataType.from_numpy(layer.stored.dtype))
    source, result = ir.Value(name="x", shape=ir.Shape(x), type=kind), ir.Value(name="y", type=kind)
    graph = ir.Graph([source], [result], nodes=[], opset_imports={"": model.opset_imports[""]}, name="layer")
    operands = [source, source]
    operands[layer.weight_index] = initializer(graph, "weight", layer.stored)
    bias = constant(bias_of(layer.node))
    if bias is not None:
        operands.append(initializer(graph, "bias", bias))
    attributes = list(layer.node.attributes.values())
    graph.append(ir.Node("", layer.node.op_type, operands, attributes, outputs=[result], name="layer"))
    alone = ir.Model(graph, ir_version=model.ir_version)
    infer_shapes(alone)
    return alone
