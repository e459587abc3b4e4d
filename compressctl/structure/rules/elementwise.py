"""Operators that treat every element alike, with numpy's broadcasting."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.structure.axes import Axes
from compressctl.structure.rules.common import follow, is_constant, tie_all, tie_broadcast


def elementwise(node: ir.Node, axes: Axes) -> None:
    """Tie every operand to the output."""
    output = axes.of(node.outputs[0])
    for value in node.inputs:
        if value is not None:
            tie_broadcast(axes, axes.of(value), output)
            follow(axes, node, value)


def unary(node: ir.Node, axes: Axes) -> None:
    """Tie the first input to the outputs; other inputs (bounds, ratios) are scalars."""
    assert node.inputs[0] is not None
    source = axes.of(node.inputs[0])
    for output in node.outputs:
        if output.name:
            tie_all(axes, source, axes.of(output))


def softmax(node: ir.Node, axes: Axes) -> None:
    """Tie all axes; the one whose elements sum to 1 stays whole."""
    unary(node, axes)
    output = axes.of(node.outputs[0])
    axis = node.attributes.get_int("axis", -1) % len(output)
    axes.freeze(output[axis : axis + 1], f"{node.op_type} '{node.name}' normalises over all of it")


def cumulative(node: ir.Node, axes: Axes) -> None:
    """CumSum: the axis is an order."""
    unary(node, axes)
    axes.freeze(axes.of(node.outputs[0]), f"{node.op_type} '{node.name}' runs along it")


def quantized(node: ir.Node, axes: Axes) -> None:
    """QuantizeLinear, DequantizeLinear: scales for each index of `axis` follow it."""
    unary(node, axes)
    source = axes.of(node.inputs[0])
    axis = node.attributes.get_int("axis", 1)
    for value in node.inputs[1:]:
        if value is None:
            continue
        scale = axes.of(value)
        if len(scale) == 1 and axes.sizes[scale[0]] == axes.sizes[source[axis]] and is_constant(value):
            axes.tie(scale[0], source[axis])
            follow(axes, node, value)
        elif scale and axes.sizes[scale[0]] != (1, 1):
            axes.freeze(source, f"{node.op_type} '{node.name}' has scales for blocks")


def unrelated(node: ir.Node, axes: Axes) -> None:
    """Constant, ConstantOfShape: what they make has positions of its own."""


def shape(node: ir.Node, axes: Axes) -> None:
    """Shape: the graph goes on with the sizes that were (see `rewrites`), but its users would see those that are."""
    if node.outputs[0].is_graph_output():
        axes.freeze(axes.of(node.inputs[0]), f"'{node.outputs[0].name}' tells its size")


def counted(node: ir.Node, axes: Axes) -> None:
    """Size: one number for all axes."""
    axes.freeze(axes.of(node.inputs[0]), f"Size '{node.name}' counts its positions")
