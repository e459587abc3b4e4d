"""Pooling and resizing: channels stay what they are, positions move."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.structure.axes import Axes
from compressctl.structure.rules.common import result


def pool(node: ir.Node, axes: Axes) -> None:
    """All pooling operators: batch and channel axes are tied."""
    source = axes.of(node.inputs[0])
    for index in range(len(node.outputs)):
        output = result(node, index)
        if output is not None:
            made = axes.of(output)
            axes.tie(source[0], made[0])
            axes.tie(source[1], made[1])
            axes.freeze([*source[2:], *made[2:]], f"{node.op_type} slides along it")


def resize(node: ir.Node, axes: Axes) -> None:
    """Resize, Upsample: axes that keep their size are tied, the others stay whole."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    for index, (a, b) in enumerate(zip(source, output, strict=True)):
        if index < 2 and axes.sizes[a] == axes.sizes[b]:
            axes.tie(a, b)
        else:
            axes.freeze([a, b], f"{node.op_type} '{node.name}' interpolates along it")


def grid_sample(node: ir.Node, axes: Axes) -> None:
    """GridSample: input [N, C, …], grid [N, …, rank], output [N, C, …]."""
    source, grid, output = axes.of(node.inputs[0]), axes.of(node.inputs[1]), axes.of(node.outputs[0])
    axes.tie(source[0], output[0])
    axes.tie(source[1], output[1])
    axes.freeze([*source[2:], *grid, *output[2:]], f"GridSample '{node.name}' samples along it")
