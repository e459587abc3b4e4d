"""Packed small integers in a graph: Cast -> Gather(table of all bytes) -> Reshape [-> Slice -> Reshape]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Bytes, Integers
from compressctl.numerics.packing import MOST, pack, planes
from compressctl.storage.decoder import Decoder


@dataclass(frozen=True, eq=False)
class Packed:
    """Integers in [0, levels), packed.

    Attributes:
        planes: the bytes of each plane of `numerics.packing.planes(levels)`.
        levels: 2 to 256.
        count: of the integers.
    """

    planes: Sequence[Bytes]
    levels: int
    count: int

    @classmethod
    def of(cls, codes: Array, levels: int) -> Packed:
        """Pack integers in [0, levels)."""
        return cls(pack(codes, levels), levels, codes.size)

    @classmethod
    def blank(cls, count: int, levels: int) -> Packed:
        """Return zeros that take no memory, for a `Meter`."""
        return cls([np.broadcast_to(np.uint8(0), plane.bytes(count)) for plane in planes(levels)], levels, count)


def emit_packed(
    decoder: Decoder, packed: Packed, shape: Sequence[int], dtype: ir.DataType, *, low: int = 0, step: int = 1
) -> ir.Value:
    """Append nodes that make the integers low + step * code of packed codes.

    Args:
        decoder: gets the nodes.
        packed: the codes.
        shape: of the result; as many elements as codes.
        dtype: of the result: INT8, INT32 or INT64, in which the integers must fit.
        low: the integer of code 0.
        step: between the integers of neighbouring codes.
    """
    count, levels = packed.count, packed.levels
    parts = [
        _emit_plane(decoder, array, plane.table * plane.unit * step + (0 if index else low), count, shape)
        if plane.base < MOST
        else _emit_bytes(decoder, array, shape, low, step)
        for index, (plane, array) in enumerate(zip(planes(levels), packed.planes, strict=True))
    ]
    if len(parts) == 1:
        return parts[0] if dtype == ir.DataType.INT8 and levels**2 <= MOST else decoder.cast(parts[0], dtype)
    total = decoder.cast(parts[0], ir.DataType.INT32)
    for part in parts[1:]:
        total = decoder.node("Add", [total, decoder.cast(part, ir.DataType.INT32)])
    return total if dtype == ir.DataType.INT32 else decoder.cast(total, dtype)


def _emit_plane(decoder: Decoder, packed: Bytes, table: Integers, count: int, shape: Sequence[int]) -> ir.Value:
    """Append nodes that unpack one plane to int8 values of `table` [bytes, digits]."""
    return emit_lookup(decoder, packed, table_of_bytes(decoder, table), table.shape[1], count, shape)


def emit_lookup(
    decoder: Decoder, packed: Bytes, table: ir.Value, digits: int, count: int, shape: Sequence[int]
) -> ir.Value:
    """Append nodes that make a tensor of `shape`, of `count` elements, out of table[byte] [digits] for each byte."""
    rows = decoder.cast(decoder.own("packed", packed), ir.DataType.INT32)
    found = decoder.node("Gather", [table, rows])
    if packed.size * digits != count:
        flat = decoder.node("Reshape", [found, decoder.axes(-1)])
        found = decoder.node("Slice", [flat, decoder.axes(0), decoder.axes(count)])
    return decoder.node("Reshape", [found, decoder.axes(*shape)])


def table_of_bytes(decoder: Decoder, table: Integers) -> ir.Value:
    """Return the int8 table [bytes, digits] of what each byte holds, which all constants of the graph share.

    Raises:
        ValueError: a digit does not fit int8.
    """
    small = table.astype(np.int8)
    if not np.array_equal(small, table):
        raise ValueError(f"integers from {table.min()} to {table.max()} do not fit int8")
    first, last = int(small[0, 0]), int(small[-1, -1])
    name = f"unpack_{len(small)}x{small.shape[1]}_{first}_{last}".replace("-", "minus")
    return decoder.shared(name, small)


def _emit_bytes(decoder: Decoder, packed: Bytes, shape: Sequence[int], low: int, step: int) -> ir.Value:
    if step != 1:
        raise ValueError("integers of a byte each lie one apart")
    integers = decoder.own("packed", packed.reshape(shape))
    if not low:
        return integers
    shift = decoder.shared(f"shift_{low}".replace("-", "minus"), np.array(low, np.int32))
    return decoder.node("Add", [decoder.cast(integers, ir.DataType.INT32), shift])
