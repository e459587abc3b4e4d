"""Operators that pick, join and repeat positions of an axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import constant, operand
from compressctl.structure.axes import Axes
from compressctl.structure.rules.common import follow, tie_all, weigh


def concat(node: ir.Node, axes: Axes) -> None:
    """Concat: the inputs' positions one after another."""
    output = axes.of(node.outputs[0])
    along = node.attributes["axis"].as_int() % len(output)
    start = 0
    for value in node.inputs:
        source = axes.of(value)
        for index, (a, b) in enumerate(zip(source, output, strict=True)):
            if index != along:
                axes.tie(a, b)
        size = axes.sizes[source[along]]
        axes.tie(source[along], output[along], np.arange(size[0]), start + np.arange(size[0]))
        follow(axes, node, value)
        start += size[0]


def split(node: ir.Node, axes: Axes) -> None:
    """Split: positions one after another."""
    source = axes.of(node.inputs[0])
    along = node.attributes.get_int("axis", 0) % len(source)
    start = 0
    for value in node.outputs:
        output = axes.of(value)
        for index, (a, b) in enumerate(zip(source, output, strict=True)):
            if index != along:
                axes.tie(a, b)
        size = axes.sizes[output[along]][0]
        axes.tie(source[along], output[along], start + np.arange(size), np.arange(size))
        start += size


def slice_(node: ir.Node, axes: Axes) -> None:
    """Slice: of each axis a range; axes that are sliced with a step, or by computed bounds, stay whole."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    bounds = slice_bounds(node, len(source))
    along = constant(operand(node, 3))
    sliced = set(range(len(source))) if along is None else {int(axis) % len(source) for axis in along}
    for index, (a, b) in enumerate(zip(source, output, strict=True)):
        if index not in (sliced if bounds is None else bounds):
            axes.tie(a, b)
        elif bounds is None or bounds[index][2] != 1:
            axes.freeze([a, b], f"Slice '{node.name}' picks from it with a step, or up to where it computes")
        elif not axes.is_fixed(a) or not axes.is_fixed(b):
            axes.freeze([a, b], f"Slice '{node.name}' cuts it at positions")
        else:
            start, _, _ = bounds[index]
            size = axes.sizes[a][0]
            start = max(start + size, 0) if start < 0 else min(start, size)
            kept = axes.sizes[b][0]
            axes.tie(a, b, start + np.arange(kept), np.arange(kept))


def slice_bounds(node: ir.Node, rank: int) -> dict[int, tuple[int, int, int]] | None:
    """Return (start, end, step) by axis, as the node gives them; None where they are computed."""
    starts, ends, along, steps = (constant(operand(node, index)) for index in range(1, 5))
    if starts is None or ends is None:
        return None
    if (along is None and operand(node, 3) is not None) or (steps is None and operand(node, 4) is not None):
        return None
    along = np.arange(len(starts)) if along is None else along
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    return {
        int(axis) % rank: (int(start), int(end), int(step))
        for axis, start, end, step in zip(along, starts, ends, steps, strict=True)
    }


def gather(node: ir.Node, axes: Axes) -> None:
    """Gather: positions by constant indices are followed; an axis that is looked up by computed ones stays whole."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    indices = operand(node, 1)
    rank = len(axes.of(indices))
    along = node.attributes.get_int("axis", 0) % len(source)
    tie_all(axes, [*source[:along], *source[along + 1 :]], [*output[:along], *output[along + rank :]])
    array = constant(indices)
    if array is not None and rank == 1:
        axes.tie(source[along], output[along], array % axes.sizes[source[along]][0], np.arange(len(array)))
    else:
        axes.freeze(source[along : along + 1], f"Gather '{node.name}' looks positions up in it")
        if array is None:
            tie_all(axes, axes.of(indices), output[along : along + rank])
    for index in range(len(source)):
        if index != along:
            weigh(axes, node, node.inputs[0], index, "makes")


def gather_elements(node: ir.Node, axes: Axes) -> None:
    """GatherElements: positions are looked up along one axis; along the others all are where they were."""
    source, indices, output = (axes.of(value) for value in (*node.inputs[:2], node.outputs[0]))
    along = node.attributes.get_int("axis", 0) % len(source)
    looked_up = f"GatherElements '{node.name}' looks positions up in it"
    axes.freeze([source[along]], looked_up)
    for index, (a, b, c) in enumerate(zip(source, indices, output, strict=True)):
        axes.tie(b, c)
        if index != along and axes.sizes[a] == axes.sizes[c]:
            axes.tie(a, c)
        elif index != along:
            axes.freeze([a, b, c], looked_up)
    for value in node.inputs:
        follow(axes, node, value)


def pad(node: ir.Node, axes: Axes) -> None:
    """Pad: the old positions lie in the middle; reflected and wrapped axes stay whole."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    begins = pad_begins(node, len(source))
    mode = node.attributes.get_string("mode", "constant")
    for index, (a, b) in enumerate(zip(source, output, strict=True)):
        if axes.sizes[a] == axes.sizes[b] and (begins is None or begins.get(index, 0) == 0):
            axes.tie(a, b)
        elif (
            begins is None
            or mode != "constant"
            or not axes.is_fixed(a)
            or begins[index] < 0
            or axes.sizes[b][0] < axes.sizes[a][0] + begins[index]
        ):
            axes.freeze([a, b], f"Pad '{node.name}' changes its ends")
        else:
            here = np.arange(axes.sizes[a][0])
            axes.tie(a, b, here, here + begins[index])


def pad_begins(node: ir.Node, rank: int) -> dict[int, int] | None:
    """Return how many positions a Pad adds in front, by axis; None where that is computed."""
    array, which = constant(operand(node, 1)), operand(node, 3)
    along = np.arange(rank) if which is None else constant(which)
    if array is None or along is None:
        return None
    return {int(axis) % rank: int(begin) for axis, begin in zip(along, array[: len(along)], strict=True)}


def tile(node: ir.Node, axes: Axes) -> None:
    """Tile: the positions again and again."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    for a, b in zip(source, output, strict=True):
        if axes.sizes[a] == axes.sizes[b]:
            axes.tie(a, b)
        elif axes.sizes[a] != (1, 1) and axes.is_fixed(a) and axes.is_fixed(b):
            there = np.arange(axes.sizes[b][0])
            axes.tie(a, b, there % axes.sizes[a][0], there)
        elif axes.sizes[a] != (1, 1):
            (few, other), (many, another) = axes.sizes[a], axes.sizes[b]
            axes.factor(b, (axes.virtual(node, f"repeats {a}", (many // few, another // other)), a))
        elif axes.is_fixed(b):
            axes.freeze([b], f"Tile '{node.name}' repeats it")
