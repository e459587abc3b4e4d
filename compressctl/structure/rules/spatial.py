"""Pooling, resizing, regions: channels stay what they are, positions move."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import constant, operand
from compressctl.structure.axes import Axes
from compressctl.structure.rules.common import result


def pool(node: ir.Node, axes: Axes) -> None:
    """All pooling operators: batch and channel axes are tied."""
    source = axes.of(node.inputs[0])
    if result(node, 1) is not None:
        axes.freeze(source[1:2], f"{node.op_type} '{node.name}' tells where in it maxima lie")
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
    same = _unscaled(node, len(source))
    for index, (a, b) in enumerate(zip(source, output, strict=True)):
        if index in same and axes.sizes[a] == axes.sizes[b]:
            axes.tie(a, b)
        else:
            axes.freeze([a, b], f"{node.op_type} '{node.name}' interpolates along it")


def roi_align(node: ir.Node, axes: Axes) -> None:
    """RoiAlign: input [N, C, H, W], regions [R, 4] of images [R], output [R, C, h, w]."""
    source, regions, images = (axes.of(value) for value in node.inputs[:3])
    output = axes.of(node.outputs[0])
    axes.tie(regions[0], output[0])
    axes.tie(images[0], output[0])
    axes.tie(source[1], output[1])
    kept = [source[0], *source[2:], regions[1], *output[2:]]
    axes.freeze(kept, f"RoiAlign '{node.name}' takes regions of it")


def non_max_suppression(node: ir.Node, axes: Axes) -> None:
    """NonMaxSuppression: which class and which box is told by its place, so that all of them stay."""
    for value in (*node.inputs, *node.outputs):
        axes.freeze(axes.of(value), f"NonMaxSuppression '{node.name}' tells places in it")


def _unscaled(node: ir.Node, rank: int) -> set[int]:
    """Return the axes that keep their positions if they keep their size."""
    if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return set()
    resized = [axis % rank for axis in node.attributes.get_ints("axes", None) or range(rank)]
    scales = constant(operand(node, 2 if node.op_type == "Resize" else 1))
    if operand(node, 3) is not None and node.attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch":
        scales = np.ones(len(resized))
    if scales is None:
        return set(range(rank)) - set(resized)
    return set(range(rank)) - {axis for axis, scale in zip(resized, scales, strict=True) if scale != 1}


def grid_sample(node: ir.Node, axes: Axes) -> None:
    """GridSample: input [N, C, …], grid [N, …, rank], output [N, C, …]."""
    source, grid, output = axes.of(node.inputs[0]), axes.of(node.inputs[1]), axes.of(node.outputs[0])
    axes.tie(source[0], output[0])
    axes.tie(source[1], output[1])
    axes.freeze([*source[2:], *grid, *output[2:]], f"GridSample '{node.name}' samples along it")
