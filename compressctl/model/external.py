"""The files that a model consists of; where its external data lies is checked before anything reads it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import onnx
import onnx_ir as ir

from compressctl.errors import ModelError
from compressctl.model import protos, read
from compressctl.model.embedded import embedded_bytes
from compressctl.model.reasons import MALFORMED, reason

_LONGEST = 255  # bytes of a file's name


def model_files(path: Path) -> tuple[Path, ...]:
    """Return an ONNX file and the files of its external data, in the order of their locations; TorchScript is one file.

    Raises:
        ModelError: the file is missing, or is no model.
    """
    read.require_file(path)
    if read.is_torchscript(path):
        return (path,)
    proto = read.read_proto(path)
    try:
        return (path, *external_files(protos.tensors(proto), path))
    except MALFORMED as error:
        raise ModelError(f"{path} is not a valid ONNX model: {reason(error)}") from error


def external_files(tensors: Iterable[onnx.TensorProto], model: Path) -> tuple[Path, ...]:
    """Return the data files that `tensors` refer to, sorted by location.

    Each must be a file inside the model's folder (links resolved), long enough for every tensor it holds.

    Raises:
        ModelError: names the tensor and the file that is missing, escapes the folder or is too short.
    """
    files: dict[str, Path] = {}
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if embedded_bytes(tensor) is not None:
            _check_span(tensor, entries, model, model)
            continue
        location = entries.get("location", "")
        if location not in files:
            files[location] = _inside(location, tensor.name, model)
        _check_span(tensor, entries, files[location], model)
    return tuple(files[location] for location in sorted(files))


def _inside(location: str, tensor: str, model: Path) -> Path:
    folder = model.absolute().parent
    path = folder / location
    about = f"{model}: tensor {tensor!r} keeps its data in {location!r}, which"
    if "\0" in location or len(os.fsencode(path.name)) > _LONGEST:
        raise ModelError(f"{about} is no name of a file", "external data must lie beside the model")
    if not location or Path(location).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{about} is outside the model's folder", "external data must lie beside the model")
    if not path.is_file():
        raise ModelError(f"{about} is missing", "put the data file beside the model")
    if path.stat().st_nlink > 1:  # onnx_ir refuses these too: a hard link can smuggle in any file of this disk
        raise ModelError(f"{about} is hard-linked from elsewhere", "copy the data file beside the model")
    return path


def _check_span(tensor: onnx.TensorProto, entries: dict[str, str], path: Path, model: Path) -> None:
    about = f"{model}: external tensor {tensor.name!r}"
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
        needed = math.ceil(ir.DataType(tensor.data_type).bitwidth * math.prod(tensor.dims) / 8)
    except (ValueError, TypeError) as error:  # no number; a type without a width, such as strings
        raise ModelError(f"{about} has no usable type, offset or length") from error
    if min(offset, length, needed, *tensor.dims) < 0 or length not in (0, needed):
        raise ModelError(f"{about} needs {needed} bytes, its entry says {length} bytes at {offset}")
    if offset + needed > path.stat().st_size:
        raise ModelError(f"{about} needs bytes up to {offset + needed}, {path.name} ends at {path.stat().st_size}")
