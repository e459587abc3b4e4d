"""Making nodes, and telling how many bytes nodes and tensors take in an ONNX file before they are in a graph.

A rewrite can build its nodes on stand-ins (same names, no graph) and so know its price without leaving a trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import onnx
import onnx_ir as ir


def make_node(
    op_type: str, inputs: Sequence[ir.Value | None], *outputs: str, domain: str = "", **attributes: int
) -> ir.Node:
    """Return a node that belongs to no graph yet; it is named as its first output ("" is an omitted one)."""
    values = [ir.Value(name=output) for output in outputs]
    return ir.node(op_type, inputs, attributes, domain=domain, outputs=values, name=next(filter(None, outputs)))


def stand_in(value: ir.Value, suffix: str = "") -> ir.Value:
    """Return a value of the same name, `suffix` added, that belongs to no graph."""
    return ir.Value(name=f"{value.name}{suffix}")


def node_bytes(nodes: Iterable[ir.Node]) -> int:
    """Return the bytes that `nodes` take in a file."""
    return sum(_field(ir.to_proto(node).ByteSize()) for node in nodes)


def tensor_bytes(name: str | None, dtype: ir.DataType, shape: Sequence[int]) -> int:
    """Return the bytes that an initializer and its type and shape take, of a type whose elements are whole bytes."""
    header = onnx.TensorProto(dims=shape, data_type=dtype.value, name=name).ByteSize()
    info = onnx.helper.make_tensor_value_info(str(name), dtype.value, shape).ByteSize()
    return _field(header + _field(prod(shape) * int(dtype.itemsize))) + _field(info)


def int8_saving(weight: ir.Value, shape: Sequence[int], scale_shape: Sequence[int]) -> int:
    """Return the bytes that int8 values and scales save on the float32 `weight`, shared out among its users."""
    saved = tensor_bytes(weight.name, ir.DataType.FLOAT, shape)
    saved -= tensor_bytes(f"{weight.name}_int8", ir.DataType.INT8, shape)
    saved -= tensor_bytes(f"{weight.name}_scale", ir.DataType.FLOAT, scale_shape)
    return saved // len(weight.consumers())


def _field(size: int) -> int:
    """Add the tag and the length that come before a field of `size` bytes (a protobuf varint holds 7 bits a byte)."""
    return 1 + max(1, -(-size.bit_length() // 7)) + size
