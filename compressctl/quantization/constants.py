"""Giving a node another constant in the place of one that it reads."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant, initializer


def floats(node: ir.Node, index: int) -> Array:
    """Return the constant that a node reads as input `index`."""
    array = constant(node.inputs[index])
    assert array is not None
    return array


def replace_constant(graph: ir.Graph, node: ir.Node, index: int, array: Array, why: str) -> None:
    """Let `node` read `array`, in the old constant's type, as input `index`.

    Other readers of the old constant keep it; an initializer that nobody reads any more is removed.

    Args:
        graph: the graph that holds `node`.
        node: the reader.
        index: which input.
        array: of the same shape as the old constant.
        why: suffix of the new name.
    """
    old = node.inputs[index]
    assert old is not None
    new = initializer(graph, f"{old.name}_{why}", array.astype(floats(node, index).dtype))
    node.replace_input_with(index, new)
    if old.is_initializer() and not (old.uses() or old.is_graph_output()) and old.name is not None:
        del graph.initializers[old.name]
