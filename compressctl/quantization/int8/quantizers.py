"""Weights that the graph rounds: QuantizeLinear [-> Clip] -> DequantizeLinear between a float weight and its node.

On the grid of signs: Where(weight >= 0, 1, -1) -> DequantizeLinear. Folding puts the integers in the place of the
rounding nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats, Floats32, Integers8
from compressctl.model.graph import bias_of, constant, holder_of, initializer, insert_before
from compressctl.model.tensor_file import TensorFiles
from compressctl.numerics.grids import INT8, REDUCED, Grid
from compressctl.numerics.qparams import QParams, dequantize, least_weight_scale
from compressctl.numerics.rounding import round_weights, weight_qparams
from compressctl.quantization.int8.static import output_axis


@dataclass(frozen=True)
class Settings:
    """How weights become integers.

    Attributes:
        per_channel: one scale for each output channel, or one for each weight.
        bias_correction: take the mean error of rounding to the nearest back in the biases; see `apply`.
        reduced_range: 8-bit weights in [-64, 64].
        grids: layer -> the grid of its weights; the other layers' weights have 8 bits.
        rounded: layer -> integers of its weights, where rounding was learned; the others are rounded to the nearest.
        files: where large integers wait until the model is saved; None: in memory.
    """

    per_channel: bool = True
    bias_correction: bool = True
    reduced_range: bool = False
    grids: Mapping[str, Grid] = field(default_factory=dict)
    rounded: Mapping[str, Integers8] = field(default_factory=dict)
    files: TensorFiles | None = None

    def grid(self, node: ir.Node) -> Grid:
        """The grid of a node's weights."""
        return self.grids.get(node.name or "", REDUCED if self.reduced_range else INT8)


@dataclass(frozen=True)
class Quantizer:
    """The nodes that round the weight of one node.

    Attributes:
        node: the Conv, Gemm or MatMul.
        weight: the float initializer.
        scale, zero_point: initializers that all readers of the same weight share where they fit.
        grid: the integers.
        axis: of the weight, along which scales lie; None for a single one.
    """

    node: ir.Node
    weight: ir.Value
    scale: ir.Value
    zero_point: ir.Value
    grid: Grid
    axis: int | None

    @property
    def floats(self) -> Floats32:
        """The weight as it is now."""
        return _array(self.weight)

    @property
    def qparams(self) -> QParams:
        """Scale and zero point as they are now."""
        return QParams(_array(self.scale), _array(self.zero_point), "int8", self.axis)

    @property
    def dequantized(self) -> ir.Value:
        """The output of the DequantizeLinear, which the node reads."""
        value = self.node.inputs[1]
        assert value is not None
        return value


def round_in_graph(model: ir.Model, nodes: Iterable[ir.Node], settings: Settings) -> list[Quantizer]:
    """Put nodes that round it between each Conv, Gemm or MatMul and its float weight.

    Nodes that share a weight share its scale. Where a node reads a dequantized tensor (`insert_qdq` came first), scales
    are large enough for its bias to fit 32 bits.
    """
    graph = model.graph
    parameters: dict[tuple[ir.Value, int | None, Grid, bytes], tuple[ir.Value, ir.Value]] = {}
    quantizers = []
    for node in nodes:
        weight, grid = node.inputs[1], settings.grid(node)
        assert weight is not None
        real = _array(weight)
        axis = output_axis(node) if settings.per_channel else None
        least = _least_scale(node, real.shape[output_axis(node)])
        qparams = weight_qparams(real, axis, grid, least=least, name=f"weight {weight.name!r}")
        key = weight, axis, grid, qparams.scale.tobytes()
        if key not in parameters:
            parameters[key] = (
                initializer(graph, f"{weight.name}_scale", qparams.scale),
                initializer(graph, f"{weight.name}_zero_point", qparams.zero_point),
            )
        quantizer = Quantizer(node, weight, *parameters[key], grid, axis)
        _insert_rounding(graph, quantizer)
        quantizers.append(quantizer)
    return quantizers


