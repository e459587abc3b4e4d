"""Large weights inside a model file are left there: what is parsed says where they lie, and they are read when used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir

from compressctl.model import wire
from compressctl.model.wire import Field

_HERE = "\0here"  # as the location of external data: this very file; no file bears such a name
_LEAST = 1 << 20  # bytes of a weight that is left in the file
_FROM = 1 << 24  # bytes of a file in which weights are looked for; smaller ones are parsed as they are
_ELSEWHERE = (13, 14)  # fields of TensorProto: external_data, data_location


def without_weights(path: Path) -> bytes | None:
    """Return the bytes of a model whose large weights stay behind; None where there are none, or they cannot be told.

    Each becomes external data at its offset in the file, see `embedded_bytes`.
    """
    file_bytes = path.stat().st_size
    if file_bytes < _FROM or path.resolve().stat().st_nlink > 1:  # onnx_ir maps no file that is hard-linked
        return None
    try:
        with path.open("rb") as file:
            graphs = [one for one in _fields(file, 0, file_bytes) if one[1].number == wire.GRAPH]
            if len(graphs) != 1 or not graphs[0][1].nested:
                return None
            (begin, graph), pieces, at = graphs[0], [], graphs[0][1].start
            for start, field in _fields(file, graph.start, graph.length):
                if field.number == wire.INITIALIZER and field.nested and (found := _raw_data(file, field)):
                    pieces += [
                        _read(file, at, start),
                        wire.delimited(wire.INITIALIZER, _referring(file, field, *found)),
                    ]
                    at = field.end
            pieces.append(_read(file, at, graph.end))
            whole = (_read(file, 0, begin), wire.delimited(wire.GRAPH, b"".join(pieces)))
            return b"".join((*whole, _read(file, graph.end, file_bytes))) if len(pieces) > 1 else None
    except ValueError:  # no such message: said where it is parsed as a whole
        return None


def embedded_bytes(tensor: onnx.TensorProto) -> int | None:
    """Return how many bytes of a tensor were left in the model's file; None where they were not."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return int(entries.get("length", 0)) if entries.get("location") == _HERE else None


def found(tensor: ir.TensorProtocol, path: Path) -> ir.TensorProtocol:
    """Return a tensor of the model in the file `path`; one whose data were left there is mapped when used."""
    if not isinstance(tensor, ir.ExternalTensor) or tensor.location != _HERE:
        return tensor
    real = path.resolve()
    offset, length, shape = tensor.offset, tensor.length, tensor.shape
    return ir.ExternalTensor(
        real.name, offset, length, tensor.dtype, shape=shape, name=tensor.name or "", base_dir=real.parent
    )


def _raw_data(file: BinaryIO, tensor: Field) -> tuple[int, Field] | None:
    """Return where a tensor's raw data begin, and their field; None where they are small or not all that it holds."""
    if tensor.length < _LEAST:
        return None
    found = None
    for start, field in _fields(file, tensor.start, tensor.length):
        if field.number in _ELSEWHERE or (field.number == wire.RAW_DATA and found is not None):
            return None
        if field.number == wire.RAW_DATA and field.nested:
            found = start, field
    return found if found is not None and found[1].length >= _LEAST else None


def _referring(file: BinaryIO, tensor: Field, start: int, data: Field) -> bytes:
    """Return the bytes of a tensor that says where its data lie."""
    reference = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": _HERE, "offset": str(data.start), "length": str(data.length)}.items():
        reference.external_data.add(key=key, value=value)
    return _read(file, tensor.start, start) + _read(file, data.end, tensor.end) + wire.encoded(reference)


def _fields(file: BinaryIO, start: int, length: int) -> Iterator[tuple[int, Field]]:
    """Yield the fields of a message, each with where its tag begins."""
    for field in wire.fields(file, start, length):
        yield start, field
        start = field.end


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)
