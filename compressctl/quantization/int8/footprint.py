"""Making nodes and telling what they save before they are in a graph.

A rewrite can build its nodes on stand-ins (same names, no graph) and so know its price without leaving a trace.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from compressctl.model.footprint import tensor_bytes


def make_node(
    op_type: str, inputs: Sequence[ir.Value | None], *outputs: str, domain: str = "", **attributes: int
) -> ir.Node:
    """Return a node that belongs to no graph yet; it is named as its first output ("" is an omitted one)."""
    values = [ir.Value(name=output) for output in outputs]
    return ir.node(op_type, inputs, attributes, domain=domain, outputs=values, name=next(filter(None, outputs)))


def stand_in(value: ir.Value, suffix: str = "") -> ir.Value:
    """Return a value of the same name, `suffix` added, that belongs to no graph."""
    return ir.Value(name=f"{value.name}{suffix}")


def int8_saving(weight: ir.Value, shape: Sequence[int], scale_shape: Sequence[int]) -> int:
    """Return the bytes that int8 values and scales save on the float32 `weight`, shared out among its users."""
    saved = tensor_bytes(weight.name, ir.DataType.FLOAT, shape)
    saved -= tensor_bytes(f"{weight.name}_int8", ir.DataType.INT8, shape)
    saved -= tensor_bytes(f"{weight.name}_scale", ir.DataType.FLOAT, scale_shape)
    return saved // len(weight.consumers())
