"""Reductions over axes."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import constant, operand
from compressctl.model.tensors import FLOATS
from compressctl.structure.axes import Axes, UnknownShapeError
from compressctl.structure.rules.common import freeze_sums, tie_all

_ADDITIVE = frozenset({"ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"})  # a position of zeros adds nothing


def reduce(node: ir.Node, axes: Axes) -> None:
    """Reduce*: means are statistics across an axis, sums do without a position, extrema keep the axis whole."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    reduced = _reduced(node, len(source))
    kept = [axis for index, axis in enumerate(source) if index not in reduced]
    if node.attributes.get_int("keepdims", 1):
        tie_all(axes, kept, [axis for index, axis in enumerate(output) if index not in reduced])
    else:
        tie_all(axes, kept, output)
    gone = [source[index] for index in sorted(reduced)]
    freeze_sums(axes, node, node.inputs[:1], gone)
    if node.op_type == "ReduceMean":
        axes.statistics.update(gone)
    elif node.op_type not in _ADDITIVE or not (node.inputs[0] and node.inputs[0].dtype in FLOATS):
        axes.freeze(gone, f"{node.op_type} '{node.name}' compares its positions")


def _reduced(node: ir.Node, rank: int) -> set[int]:
    along = node.attributes.get_ints("axes", None)
    value = operand(node, 1)
    if along is None and value is not None:
        array = constant(value)
        if array is None:
            raise UnknownShapeError("axes")
        along = tuple(array.tolist())
    if not along:
        return set() if node.attributes.get_int("noop_with_empty_axes", 0) else set(range(rank))
    return {int(axis) % rank for axis in along}


def arg_reduce(node: ir.Node, axes: Axes) -> None:
    """ArgMax, ArgMin: the answer is a position of the axis."""
    source, output = axes.of(node.inputs[0]), axes.of(node.outputs[0])
    along = node.attributes.get_int("axis", 0) % len(source)
    axes.freeze(source[along : along + 1], f"{node.op_type} '{node.name}' names its positions")
    kept = [axis for index, axis in enumerate(source) if index != along]
    same = node.attributes.get_int("keepdims", 1)
    tie_all(axes, kept, [axis for index, axis in enumerate(output) if not same or index != along])


def top_k(node: ir.Node, axes: Axes) -> None:
    """TopK: orders the positions of an axis."""
    source = axes.of(node.inputs[0])
    along = node.attributes.get_int("axis", -1) % len(source)
    for value in node.outputs:
        if value.name:
            output = axes.of(value)
            axes.freeze([source[along], output[along]], f"TopK '{node.name}' orders its positions")
            for index, (a, b) in enumerate(zip(source, output, strict=True)):
                if index != along:
                    axes.tie(a, b)
