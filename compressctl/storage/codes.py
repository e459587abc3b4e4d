"""Packed small integers in a graph: Cast -> Gather(table of all bytes) -> Reshape [-> Slice -> Reshape]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.numerics.packing import MOST, pack, planes
from compressctl.storage.decoder import Decoder


def emit_codes(
    decoder: Decoder,
    codes: NDArray[Any],
    levels: int,
    shape: Sequence[int],
    dtype: ir.DataType,
    *,
    low: int = 0,
    step: int = 1,
) -> ir.Value:
    """Append nodes that make the integers low + step * codes.

    Args:
        decoder: gets the nodes.
        codes: integers in [0, levels).
        levels: 2 to 256.
        shape: of the result; as many elements as `codes`.
        dtype: of the result: INT8, INT32 or INT64, in which the integers must fit.
        low: stands for the code 0.
        step: lies between the integers of neighbouring codes.
    """
    parts = [
        _emit_plane(decoder, array, plane.table * plane.unit * step + (0 if index else low), codes.size, shape)
        if plane.base < MOST
        else _emit_bytes(decoder, array, shape, low, step)
        for index, (plane, array) in enumerate(zip(planes(levels), pack(codes, levels), strict=True))
    ]
    if len(parts) == 1:
        return parts[0] if dtype == ir.DataType.INT8 and levels**2 <= MOST else decoder.cast(parts[0], dtype)
    total = decoder.cast(parts[0], ir.DataType.INT32)
    for part in parts[1:]:
        total = decoder.node("Add", [total, decoder.cast(part, ir.DataType.INT32)])
    return total if dtype == ir.DataType.INT32 else decoder.cast(total, dtype)


def _emit_plane(
    decoder: Decoder, packed: NDArray[np.uint8], table: NDArray[np.int64], count: int, shape: Sequence[int]
) -> ir.Value:
    """Append what unpacks one plane to int8 values of `table` [bytes, digits]."""
    small = table.astype(np.int8)
    if not np.array_equal(small, table):
        raise ValueError(f"integers from {table.min()} to {table.max()} do not fit int8")
    first, last = int(small[0, 0]), int(small[-1, -1])
    name = f"unpack_{len(small)}x{small.shape[1]}_{first}_{last}".replace("-", "minus")
    rows = decoder.cast(decoder.own("packed", packed), ir.DataType.INT32)
    digits = decoder.node("Gather", [decoder.shared(name, small), rows])
    if packed.size * small.shape[1] != count:
        flat = decoder.node("Reshape", [digits, decoder.axes(-1)])
        digits = decoder.node("Slice", [flat, decoder.axes(0), decoder.axes(count)])
    return decoder.node("Reshape", [digits, decoder.axes(*shape)])


def _emit_bytes(decoder: Decoder, packed: NDArray[np.uint8], shape: Sequence[int], low: int, step: int) -> ir.Value:
    if step != 1:
        raise ValueError("integers of a byte each lie one apart")
    integers = decoder.own("packed", packed.reshape(shape))
    if not low:
        return integers
    shift = decoder.shared(f"shift_{low}".replace("-", "minus"), np.array(low, np.int32))
    return decoder.node("Add", [decoder.cast(integers, ir.DataType.INT32), shift])
