"""Where in the files of a model its tensors lie: the .onnx file is walked field by field, tensors are passed over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from compressctl.container.signature import is_packed
from compressctl.errors import ModelError
from compressctl.model import read, wire
from compressctl.model.external import external_files

_TENSOR = TensorProto.DESCRIPTOR
_NODE = onnx.NodeProto.DESCRIPTOR
_NODE_OUTPUT, _OPSET = 2, 8
# Bytes of a number in each data field of a tensor: floats, int32s, strings, int64s, raw data, doubles, uint64s. Packed
# integers are varints of any length, strings stay where they are, and raw data have numbers of the tensor's type.
_STRINGS = 6
_DATA = {4: 4, 5: 1, _STRINGS: 0, 7: 1, wire.RAW_DATA: 0, 10: 8, 11: 1}
_COMPLEX = {ir.DataType.COMPLEX64: 4, ir.DataType.COMPLEX128: 8}  # two numbers an element


class Region(NamedTuple):
    """Bytes that hold the elements of one tensor.

    Attributes:
        start: in its file.
        length: in bytes.
        width: bytes of a number; `length` is a multiple of it.
        elements: of the tensor.
        name: of the tensor, or of what the node that holds it computes.
    """

    start: int
    length: int
    width: int
    elements: int
    name: str


def find_regions(model: Path) -> dict[Path, list[Region]]:
    """Return the tensors of each file of a model, in order and apart from each other; the .onnx file comes first.

    Raises:
        ModelError: not an ONNX model, external data that are missing, or that lie in another folder.
    """
    read.require_file(model)
    if is_packed(model):
        raise ModelError(f"{model} is packed already")
    if read.is_torchscript(model):
        hint = "convert it first: compressctl simplify MODEL --input NAME:SHAPE -o model.onnx"
        raise ModelError(f"{model} is TorchScript; only ONNX files can be packed", hint)
    regions: dict[Path, list[Region]] = {model: []}
    external: list[TensorProto] = []
    try:
        with model.open("rb") as file:
            _require_model(file, model)
            for header, found in _tensors(file, model.stat().st_size):
                regions[model] += found
                if header.data_location == TensorProto.EXTERNAL:
                    external.append(header)
    except (ValueError, DecodeError) as error:
        raise ModelError(f"{model} is not an ONNX model, or is truncated: {error}") from error
    for path in external_files(external, model):
        if path.parent != model.absolute().parent:
            raise ModelError(f"{model} keeps data in the folder {path.parent.name}", "put the data beside the model")
        regions[path] = []
    for header in external:
        location, region = _external(header)
        regions[model.absolute().parent / PurePath(location)].append(region)
    return {path: list(_disjoint(found)) for path, found in regions.items()}


def _require_model(file: BinaryIO, model: Path) -> None:
    numbers = {field.number for field in wire.fields(file, 0, model.stat().st_size)}
    if not {wire.GRAPH, _OPSET} <= numbers:
        raise ModelError(f"{model} is not an ONNX model: it holds no graph with an operator set")


def _tensors(file: BinaryIO, size: int) -> Iterator[tuple[TensorProto, list[Region]]]:
    """Yield every tensor of the model in `file`, without its elements, and the regions that hold them."""
    pending: list[tuple[Any, int, int, str]] = [(onnx.ModelProto.DESCRIPTOR, 0, size, "")]
    while pending:
        message, start, length, label = pending.pop()
        if message is _TENSOR:
            yield _tensor(file, start, length, label)
            continue
        fields = [field for field in wire.fields(file, start, length) if field.nested]
        if message is _NODE:
            label = next((_text(file, field) for field in fields if field.number == _NODE_OUTPUT), "")
        inner = _holders(message)
        pending += [(inner[f.number], f.start, f.length, label) for f in reversed(fields) if f.number in inner]


def _tensor(file: BinaryIO, start: int, length: int, label: str) -> tuple[TensorProto, list[Region]]:
    data, head, at = [], [], start
    for field in wire.fields(file, start, length):
        if field.number in _DATA:
            data.append(field)
        else:
            file.seek(at)
            head.append(file.read(field.end - at))
        at = field.end
    header = TensorProto.FromString(b"".join(head))
    regions = []
    for field in data:
        if field.nested and field.number != _STRINGS:
            width = _width(header) if field.number == wire.RAW_DATA else _DATA[field.number]
            width = 1 if field.length % width else width
            regions.append(Region(field.start, field.length, width, math.prod(header.dims), header.name or label))
    return header, regions


def _external(header: TensorProto) -> tuple[str, Region]:
    entries = {entry.key: entry.value for entry in header.external_data}
    elements = math.prod(header.dims)
    length = math.ceil(ir.DataType(header.data_type).bitwidth * elements / 8)
    region = Region(int(entries.get("offset", 0)), length, _width(header), elements, header.name)
    return entries["location"], region


def _width(header: TensorProto) -> int:
    """Return the bytes of a number; 1 where several share a byte."""
    try:
        kind = ir.DataType(header.data_type)
        return _COMPLEX.get(kind) or max(kind.bitwidth // 8, 1)
    except (ValueError, TypeError):  # a type that this version of ONNX does not know, or strings
        return 1


def _disjoint(regions: list[Region]) -> Iterator[Region]:
    end = 0
    for region in sorted(regions):
        if region.length and region.start >= end:
            yield region
            end = region.start + region.length


def _text(file: BinaryIO, field: wire.Field) -> str:
    file.seek(field.start)
    return file.read(field.length).decode(errors="replace")


@cache
def _holders(message: Any) -> dict[int, Any]:
    """Return the fields of a kind of message that are tensors, or may hold some, and what kind of message they are."""
    kinds = {number: field.message_type for number, field in message.fields_by_number.items() if field.message_type}
    return {number: kind for number, kind in kinds.items() if _leads_to_tensors(kind)}


@cache
def _leads_to_tensors(message: Any) -> bool:
    seen, pending = set(), [message]
    while pending:
        current = pending.pop()
        if current is _TENSOR:
            return True
        if current.full_name not in seen:
            seen.add(current.full_name)
            pending += [field.message_type for field in current.fields if field.message_type]
    return False
