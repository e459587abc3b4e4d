"""Embedding tables as int8 rows with a scale each: Gather(rows) -> Cast -> Mul(Gather(scales)).

Only the rows that are looked up are made float, so the table stays at a quarter of its size in the file and in memory
at no cost in time. Each row has its own scale: one for the whole table would drown the small rows of common tokens.
"""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.footprint import node_bytes
from compressctl.model.graph import replace_node
from compressctl.notes import Note, done
from compressctl.quantization.int8.weights import (
    Int8Weights,
    int8_saving,
    make_node,
    obstacle_of,
    shape_of,
    stand_in,
    tensor_of,
)


def is_embedding(node: ir.Node) -> bool:
    """Return whether `node` looks up slices of a constant float tensor of two axes or more."""
    table = tensor_of(node.inputs[0]) if node.op_type == "Gather" and not node.domain else None
    return table is not None and len(table.shape) >= 2 and table.dtype.is_floating_point()


def obstacle(node: ir.Node) -> str | None:
    """Return why the embedding `node` cannot be quantized, or None."""
    if reason := obstacle_of(node.inputs[0]):
        return reason
    table, axis = node.inputs[0], node.attributes.get_int("axis", 0)
    assert table is not None
    rank = len(shape_of(table))
    return None if rank == 2 and axis in (0, -2) else f"it looks up slices along axis {axis} of {rank}, not rows"


def saved_bytes(node: ir.Node) -> int:
    """Return by how many bytes quantizing `node`, which has no obstacle, shrinks the file.

    Nodes that use the same table share what is saved on it.
    """
    table, indices = node.inputs[:2]
    assert table is not None and indices is not None
    rows, columns = shape_of(table)
    emitted = _emit(node, stand_in(table, "_int8"), stand_in(table, "_scale"), stand_in(indices))
    return int8_saving(table, (rows, columns), (rows, 1)) + node_bytes([node]) - node_bytes(emitted)


def quantize(model: ir.Model, node: ir.Node, weights: Int8Weights) -> Note:
    """Store the table of a Gather, which has no obstacle, as int8 rows [V, D] and float32 scales [V, 1].

    Indices may have any rank. A table that something else uses in float stays in the file beside its int8 form.
    """
    table, indices = node.inputs[:2]
    assert table is not None and indices is not None
    rows, scale = weights.values(table, "rows"), weights.scale(table, "rows", keepdims=True)
    replace_node(model.graph, node, _emit(node, rows, scale, indices))
    return done("embedding rows stored as int8", node.name)


def _emit(node: ir.Node, rows: ir.Value, scale: ir.Value, indices: ir.Value) -> list[ir.Node]:
    name = str(node.outputs[0].name)
    gather = make_node("Gather", [rows, indices], f"{name}_int8")
    cast = make_node("Cast", gather.outputs, f"{name}_unscaled", to=ir.DataType.FLOAT.value)
    scales = make_node("Gather", [scale, indices], f"{name}_scale")
    return [gather, cast, scales, make_node("Mul", [cast.outputs[0], scales.outputs[0]], name)]
