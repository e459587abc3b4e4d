"""Writing models: whole or not at all, the same bytes for the same graph, external data past 2 GB."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir

from compressctl.errors import OutputError, PassError
from compressctl.guard import check_place
from compressctl.model import opset, wire
from compressctl.model.checking import check_model
from compressctl.model.coo import CooTensor, stored_bytes
from compressctl.model.provenance import Provenance
from compressctl.model.provenance import read as read_provenance
from compressctl.model.read import sha256
from compressctl.model.reasons import reason
from compressctl.model.shapes import forget_inferred
from compressctl.model.skeleton import LARGE, skeleton
from compressctl.model.staging import model_naming, move_into_place, reported, staging, sync
from compressctl.model.tensors import stored_tensors

EMBED_LIMIT = 2_000_000_000  # bytes of tensors that one file may hold; protobuf's own limit is 2**31 - 1 in all
_ALIGNMENT = 4096  # bytes; onnxruntime can map what begins on a page
_DIGITS = 16  # of the hash in the name of a data file: two contents of one output have the same by a chance of 2**-64


def save_model(
    model: ir.Model,
    path: Path,
    *,
    overwrite: bool,
    embed_limit: int = EMBED_LIMIT,
    stated: Collection[str] | None = None,
) -> list[Path]:
    """Write `model` to `path`; return the files written: the model, and its external data where there are any.

    Both are made in a hidden folder beside `path`, checked by onnx and flushed to the disk before they are moved into
    place, so a failure (full disk, interrupt, kill) leaves what was there before. External data are named by their
    content, `<name>.onnx.<hash>.data`, and go first: the file that was there keeps its own until it is replaced. Then
    the data files of earlier models at `path` are removed, unless this model or another one in the folder names them.

    Args:
        model: not changed.
        path: the .onnx file.
        overwrite: whether a file may be replaced.
        embed_limit: bytes of tensors above which the large ones are written as external data.
        stated: names of the values whose types are written although they follow; None for all whose types are known.

    Raises:
        OutputError: the files cannot be written; what was there before is intact.
        PassError: onnx's checker rejects the model.
    """
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already", "--force replaces it")
    sources = {Path(t.path).resolve() for _, t in stored_tensors(model.graph) if isinstance(t, ir.ExternalTensor)}
    try:
        check_model(skeleton(model))  # the checker would hold all weights twice
    except onnx.checker.ValidationError as error:
        raise PassError(f"{path.name} fails onnx's check: {reason(error)}") from error
    with staging(path) as folder:
        model_file = folder / path.name
        data = _write(model, model_file, embed_limit, stated)
        written = [path] if data is None else [path, path.with_name(data.name)]
        if data is None or _same(data, written[1]):  # the same data stay: others may have them mapped
            move_into_place([model_file], [path])
        else:
            move_into_place([data, model_file], written[::-1])
        remove_former_data(path, keep={*sources, *(file.resolve() for file in written)})
        return written


def serialize(model: ir.Model, workdir: Path, *, embed_limit: int = EMBED_LIMIT) -> bytes | Path:
    """Return what an onnxruntime session can open: the file's bytes, or past 2 GB a file in a new folder in `workdir`.

    Raises:
        OutputError: `workdir` cannot be written.
    """
    if _tensor_bytes(model) <= embed_limit:
        return b"".join(_pieces(model))
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
    check_place(path, "output")
    if not path.exists():
        return
    if source is not None and source.exists() and path.samefile(source):
        raise OutputError(f"output {path} is the input model itself", "choose another name")
    if not force and (provenance is None or not provenance.same_origin(read(path))):
        known = "" if provenance is None else ", and is no earlier output of this recipe"
        raise OutputError(f"{path} exists{known}", "--force replaces it")


def remove_former_data(path: Path, keep: Collection[Path]) -> None:
    """Remove the data files of models that `save_model` wrote to `path` before.

    Args:
        path: the model; data of earlier ones, or of one that was never moved into place, are not needed any more.
        keep: files to leave alone, resolved; those that any model in the folder names stay as well.
    """
    ours = re.compile(re.escape(path.name) + rf"\.[0-9a-f]{{{_DIGITS}}}\.data")
    with suppress(OSError):  # the model is in its place; the next run tries again
        for file in path.parent.iterdir():
            if ours.fullmatch(file.name) and file.resolve() not in keep and not model_naming(file.name, path.parent):
                file.unlink()


def _write(model: ir.Model, path: Path, embed_limit: int, stated: Collection[str] | None = None) -> Path | None:
    """Write `path`, and its external data first where they are needed; flush both to the disk; return the data file."""
    copy = model.clone()
    data = _write_data(copy, path) if _tensor_bytes(model) > embed_limit else None
    if stated is not None:
        forget_inferred(copy, stated)
    with path.open("xb") as file:
        for piece in _pieces(copy, data):
            file.write(piece)
        sync(file)
    return data


def _write_data(copy: ir.Model, path: Path) -> Path:
    """Move the large initializers of `copy` to a file beside `path`, named by what it holds; return that."""
    moved: list[tuple[ir.Value, ir.TensorProtocol, int]] = []
    unnamed = path.with_name("data")
    with unnamed.open("xb") as file:
        for value in _initializers(copy):
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING or isinstance(tensor, CooTensor):
                continue
            if tensor.nbytes >= LARGE:  # shape inference finds the others in the .onnx file
                moved.append((value, tensor, _append(file, tensor)))
        sync(file)
    data = unnamed.rename(path.with_name(f"{path.name}.{sha256([unnamed])[:_DIGITS]}.data"))
    for value, tensor, offset in moved:
        value.const_value = ir.ExternalTensor(
            data.name,
            offset,
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=value.name or "",
            base_dir=data.parent,
        )
    return data


def _same(file: Path, other: Path) -> bool:
    return other.is_file() and other.stat().st_size == file.stat().st_size and sha256([other]) == sha256([file])


def _append(file: BinaryIO, tensor: ir.TensorProtocol) -> int:
    """Append the tensor's bytes to `file`, from the next page on; return where they begin."""
    file.write(bytes(-file.tell() % _ALIGNMENT))
    offset = file.tell()
    if isinstance(tensor, ir.ExternalTensor):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
    return offset


def _pieces(model: ir.Model, keep: Path | None = None) -> Iterator[bytes]:
    types = {value.dtype for node in model.graph.all_nodes() for value in node.outputs if value.dtype is not None}
    types |= {value.const_value.dtype for value in _initializers(model) if value.const_value is not None}
    return wire.pieces(model, max(model.ir_version, opset.least_ir_version(model.opset_imports, types)), keep)


def _initializers(model: ir.Model) -> Iterator[ir.Value]:
    return (value for graph in model.graphs() for value in graph.initializers.values())


def _tensor_bytes(model: ir.Model) -> int:
    return sum(stored_bytes(tensor) for _, tensor in stored_tensors(model.graph))
