"""Few different values, or vectors of values: Gather(values, codes) [-> Reshape].

Where a byte holds several codes and there are many of them, a table has the values of all bytes instead: a file grows
by a kilobyte or two for each constant, and is loaded in half the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Bytes
from compressctl.numerics.packing import planes
from compressctl.storage.codes import Packed, emit_lookup, emit_packed
from compressctl.storage.decoder import Decoder
from compressctl.storage.floats import emit_values, narrowest

_MANY = 1 << 17  # elements


def emit_codebook(decoder: Decoder, codes: Bytes | Packed, values: Array, shape: Sequence[int]) -> ir.Value:
    """Append nodes that make a tensor of `shape` out of values[codes], in the type of `values`.

    Args:
        decoder: gets the nodes.
        codes: which value, or vector, each element, or run of d elements, is.
        values: [k], or [k, d] for vectors, k up to 256; floats are stored in 16 bits where those hold them exactly.
        shape: of the result.
    """
    if len(values) == 1 and values.ndim == 1:
        return emit_constant(decoder, values, shape)
    if not isinstance(codes, Packed):
        codes = Packed.of(codes, max(len(values), 2))
    plane, *others = planes(codes.levels)
    if codes.count >= _MANY and values.ndim == 1 and plane.digits > 1 and not others:
        padded = np.resize(values, plane.base)[plane.table]
        table = emit_values(decoder, padded, values.dtype, narrowest(values))
        return emit_lookup(decoder, codes.planes[0], table, plane.digits, codes.count, shape)
    table = emit_values(decoder, values, values.dtype, narrowest(values.reshape(-1)))
    view = tuple(shape) if values.ndim == 1 else (codes.count,)
    result = decoder.node("Gather", [table, emit_packed(decoder, codes, view, ir.DataType.INT32)])
    return result if values.ndim == 1 else decoder.node("Reshape", [result, decoder.axes(*shape)])


def emit_constant(decoder: Decoder, value: Array, shape: Sequence[int]) -> ir.Value:
    """Append a node that makes a tensor of `shape` that holds the one element of `value` [1] all over."""
    return decoder.node("Expand", [decoder.own("values", value), decoder.axes(*shape)])
