"""Putting rounded weights into the graph: decoded as the model is loaded, or, of embeddings, row by row as it runs."""

from __future__ import annotations

from math import lcm

import numpy as np
import onnx_ir as ir

from compressctl.model.tensor_file import TensorFiles
from compressctl.notes import Note, skipped
from compressctl.numerics.packing import pack, planes
from compressctl.quantization.weights import matmul_nbits
from compressctl.quantization.weights.rounding import Rounded
from compressctl.quantization.weights.targets import Target
from compressctl.storage.affine import emit_affine
from compressctl.storage.codes import table_of_bytes
from compressctl.storage.decoder import Decoder


def place(model: ir.Model, target: Target, rounded: Rounded, rows: int | None, files: TensorFiles) -> list[Note]:
    """Store the constant of `target` in the form that suits its use; say where it is not the one that `rows` asks for.

    Args:
        model: edited.
        target: its float constant goes.
        rounded: the same, on few levels.
        rows: that products of matrices multiply at a time in use, or None; see `matmul_nbits`.
        files: keeps what is large.
    """
    if target.lookups:
        store_table(model.graph, target, rounded, files)
        return []
    reason = matmul_nbits.obstacle(target, rounded.size)
    if rows is not None and rows > matmul_nbits.MOST_ROWS:
        reason = f"that pays up to {matmul_nbits.MOST_ROWS} rows only"
    if rows is not None and reason is None:
        matmul_nbits.store_blocks(model, target, rounded, files)
        return []
    told = [] if rows is None else [skipped(f"does not compute on packed weights: {reason}", target.name)]
    store(model.graph, target, rounded, files)
    return told


def store(graph: ir.Graph, target: Target, rounded: Rounded, files: TensorFiles | None) -> None:
    """Put nodes that make the constant of `target`, which onnxruntime folds as it loads the model, in its place."""
    decoder = Decoder(graph, target.value.name or target.name, files)
    value = _typed(decoder, emit_affine(decoder, rounded.affine(target)), target)
    decoder.replace(target.value, value)


def store_table(graph: ir.Graph, target: Target, rounded: Rounded, files: TensorFiles) -> None:
    """Let the embeddings of `target` look up packed rows, and make those alone float.

    Gather(packed rows) -> Cast -> Gather(table of all bytes) -> Reshape -> Cast -> Mul(Gather(scales)) -> Reshape
    """
    levels, (count, width) = rounded.levels, target.shape
    parts, groups = planes(levels.count), width // rounded.size
    filled = -(-width // (whole := lcm(*(plane.digits for plane in parts)))) * whole
    codes = np.zeros((count, filled), np.uint8)
    codes[:, :width] = rounded.codes.reshape(count, width)
    decoder = Decoder(graph, target.value.name or target.name, files)
    packed = [decoder.own("packed", plane.reshape(count, -1)) for plane in pack(codes, levels.count)]
    last = (groups, 1) if groups > 1 else (1,)
    scale = decoder.own("scale", levels.scale.reshape(count, *last))
    offset = None if levels.offset is None else decoder.own("offset", levels.offset.reshape(count, *last))
    for node in target.lookups:
        indices = node.inputs[1]
        assert indices is not None and indices.shape is not None
        kept = [0] * len(indices.shape)  # axes that a Reshape leaves as they are
        value: ir.Value | None = None
        for number, (plane, rows) in enumerate(zip(parts, packed, strict=True)):
            table = plane.table * plane.unit * levels.step + (0 if number else levels.low)
            byte = decoder.cast(decoder.node("Gather", [rows, indices]), ir.DataType.INT32)
            digits = decoder.node("Gather", [table_of_bytes(decoder, table), byte])
            if filled != width:
                digits = decoder.node("Reshape", [digits, decoder.axes(*kept, filled)])
                digits = decoder.node("Slice", [digits, decoder.axes(0), decoder.axes(width), decoder.axes(-1)])
            if filled == width or groups > 1:
                shape = (groups, rounded.size) if groups > 1 else (width,)
                digits = decoder.node("Reshape", [digits, decoder.axes(*kept, *shape)])
            floats = decoder.cast(digits, ir.DataType.FLOAT)
            value = floats if value is None else decoder.node("Add", [value, floats])
        value = decoder.node("Mul", [value, _looked_up(decoder, scale, indices)])
        if offset is not None:
            value = decoder.node("Add", [value, _looked_up(decoder, offset, indices)])
        if groups > 1:
            value = decoder.node("Reshape", [value, decoder.axes(*kept, width)])
        decoder.replace_node(node, _typed(decoder, value, target))
    del graph.initializers[target.value.name or ""]


def _looked_up(decoder: Decoder, table: ir.Value, indices: ir.Value) -> ir.Value:
    rows = decoder.node("Gather", [table, indices])
    return rows if table.dtype == ir.DataType.FLOAT else decoder.cast(rows, ir.DataType.FLOAT)


def _typed(decoder: Decoder, value: ir.Value, target: Target) -> ir.Value:
    dtype = target.tensor.dtype
    return value if dtype == ir.DataType.FLOAT else decoder.cast(value, dtype)
