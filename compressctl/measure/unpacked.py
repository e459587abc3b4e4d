"""Unpack the weights of a large packed model before it is measured.

onnxruntime unpacks as it loads, and holds all that it makes on the way until it has unpacked the last weight: 5 times
the unpacked weights, of those in 4 bits. What is measured of a large model must not take that: it is measured on a file
that holds, bit for bit, what onnxruntime would make.
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx_ir as ir

from compressctl.model.graph import initializer, remove_dead
from compressctl.model.load import load_model
from compressctl.model.save import save_model
from compressctl.model.stored import evaluate, is_packed, made_tensors
from compressctl.model.tensor_file import TensorFiles

_LARGE = 1 << 26  # bytes of unpacked weights; what less of them takes at loading is little beside onnxruntime itself


def large_packed(model: ir.Model) -> list[ir.Value]:
    """Return the weights that nodes unpack, where they are large in all, else nothing."""
    made = [value for value in made_tensors(model.graph) if is_packed(value) and not value.is_graph_output()]
    return made if sum(map(_bytes, made)) > _LARGE else []


def unpacked(path: Path, folder: Path) -> Path:
    """Return a file that computes as the model file `path` does: itself, or one in `folder` where much is packed.

    Raises:
        ModelError: a weight cannot be unpacked.
        OutputError: there is no room.
    """
    model = load_model(path).model
    made = large_packed(model)
    if not made:
        return path
    files = TensorFiles(folder)
    for value in made:
        name, array = value.name or "", evaluate(value)
        value.name = None
        plain = initializer(model.graph, name, array)
        del array
        files.keep(plain)
        value.replace_all_uses_with(plain)
    remove_dead(model)
    result = folder / path.name
    save_model(model, result, overwrite=True, embed_limit=0)
    return result


def _bytes(value: ir.Value) -> int:
    if value.shape is None or value.dtype is None or not value.shape.is_static():
        return 0
    return math.prod(value.shape.numpy()) * value.dtype.bitwidth // 8
