"""Which integers a model takes: what it looks up in tables must not lie beyond them."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import constant
from compressctl.model.ops import MOVEMENT

_PASS_ON = MOVEMENT | {"Cast", "Identity"}


def lookup_limits(model: ir.Model) -> dict[str, int]:
    """Return, for each integer input whose values index constant tables, the rows of the smallest such table."""
    limits = {}
    for value in model.graph.inputs:
        if value.dtype is not None and value.dtype.is_integer() and (rows := _rows(value)):
            limits[value.name or ""] = min(rows)
    return limits


def _rows(value: ir.Value) -> list[int]:
    """Return the sizes of the tables that `value` indexes, directly or through what hands its elements on."""
    rows, pending, seen = [], [value], {value}
    while pending:
        for node, index in pending.pop().uses():
            if node.domain != "":
                continue
            if node.op_type == "Gather" and index == 1:
                table = constant(node.inputs[0])
                if table is not None and table.ndim:
                    rows.append(int(table.shape[node.attributes.get_int("axis", 0)]))
            elif node.op_type in _PASS_ON and index == 0 and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                pending.append(node.outputs[0])
    return rows
