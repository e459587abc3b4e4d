"""How many bytes nodes and tensors take in an ONNX file, told before they are in a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import onnx
import onnx_ir as ir


def node_bytes(nodes: Iterable[ir.Node]) -> int:
    """Return the bytes that `nodes` take in a file."""
    return sum(_field(ir.to_proto(node).ByteSize()) for node in nodes)


def tensor_bytes(name: str | None, dtype: ir.DataType, shape: Sequence[int]) -> int:
    """Return the bytes that an initializer and its type and shape take, of a type whose elements are whole bytes."""
    header = onnx.TensorProto(dims=shape, data_type=dtype.value, name=name).ByteSize()
    info = onnx.helper.make_tensor_value_info(str(name), dtype.value, shape).ByteSize()
    return _field(header + _field(prod(shape) * int(dtype.itemsize))) + _field(info)


def _field(size: int) -> int:
    """Add the tag and the length that come before a field of `size` bytes (a protobuf varint holds 7 bits a byte)."""
    return 1 + max(1, -(-size.bit_length() // 7)) + size
