"""Constants as floats of 16 bits behind a Cast that onnxruntime folds at load: half the bytes, the same arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.errors import ModelError
from compressctl.model.qops import is_quantized
from compressctl.model.tensor_file import TensorFiles
from compressctl.model.tensors import read_array
from compressctl.notes import Note, skipped, warning
from compressctl.numerics.parallel import by_rows
from compressctl.quantization.int8.weights import tensor_of
from compressctl.selection import Selection
from compressctl.storage.decoder import Decoder
from compressctl.storage.floats import emit_cast

_LEAST = 256  # elements; fewer save less than the Cast takes
_TYPES: dict[str, np.dtype[Any]] = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}


def store_fp16(
    model: ir.Model, scheme: str, selection: Selection, files: TensorFiles
) -> tuple[list[dict[str, Any]], list[Note]]:
    """Store the float32 constants of `model` in 16 bits, in place; bodies of control flow read them, too.

    Args:
        model: edited.
        scheme: "fp16", 10 bits of fraction up to 65504, or "bf16", 7 bits and float32's range.
        selection: of the nodes whose constants may be stored so.
        files: keeps what is new.

    Returns:
        a row for the report for each constant that is stored so, and notes on the others.

    Raises:
        ModelError: a constant holds NaN.
    """
    rows: list[dict[str, Any]] = []
    notes: list[Note] = []
    for value in list(_constants(model.graph)):
        tensor = tensor_of(value)
        assert tensor is not None
        if not selection.allows(*value.consumers()):
            continue
        reason = _obstacle(value)
        array = None if reason else _halved(read_array(tensor), scheme, value.name or "")
        if array is None:
            text = reason or "values beyond, or all below, what float16 holds; bf16 holds them"
            notes.append((skipped if reason else warning)(f"stays float32: {text}", value.name))
            continue
        name = value.name or ""
        decoder = Decoder(model.graph, name, files)
        decoder.replace(value, emit_cast(decoder, array, ir.DataType.FLOAT))
        rows.append({"weight": name, "weights": array.size, "bits": 16, "bytes": array.nbytes})
    return rows, notes


def _constants(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield the float32 constants that are worth it."""
    made = [node.outputs[0] for node in graph if node.op_type == "Constant" and not node.domain]
    for value in (*graph.initializers.values(), *made):
        tensor = tensor_of(value)
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and tensor.size >= _LEAST and value.uses():
            yield value


def _obstacle(value: ir.Value) -> str | None:
    if value.is_graph_output():
        return "it is an output"
    foreign = next((node for node in value.consumers() if node.domain or is_quantized(node)), None)
    return None if foreign is None else f"{foreign.op_type} reads it, and may want it as it is"


def _halved(array: Array, scheme: str, name: str) -> Array | None:
    """Return the elements rounded to 16 bits; None where the type holds less than the sense of them."""
    flat, result = array.reshape(-1), np.empty(array.size, _TYPES[scheme])

    def compute(piece: slice) -> tuple[bool, bool, float]:
        with np.errstate(over="ignore", under="ignore"):
            result[piece] = flat[piece]
        beyond = np.isinf(result[piece]) & ~np.isinf(flat[piece])
        return bool(beyond.any()), bool(np.isnan(flat[piece]).any()), float(np.abs(flat[piece]).max())

    overflows, nans, largest = zip(*by_rows(partial(compute), flat.size, 1), strict=True)
    if any(nans):
        raise ModelError(f"constant {name!r} holds NaN", "such a tensor cannot be quantized")
    tiny = scheme == "fp16" and 0 < max(largest) < float(np.finfo(np.float16).tiny)
    return None if any(overflows) or tiny else result.reshape(array.shape)
