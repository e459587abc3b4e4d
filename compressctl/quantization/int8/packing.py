"""Integer weights of few bits, packed in the file and unpacked by onnxruntime when it loads the model.

What unpacks them feeds the DequantizeLinear of the weight; onnxruntime folds it before it looks for integer kernels,
so QLinearConv and QGemm form as they do over int8 weights.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import constant
from compressctl.notes import Note, done, skipped
from compressctl.numerics.grids import Grid
from compressctl.numerics.packing import packed_bytes
from compressctl.storage.codes import Packed, emit_packed
from compressctl.storage.decoder import Decoder

_NODES = 512  # bytes that the unpacking of one weight takes in a file, about


def pack_weights(graph: ir.Graph, weights: Iterable[tuple[ir.Value, Grid]]) -> list[Note]:
    """Pack int8 initializers whose integers lie on a grid, in place; those that would not get smaller are left.

    Args:
        graph: the main graph.
        weights: the initializers, each with its grid; one that is given twice is packed once.
    """
    before = after = count = 0
    notes = []
    for value, grid in dict(weights).items():
        integers = constant(value)
        assert integers is not None
        step = 2 if grid.signs else 1
        levels = (grid.high - grid.low) // step + 1
        size = packed_bytes(integers.size, levels)
        if size + _NODES >= integers.nbytes:
            notes.append(
                skipped(f"its {integers.size} weights are stored a byte each: packing saves nothing", value.name)
            )
            continue
        codes = ((integers.astype(np.int16) - grid.low) // step).astype(np.uint8)
        decoder = Decoder(graph, value.name or "")
        packed = Packed.of(codes, levels)
        unpacked = emit_packed(decoder, packed, integers.shape, ir.DataType.INT8, low=grid.low, step=step)
        decoder.replace(value, unpacked)
        count, before, after = count + 1, before + integers.nbytes, after + size
    if count:
        notes.insert(0, done(f"{count} weights packed: {before:,} bytes of integers in {after:,}"))
    return notes
