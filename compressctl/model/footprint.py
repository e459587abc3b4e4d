"""How many bytes nodes and tensors take in an ONNX file, computed before they are in a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import onnx
import onnx_ir as ir


def node_bytes(nodes: Iterable[ir.Node]) -> int:
    """Return the bytes that `nodes` take in a file."""
    return sum(field_bytes(ir.serde.serialize_node(node).ByteSize()) for node in nodes)


def tensor_bytes(name: str | None, dtype: ir.DataType, shape: Sequence[int]) -> int:
    """Return the bytes that an initializer takes, of a type whose elements are whole bytes."""
    header = onnx.TensorProto(dims=shape, data_type=dtype.value, name=name).ByteSize()
    return field_bytes(header + field_bytes(prod(shape) * int(dtype.itemsize)))


def info_bytes(name: str | None, dtype: ir.DataType, shape: Sequence[int]) -> int:
    """Return the bytes that the type and shape of a node's output take."""
    return field_bytes(onnx.helper.make_tensor_value_info(str(name), dtype.value, shape).ByteSize())


def sparse_bytes(name: str | None, dtype: ir.DataType, shape: Sequence[int], count: int) -> int:
    """Return the bytes of the SparseTensorProto of `count` elements, with places of 64 bits."""
    values = onnx.TensorProto(dims=[count], data_type=dtype.value, name=name).ByteSize()
    places = onnx.TensorProto(dims=[count], data_type=onnx.TensorProto.INT64).ByteSize()
    stored = (values + field_bytes(count * int(dtype.itemsize)), places + field_bytes(count * 8))
    return sum(map(field_bytes, stored)) + int(onnx.SparseTensorProto(dims=shape).ByteSize())


def field_bytes(size: int) -> int:
    """Add the tag and the length that come before a field of `size` bytes (a protobuf varint holds 7 bits a byte)."""
    return 1 + max(1, -(-size.bit_length() // 7)) + size
