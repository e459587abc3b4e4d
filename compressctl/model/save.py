"""Writing models: whole or not at all, the same bytes for the same graph, external data past 2 GB."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir

from compressctl.errors import OutputError, PassError
from compressctl.model import opset, wire
from compressctl.model.coo import CooTensor, stored_bytes
from compressctl.model.provenance import Provenance
from compressctl.model.provenance import read as read_provenance
from compressctl.model.reasons import reason
from compressctl.model.skeleton import skeleton
from compressctl.model.staging import move_into_place, reported, staging, sync
from compressctl.model.tensors import stored_tensors

EMBED_LIMIT = 2_000_000_000  # bytes of tensors that one file may hold; protobuf's own limit is 2**31 - 1 in all
_EXTERNAL_FROM = 1024  # bytes; smaller tensors stay in the .onnx file, where shape inference finds them
_ALIGNMENT = 4096  # bytes; onnxruntime can map what begins on a page


def save_model(model: ir.Model, path: Path, *, overwrite: bool, embed_limit: int = EMBED_LIMIT) -> list[Path]:
    """Write `model` to `path`; return the files written: the model, and its external data where there are any.

    Both are made in a hidden folder beside `path`, checked by onnx and flushed to the disk before they are moved into
    place, so a failure (full disk, interrupt) leaves what was there before. External data go to `<name>.onnx.data`.

    Args:
        model: not changed.
        path: the .onnx file.
        overwrite: whether a file may be replaced.
        embed_limit: bytes of tensors above which the large ones are written as external data.

    Raises:
        OutputError: the files cannot be written; what was there before is intact.
        PassError: onnx's checker rejects the model.
    """
    _require_replaceable(model, path, overwrite, external=_tensor_bytes(model) > embed_limit)
    try:
        onnx.checker.check_model(skeleton(model))  # the checker would hold all weights twice
    except onnx.checker.ValidationError as error:
        raise PassError(f"{path.name} fails onnx's check: {reason(error)}") from error
    with staging(path) as folder:
        _write(model, folder / path.name, embed_limit)
        written = [file for file in (_data_path(path), path) if (folder / file.name).exists()]
        move_into_place([folder / file.name for file in written], written)
        return written[::-1]


def serialize(model: ir.Model, workdir: Path, *, embed_limit: int = EMBED_LIMIT) -> bytes | Path:
    """Return what an onnxruntime session can open: the file's bytes, or past 2 GB a file in a new folder in `workdir`.

    Raises:
        OutputError: `workdir` cannot be written.
    """
    if _tensor_bytes(model) <= embed_limit:
        return b"".join(_pieces(model.clone()))
    with reported(workdir):
        path = Path(tempfile.mkdtemp(dir=workdir)) / "model.onnx"
        _write(model, path, embed_limit)
        return path


def check_writable(
    path: Path,
    *,
    force: bool,
    provenance: Provenance | None,
    source: Path | None = None,
    suffixes: Collection[str] = (".onnx",),
    read: Callable[[Path], Provenance | None] = read_provenance,
) -> None:
    """Refuse an output path early, before hours of work.

    Args:
        path: where the result is to go.
        force: replace whatever file is there.
        provenance: of the coming result; an existing file of the same input and recipe is ours to replace.
        source: the input model, which is never overwritten.
        suffixes: that the name may end in.
        read: returns the provenance of an existing file.

    Raises:
        OutputError: a name that ends otherwise, a folder that is missing or cannot be written, a directory, the input
            itself, or a file that is not ours.
    """
    if path.suffix not in suffixes:
        raise OutputError(f"output {path} does not end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise OutputError(f"output {path} is a directory")
    if not path.parent.is_dir():
        raise OutputError(f"folder {path.parent} of the output does not exist", "create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"folder {path.parent} of the output cannot be written")
    if not path.exists():
        return
    if source is not None and source.exists() and path.samefile(source):
        raise OutputError(f"output {path} is the input model itself", "choose another name")
    if not force and (provenance is None or not provenance.same_origin(read(path))):
        known = "" if provenance is None else ", and is no earlier output of this recipe"
        raise OutputError(f"{path} exists{known}", "--force replaces it")


def _require_replaceable(model: ir.Model, path: Path, overwrite: bool, *, external: bool) -> None:
    data = _data_path(path)
    sources = {Path(t.path).resolve() for _, t in stored_tensors(model.graph) if isinstance(t, ir.ExternalTensor)}
    if data.resolve() in sources:
        raise OutputError(f"{data} holds the weights of the input model", "choose another output name")
    for target in (path, data) if external else (path,):
        if target.exists() and not overwrite:
            raise OutputError(f"{target} exists already", "--force replaces it")


def _write(model: ir.Model, path: Path, embed_limit: int) -> None:
    """Write `path`, and its external data first where they are needed; flush both to the disk."""
    copy = model.clone()
    external = _tensor_bytes(model) > embed_limit
    if external:
        with _data_path(path).open("xb") as file:
            for value in _initializers(copy):
                tensor = value.const_value
                if tensor is None or tensor.dtype == ir.DataType.STRING or isinstance(tensor, CooTensor):
                    continue
                if tensor.nbytes >= _EXTERNAL_FROM:
                    value.const_value = _append(file, tensor, value.name or "")
            sync(file)
    with path.open("xb") as file:
        for piece in _pieces(copy, keep=_data_path(path)):
            file.write(piece)
        sync(file)


def _append(file: BinaryIO, tensor: ir.TensorProtocol, name: str) -> ir.ExternalTensor:
    """Append the tensor's bytes to `file`, from the next page on, and return the reference to them."""
    file.write(bytes(-file.tell() % _ALIGNMENT))
    offset = file.tell()
    if isinstance(tensor, ir.ExternalTensor):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
    path, shape = Path(file.name), ir.Shape(tensor.shape.numpy())
    return ir.ExternalTensor(
        path.name, offset, tensor.nbytes, tensor.dtype, shape=shape, name=name, base_dir=path.parent
    )


def _pieces(copy: ir.Model, keep: Path | None = None) -> Iterator[bytes]:
    types = {value.dtype for node in copy.graph.all_nodes() for value in node.outputs if value.dtype is not None}
    types |= {value.const_value.dtype for value in _initializers(copy) if value.const_value is not None}
    copy.ir_version = max(copy.ir_version, opset.least_ir_version(copy.opset_imports, types))
    return wire.pieces(copy, keep)


def _initializers(model: ir.Model) -> Iterator[ir.Value]:
    return (value for graph in model.graphs() for value in graph.initializers.values())


def _tensor_bytes(model: ir.Model) -> int:
    return sum(stored_bytes(tensor) for _, tensor in stored_tensors(model.graph))


def _data_path(path: Path) -> Path:
    return path.with_name(path.name + ".data")
