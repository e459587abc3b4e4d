"""Axes whose size a graph uses as a number, such as a scale by the square root of a head's size: they stay whole.

Where a size only says the shape of another value (Reshape, Expand, …) it may change: `rewrites` sets such shapes anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from compressctl.model.graph import constant
from compressctl.structure.axes import Axes, UnknownShapeError

# fmt: off
_ARITHMETIC = frozenset({
    "Abs", "Add", "Cast", "Concat", "Div", "Expand", "Floor", "Gather", "Identity", "Max", "Min", "Mod", "Mul", "Neg",
    "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze", "Where",
})
# fmt: on
_SHAPE_OPERAND = {"Reshape": (1,), "Expand": (1,), "ConstantOfShape": (0,), "Resize": (3,)}


def freeze_numbers(graph: ir.Graph, axes: Axes) -> None:
    """Freeze the axes whose size reaches anything but the shape operand of another node."""
    for node in graph:
        if node.domain or node.op_type not in ("Shape", "Size"):
            continue
        source = node.inputs[0]
        assert source is not None
        try:
            places = axes.of(source)
        except UnknownShapeError:
            continue
        for chosen, reader in _readers(node, len(places)):
            axes.freeze([places[index] for index in chosen], f"'{reader}' computes with its size")


def _readers(shape: ir.Node, rank: int) -> Iterator[tuple[range | list[int], str]]:
    """Yield (axes, node or output): who uses the sizes of these axes as numbers."""
    everything = range(rank)[slice(shape.attributes.get_int("start", 0), shape.attributes.get_int("end", None))]
    if shape.op_type == "Size":
        everything = range(rank)
    waiting: list[tuple[ir.Value, range | list[int], bool]] = [(shape.outputs[0], everything, True)]
    seen: set[ir.Value] = set()
    while waiting:
        value, chosen, whole = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.is_graph_output():
            yield chosen, value.name or ""
        for node, index in ((use.node, use.idx) for use in value.uses()):
            if node.graph is not shape.graph or node.domain:
                yield chosen, node.name or ""
            elif index in _SHAPE_OPERAND.get(node.op_type, ()):
                continue
            elif node.op_type in _ARITHMETIC:
                picked = _picked(node, index, chosen) if whole and shape.op_type == "Shape" else None
                waiting.append((node.outputs[0], chosen if picked is None else picked, False))
            elif not _is_dynamic_only(node):
                yield chosen, node.name or ""


def _picked(node: ir.Node, index: int, chosen: range | list[int]) -> list[int] | None:
    """Return the axes whose sizes a Gather picks from a shape."""
    if node.op_type != "Gather" or index != 0:
        return None
    indices = constant(node.inputs[1])
    return None if indices is None else [chosen[int(i)] for i in indices.ravel()]


def _is_dynamic_only(node: ir.Node) -> bool:
    """Shape of a shape: its size is a rank."""
    return node.op_type in ("Shape", "Size")
