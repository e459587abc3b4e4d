"""Operators that give the same elements another shape."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from compressctl.structure.axes import Axes
from compressctl.structure.rules.common import tie_all
from compressctl.structure.shapes import product


def reshape(node: ir.Node, axes: Axes) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: runs of axes with as many elements are one another."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    relate(node, axes, source, output)


def relate(node: ir.Node, axes: Axes, source: Sequence[int], output: Sequence[int]) -> None:
    """Relate two shapes of the same elements, row-major."""
    left = [axis for axis in source if axes.sizes[axis] != (1, 1)]
    right = [axis for axis in output if axes.sizes[axis] != (1, 1)]
    for some, others in _runs(axes, left, right):
        if len(some) == 1 and len(others) == 1:
            axes.tie(some[0], others[0])
        elif len(some) == 1:
            axes.factor(some[0], others)
        elif len(others) == 1:
            axes.factor(others[0], some)
        else:
            _interleave(node, axes, list(some), list(others))


def _interleave(node: ir.Node, axes: Axes, left: list[int], right: list[int]) -> None:
    """Relate two runs, of which one begins with a multiple of the other's first size as long as that goes."""
    while left and right:
        (a, b), turned = (left[0], right[0]), False
        if axes.sizes[a][0] < axes.sizes[b][0]:
            a, b, turned = b, a, True
        (many, other), (few, another) = axes.sizes[a], axes.sizes[b]
        label = f"inner {len(axes.axes)}"
        if many % few or other % another:
            whole = axes.virtual(node, label, product(axes.sizes[axis] for axis in left))
            axes.factor(whole, tuple(left))
            axes.factor(whole, tuple(right))
            return
        inner = axes.virtual(node, label, (many // few, other // another))
        axes.factor(a, (b, inner))
        longer, shorter = (right, left) if turned else (left, right)
        del shorter[0]
        longer[:1] = [] if axes.sizes[inner] == (1, 1) else [inner]


def _runs(axes: Axes, left: list[int], right: list[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the shortest runs of both sides that hold the same number of elements at both input sizes."""
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        m, n = i + 1, j + 1
        while True:
            a, b = (product(axes.sizes[axis] for axis in run) for run in (left[i:m], right[j:n]))
            if a == b:
                break
            if (a[0] < b[0] or n == len(right)) and m < len(left):
                m += 1
            elif n < len(right):
                n += 1
            else:
                axes.freeze([*left[i:], *right[j:]], "a reshape of it is not understood")
                return found
        found.append((tuple(left[i:m]), tuple(right[j:n])))
        i, j = m, n
    axes.freeze([*left[i:], *right[j:]], "a reshape of it is not understood")
    return found


def transpose(node: ir.Node, axes: Axes) -> None:
    """Transpose: output axis i is input axis perm[i]."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(source)))))
    assert perm is not None
    tie_all(axes, [source[i] for i in perm], output)


def expand(node: ir.Node, axes: Axes) -> None:
    """Expand: axes of size 1 are repeated, new ones put in front."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    for a, b in zip(reversed(source), reversed(output), strict=False):
        if axes.sizes[a] == axes.sizes[b]:
            axes.tie(a, b)


def depth_to_space(node: ir.Node, axes: Axes) -> None:
    """DepthToSpace: channels are (block, block, c) or (c, block, block)."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    block = node.attributes["blocksize"].as_int()
    axes.tie(source[0], output[0])
    square = axes.virtual(node, "block", (block * block, block * block))
    mode = node.attributes.get_string("mode", "DCR")
    axes.factor(source[1], (square, output[1]) if mode == "DCR" else (output[1], square))
    axes.freeze([square, *source[2:], *output[2:]], f"DepthToSpace '{node.name}' moves it")


def space_to_depth(node: ir.Node, axes: Axes) -> None:
    """SpaceToDepth: channels become (block, block, c)."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    block = node.attributes["blocksize"].as_int()
    axes.tie(source[0], output[0])
    square = axes.virtual(node, "block", (block * block, block * block))
    axes.factor(output[1], (square, source[1]))
    axes.freeze([square, *source[2:], *output[2:]], f"SpaceToDepth '{node.name}' moves it")
