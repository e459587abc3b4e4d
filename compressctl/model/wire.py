"""A model's protobuf bytes piece by piece: one weight at a time, where protobuf itself would copy all of them twice.

Field numbers are those of onnx.proto; the format is protobuf's encoding guide's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
from onnx import TensorProto

_GRAPH = 7  # ModelProto.graph
_INITIALIZER = 5  # GraphProto.initializer
_RAW_DATA = 9  # TensorProto.raw_data


def pieces(model: ir.Model, keep: Path | None = None) -> Iterator[bytes]:
    """Yield the serialized ModelProto of `model`, whose initializers this takes out: hand it a clone.

    Args:
        model: a clone of the model.
        keep: the data file that external tensors may refer to; others are read into the bytes.
    """
    weights: list[tuple[bytes, ir.TensorProtocol]] = []
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            continue
        if isinstance(tensor, ir.ExternalTensor) and Path(tensor.path) == keep:
            continue
        header = TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
        weights.append((header.SerializeToString(deterministic=True) + _field(_RAW_DATA, tensor.nbytes), tensor))
        del model.graph.initializers[name]
    proto = ir.to_proto(model)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    yield proto.SerializeToString(deterministic=True)
    prefixes = [_field(_INITIALIZER, len(header) + tensor.nbytes) + header for header, tensor in weights]
    yield _field(_GRAPH, len(graph) + sum(map(len, prefixes)) + sum(tensor.nbytes for _, tensor in weights))
    yield graph
    for prefix, (_, tensor) in zip(prefixes, weights, strict=True):
        yield prefix
        data = tensor.tobytes()
        if len(data) != tensor.nbytes:
            raise ValueError(f"tensor {tensor.name!r} holds {len(data)} bytes, its type and shape say {tensor.nbytes}")
        yield data


def _field(number: int, length: int) -> bytes:
    """Return the tag and the length that stand before the bytes of a field (both varints)."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
