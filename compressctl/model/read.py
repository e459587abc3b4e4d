"""Bytes on disk -> `onnx.ModelProto`, or one clear line on why not."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from compressctl.errors import ModelError
from compressctl.model.embedded import without_weights

PROTOBUF_LIMIT = 2**31 - 1  # bytes; protobuf refuses longer messages
_PICKLE = b"\x80"
_FLATBUFFER = b"PTMF"  # at offset 4
_OTHER_ARCHIVES = {
    "bytecode.pkl": "a PyTorch Mobile file of bytecode alone",
    "data.pkl": "a PyTorch checkpoint of weights alone",
    "models/model.json": "a program of torch.export",
    "serialized_exported_program.json": "a program of torch.export",
}


def require_file(path: Path) -> None:
    """Raise ModelError unless `path` is a non-empty file that can be opened."""
    try:
        if not path.exists():
            raise ModelError(f"model file {path} does not exist")
        if not path.is_file():
            raise ModelError(f"{path} is not a file, and no folder that holds a model.onnx", "give the file itself")
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelError(f"model file {path} is empty")
    except (OSError, ValueError) as error:  # a name with a character 0
        raise ModelError(f"model file {path} cannot be read: {getattr(error, 'strerror', error)}") from error


def is_torchscript(path: Path) -> bool:
    """Return whether `path` is a TorchScript archive: a zip file that holds both code and constants.

    Raises:
        ModelError: a zip file or a pickle that is something else, such as a PyTorch checkpoint.
    """
    with path.open("rb") as file:
        start, kind = file.read(4), file.read(4)
    export = "save the model with torch.jit.save, or export it to ONNX"
    if start[:1] == _PICKLE:
        raise ModelError(f"{path} is a Python pickle (a PyTorch checkpoint?), not a model with its graph", export)
    if kind == _FLATBUFFER:
        raise ModelError(f"{path} is a PyTorch Mobile file of bytecode alone", export)
    if start != b"PK\x03\x04":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path} starts like a zip archive, but is damaged: {error}") from error
    if "constants.pkl" in members and any(name.startswith("code/") for name in members):
        return True
    what = next(
        (what for name, what in _OTHER_ARCHIVES.items() if name in members), "a zip archive that holds no model"
    )
    raise ModelError(f"{path} is {what}", export)


def read_proto(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file; its external data stays on disk, and large weights stay in the file, see `embedded`.

    Raises:
        ModelError: the file is too long for protobuf, is no ONNX model, or is one without a graph or outputs.
    """
    if path.stat().st_size > PROTOBUF_LIMIT:
        raise ModelError(
            f"{path} is longer than 2 GB, which ONNX cannot hold in one file", "save it with external data"
        )
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(without_weights(path) or path.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{path} is not an ONNX model, or is truncated: it does not parse as protobuf") from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{path} is not an ONNX model: it holds no graph with an operator set")
    if not proto.graph.output:
        raise ModelError(f"{path}: the graph has no outputs")
    return proto


def sha256(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the files' bytes, one after the other, as hexadecimal."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
