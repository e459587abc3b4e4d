"""Embeddings that stay packed while the model runs: rows of bytes are looked up, and only those unpacked.

Gather(rows, ids) -> Cast -> Gather(table of what a byte holds) -> Reshape [-> Slice], with a scale for each row.
"""

from __future__ import annotations

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant


def looked_up_elements(value: ir.Value) -> int | None:
    """Return how many elements of an embedding a constant holds, by the nodes that look up in it.

    None where it has no part in a packed embedding; 0 where it helps: tables of bytes, scales, offsets, and all planes
    of an embedding but the one of its lowest digits.
    """
    for user in value.consumers():
        if user.op_type != "Gather" or user.inputs[0] is not value:
            continue
        if (table := _table_behind(user)) is not None:
            digits = constant(table.inputs[0])
            rows = value.shape.numpy() if value.shape is not None else ()
            assert digits is not None
            lowest = digits[1, 0] - digits[0, 0] == min(d[1, 0] - d[0, 0] for d in _digits_beside(user))
            return rows[0] * _columns(table, rows[1] * digits.shape[1]) if lowest else 0
        if _is_table_of_bytes(user) or _digits_beside(user):
            return 0
    return None


def _is_table_of_bytes(node: ir.Node) -> bool:
    """Return whether a Gather looks up what bytes of looked up rows hold."""
    cast = node.inputs[1].producer() if node.inputs[1] is not None else None
    rows = cast.inputs[0].producer() if cast is not None and cast.op_type == "Cast" and cast.inputs[0] else None
    return rows is not None and _table_behind(rows) is node


def _table_behind(node: ir.Node) -> ir.Node | None:
    """Return the Gather that unpacks what `node` looks up, or None where it looks up no packed rows."""
    if node.op_type != "Gather":
        return None
    data, index = node.inputs[:2]
    if data is None or data.dtype != ir.DataType.UINT8 or constant(index) is not None:
        return None
    if not data.is_initializer() or data.shape is None or len(data.shape) != 2:
        return None
    for cast in node.outputs[0].consumers():
        for user in cast.outputs[0].consumers() if cast.op_type == "Cast" else ():
            held = constant(user.inputs[0])
            if user.op_type == "Gather" and held is not None and held.ndim == 2:
                return user
    return None


def _digits_beside(node: ir.Node) -> list[Array]:
    """Return the tables of all packed rows that are looked up by the same ids as `node`."""
    index = node.inputs[1]
    tables = [_table_behind(user) for user in index.consumers()] if index is not None else []
    held = [constant(table.inputs[0]) for table in tables if table is not None]
    return [array for array in held if array is not None]


def _columns(table: ir.Node, most: int) -> int:
    """Return how many elements a row has: a last byte may hold more."""
    for reshape in table.outputs[0].consumers():
        for user in reshape.outputs[0].consumers():
            ends = constant(user.inputs[2]) if user.op_type == "Slice" else None
            if ends is not None:
                return min(most, int(ends[-1]))
    return most
