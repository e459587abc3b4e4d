"""The layers of a model that an explanation speaks of: nodes that have weights, and what may be folded into them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import constant


@dataclass(frozen=True)
class WeightedNode:
    """A node with weights, by names.

    Attributes:
        name: of the node.
        op: its operator.
        input: the value that it reads beside the weight.
        weight: which of its inputs the weight is.
        values: its output, then what normalisation and constants of its own make of it: a pass may fold them into it.
    """

    name: str
    op: str
    input: str
    weight: int
    values: tuple[str, ...]


def weighted_nodes(graph: ir.Graph) -> tuple[WeightedNode, ...]:
    """Return the nodes of `graph` itself that multiply by weights or look rows of them up, in its order."""
    fixed = constant_values(graph)
    found = []
    for node in graph:
        index = _weight_index(node, fixed)
        if index is not None:
            read = node.inputs[1 - index if index < 2 else 0]
            names = tuple(value.name or "" for value in _foldable(node, fixed))
            found.append(WeightedNode(node.name or "", node.op_type, (read and read.name) or "", index, names))
    return tuple(found)


def constant_values(graph: ir.Graph) -> set[ir.Value]:
    """Return the values of `graph` that depend on constants alone."""
    fixed = {value for value in graph.initializers.values() if not value.is_graph_input()}
    for node in graph:
        if constant(node.outputs[0]) is not None or (
            node.inputs and all(value is None or value in fixed for value in node.inputs)
        ):
            fixed.update(node.outputs)
    return fixed


def _weight_index(node: ir.Node, fixed: set[ir.Value]) -> int | None:
    for index in ops.operands(node.op_type).matrices:
        if index >= len(node.inputs) or node.outputs[0] in fixed:
            return None
        weight = node.inputs[index]
        if weight is None or weight not in fixed:
            continue
        if node.op_type not in ops.LOOK_UPS:
            return index
        shape, dtype = weight.shape, weight.dtype
        floats = dtype is None or dtype.is_floating_point() or dtype.bitwidth <= 8
        return index if floats and shape is not None and len(shape) > 1 else None
    return None


def _foldable(node: ir.Node, fixed: set[ir.Value]) -> list[ir.Value]:
    values = [node.outputs[0]]
    while len(users := values[-1].consumers()) == 1 and not values[-1].is_graph_output():
        user = users[0]
        others = [value for value in user.inputs if value is not None and value is not values[-1]]
        folds = user.op_type == "BatchNormalization" or (user.op_type in ops.ARITHMETIC and len(others) == 1)
        if user.graph is not node.graph or user.domain or not folds or not all(value in fixed for value in others):
            break
        values.append(user.outputs[0])
    return values
