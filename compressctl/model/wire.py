"""A model's protobuf bytes piece by piece: one weight at a time, where protobuf itself would copy all of them twice.

Field numbers are those of onnx.proto; the format is that of protobuf's encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import onnx_ir as ir
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from compressctl.model.coo import CooTensor
from compressctl.model.footprint import field_bytes, sparse_bytes
from compressctl.model.tensors import byte_blocks

GRAPH = 7  # ModelProto.graph
INITIALIZER = 5  # GraphProto.initializer
_SPARSE = 15  # GraphProto.sparse_initializer
RAW_DATA = 9  # TensorProto.raw_data


def encoded(message: Any) -> bytes:
    """Return the bytes of a protobuf message, the same for the same message.

    Raises:
        MemoryError: there is not enough memory, which protobuf calls an error of encoding.
    """
    try:
        data: bytes = message.SerializeToString(deterministic=True)
    except EncodeError as error:
        raise MemoryError from error
    return data


class Field(NamedTuple):
    """A field of a message in a file.

    Attributes:
        number: in the message's definition.
        start: where its content begins in the file.
        length: bytes of its content.
        value: of a varint, else 0.
        nested: whether it is delimited by a length: a message, a string, bytes, or packed numbers.
    """

    number: int
    start: int
    length: int
    value: int = 0
    nested: bool = False

    @property
    def end(self) -> int:
        """Where what follows it begins."""
        return self.start + self.length


def pieces(model: ir.Model, ir_version: int, keep: Path | None = None) -> Iterator[bytes]:
    """Yield the serialized ModelProto of `model`, which is changed for a moment and is the same after the first piece.

    Args:
        model: the model.
        ir_version: to write.
        keep: the data file that external tensors may refer to; others are read into the bytes.
    """
    proto, weights, sparse = _apart(model, keep)
    proto.ir_version = ir_version
    graph = encoded(proto.graph)
    proto.ClearField("graph")
    yield encoded(proto)
    prefixes = [_field(INITIALIZER, len(header) + tensor.nbytes) + header for header, tensor in weights]
    sizes = [sparse_bytes(name, tensor.dtype, tensor.shape.numpy(), tensor.values.size) for name, tensor in sparse]
    total = len(graph) + sum(map(len, prefixes)) + sum(tensor.nbytes for _, tensor in weights)
    yield _field(GRAPH, total + sum(map(field_bytes, sizes)))
    yield graph
    for (name, tensor), size in zip(sparse, sizes, strict=True):
        yield _field(_SPARSE, size)
        yield encoded(tensor.proto(name))
    for prefix, (_, weight) in zip(prefixes, weights, strict=True):
        yield prefix
        held = 0
        for data in byte_blocks(weight):
            held += len(data)
            yield data
        if held != weight.nbytes:
            raise ValueError(f"tensor {weight.name!r} holds {held} bytes, its type and shape say {weight.nbytes}")


def _apart(
    model: ir.Model, keep: Path | None
) -> tuple[ModelProto, list[tuple[bytes, ir.TensorProtocol]], list[tuple[str, CooTensor]]]:
    """Return the proto of a model without most of its weights; those, with what stands before their data; sparse ones.

    The weights are taken out of `model` meanwhile, for a clone takes several times as long.
    """
    weights: list[tuple[bytes, ir.TensorProtocol]] = []
    sparse: list[tuple[str, CooTensor]] = []
    initializers = model.graph.initializers
    held = dict(initializers)
    try:
        for name, value in held.items():
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING:
                continue
            if isinstance(tensor, ir.ExternalTensor) and Path(tensor.path) == keep:
                continue
            if isinstance(tensor, CooTensor):
                sparse.append((name, tensor))
                del initializers[name]
                continue
            header = TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
            weights.append((encoded(header) + _field(RAW_DATA, tensor.nbytes), tensor))
            del initializers[name]
        return ir.to_proto(model), weights, sparse
    finally:
        initializers.clear()  # so that they come back in their order
        initializers.update(held)


def fields(file: BinaryIO, start: int, length: int) -> Iterator[Field]:
    """Yield the fields of the message that takes `length` bytes of `file` from `start` on; contents are not read.

    The file's position may be moved between two fields.

    Raises:
        ValueError: the bytes are no message.
    """
    at, end = start, start + length
    while at < end:
        file.seek(at)
        tag = read_varint(file)
        number, value, begin = tag >> 3, 0, file.tell()
        match tag & 7:
            case 0:
                value = read_varint(file)
                at = file.tell()
            case 1:
                at = begin + 8
            case 2:
                size = read_varint(file)
                begin = file.tell()
                at = begin + size
            case 5:
                at = begin + 4
            case other:
                raise ValueError(f"wire type {other}")
        if number == 0 or at > end:
            raise ValueError("a field without a number" if at <= end else "truncated")
        yield Field(number, begin, at - begin, value, tag & 7 == 2)


def read_varint(file: BinaryIO) -> int:
    """Read an integer of up to 64 bits.

    Raises:
        ValueError: the file ends, or the integer does not.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("truncated")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("varint too long")


def delimited(number: int, content: bytes) -> bytes:
    """Return a field whose content stands behind its length."""
    return _field(number, len(content)) + content


def varint(value: int) -> bytes:
    """Return an integer >= 0 in the form that `read_varint` reads."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _field(number: int, length: int) -> bytes:
    """Return the tag and the length that stand before the bytes of a field (both varints)."""
    return varint(number << 3 | 2) + varint(length)