def fold_weights(
    model: ir.Model, quantizers: Iterable[Quantizer], rounded: Mapping[str, Integers8] | None = None
) -> dict[ir.Node, Floats32]:
    """Store the integers of the weights in the place of the nodes that round them, once where nodes share a weight.

    Args:
        model: edited in place.
        quantizers: of its weights; they cannot be folded again.
        rounded: see `Settings`.

    Returns:
        node -> rounding error of its weight: dequantized minus float, in the weight's shape.
    """
    graph = model.graph
    stored: dict[ir.Value, tuple[ir.Value, Floats32]] = {}
    errors = {}
    for quantizer in quantizers:
        if quantizer.scale not in stored:
            real, qparams = quantizer.floats, quantizer.qparams
            integers = (rounded or {}).get(quantizer.node.name or "")
            if integers is None:
                integers = round_weights(real, qparams, quantizer.grid)
            value = initializer(graph, f"{quantizer.weight.name}_int8", integers)
            stored[quantizer.scale] = value, dequantize(integers, qparams) - real
        value, errors[quantizer.node] = stored[quantizer.scale]
        pair = quantizer.dequantized.producer()
        assert pair is not None
        last = pair.inputs[0]
        pair.replace_input_with(0, value)
        _remove_unread(graph, last)
    return errors


def _insert_rounding(graph: ir.Graph, quantizer: Quantizer) -> None:
    node, weight, grid = quantizer.node, quantizer.weight, quantizer.grid
    attributes = {} if quantizer.axis is None else {"axis": quantizer.axis}
    if grid.signs:
        zero = _shared(graph, "real_0", np.float32(0))
        one, minus = (_shared(graph, _name(sign), np.int8(sign)) for sign in (1, -1))
        positive = ir.node("GreaterOrEqual", [weight, zero])
        chain = [positive, ir.node("Where", [positive.outputs[0], one, minus])]
        positive.outputs[0].type = ir.TensorType(ir.DataType.BOOL)
    else:
        chain = [ir.node("QuantizeLinear", [weight, quantizer.scale, quantizer.zero_point], attributes=attributes)]
        if grid.narrow:
            bounds = [_shared(graph, _name(end), np.int8(end)) for end in (grid.low, grid.high)]
            chain.append(ir.node("Clip", [chain[0].outputs[0], *bounds]))
    for index, one_node in enumerate(chain):
        one_node.name = f"{node.name}_weight_round{index or ''}"
        one_node.outputs[0].shape = weight.shape
        one_node.outputs[0].type = one_node.outputs[0].type or ir.TensorType(ir.DataType.INT8)
    pair = ir.node(
        "DequantizeLinear",
        [chain[-1].outputs[0], quantizer.scale, quantizer.zero_point],
        attributes=attributes,
        name=f"{node.name}_weight_dequantize",
    )
    real = pair.outputs[0]
    real.name, real.shape, real.type = f"{node.name}_weight_dequantized", weight.shape, ir.TensorType(ir.DataType.FLOAT)
    insert_before(graph, node, [*chain, pair])
    node.replace_input_with(1, real)


def _name(integer: int) -> str:
    return f"integer_{integer}".replace("-", "minus_")


def _shared(graph: ir.Graph, name: str, scalar: Any) -> ir.Value:
    """Return the initializer of a scalar, made where there is none of this name and value."""
    found, array = graph.initializers.get(name), np.asarray(scalar)
    held = constant(found)
    if found is not None and held is not None and held.dtype == array.dtype and np.array_equal(held, array):
        return found
    return initializer(graph, name, array)


def _remove_unread(graph: ir.Graph, value: ir.Value | None) -> None:
    """Remove the nodes that made `value`, which nobody reads any more, and the initializers that they alone read."""
    if value is None or value.uses() or value.is_graph_output():
        return
    node = value.producer()
    if node is None:
        if value.is_initializer() and not value.is_graph_input():
            del graph.initializers[value.name or ""]
        return
    inputs = set(node.inputs)
    holder_of(node).remove(node, safe=True)
    for source in inputs:
        _remove_unread(graph, source)


def _least_scale(node: ir.Node, channels: int) -> Floats | float:
    found = bias_and_input_scale(node, channels)
    return least_weight_scale(_array(found[0]).reshape(-1), float(_array(found[1]))) if found is not None else 0.0


def bias_and_input_scale(node: ir.Node, channels: int) -> tuple[ir.Value, ir.Value] | None:
    """Return a node's bias and the scale of its input, where it has a bias a channel and reads a dequantized tensor."""
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    value = bias_of(node)
    bias = constant(value)
    if source is None or source.op_type != "DequantizeLinear" or bias is None or bias.size != channels:
        return None
    scale = constant(source.inputs[1])
    if value is None or source.inputs[1] is None or scale is None or scale.ndim:
        return None
    return value, source.inputs[1]


def _array(value: ir.Value) -> Array:
    array = constant(value)
    assert array is not None, f"{value.name} is no constant"
    return array
