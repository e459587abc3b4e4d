"""Sparse tensors: values other than zero, and where they are. Everything else is zero.

- bitmask: a bit an element; the running count of the bits says which value.
- deltas: the distance of each value from the one before, as in Deep Compression (arXiv:1510.00149, section 2).
- csr: the column of each value, and where rows begin; rows without values are left out (Buluç and Gilbert 2008).

Places are counted in int32, so tensors have fewer than 2^31 elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Integers32
from compressctl.storage.codebook import emit_codebook, emit_constant
from compressctl.storage.codes import Packed, emit_packed
from compressctl.storage.decoder import Decoder
from compressctl.storage.floats import emit_values


@dataclass(frozen=True, eq=False)
class Values:
    """The values that are stored, in row-major order: floats or integers, or codes of a codebook.

    Attributes:
        dtype: of the tensor.
        count: how many there are.
        plain: [count], of a type that holds them exactly; None where there are codes.
        codes: which of `table` each is; None where there is one.
        table: [k].
    """

    dtype: np.dtype[Any]
    count: int
    plain: Array | None = None
    codes: Packed | None = None
    table: Array | None = None

    def emit(self, decoder: Decoder) -> ir.Value:
        """Append nodes that make the values, [count]."""
        if self.plain is not None:
            return emit_values(decoder, self.plain, self.dtype, self.plain.dtype)
        assert self.table is not None
        if self.codes is None:
            return emit_constant(decoder, self.table, (self.count,))
        return emit_codebook(decoder, self.codes, self.table, (self.count,))


@dataclass(frozen=True, eq=False)
class Rows:
    """Places row by row.

    Attributes:
        columns: [count], uint8, uint16 or int32: within the row.
        starts: [rows with values], int32: which value is the row's first.
        steps: [rows with values], int32: how many elements lie between the beginnings of this row and the one before.
    """

    columns: Array
    starts: Integers32
    steps: Integers32

    @classmethod
    def of(cls, places: Integers32, width: int) -> Rows:
        """Split places [count] in a tensor with rows of `width` elements."""
        rows = places // width
        starts = np.flatnonzero(np.diff(rows, prepend=-1)).astype(np.int32)
        steps = np.diff(rows[starts], prepend=0) * width
        return cls((places - rows * width).astype(column_type(width)), starts, steps.astype(np.int32))


def column_type(width: int) -> np.dtype[Any]:
    """Return the type of columns in rows of `width` elements."""
    return np.dtype(np.uint8 if width <= 1 << 8 else np.uint16 if width <= 1 << 16 else np.int32)


def emit_bitmask(decoder: Decoder, bits: Packed, values: Values, shape: Sequence[int]) -> ir.Value:
    """Append nodes that make a tensor of `shape`: where bits are 1, the next value.

    Args:
        decoder: gets the nodes.
        bits: of two levels, one an element.
        values: as many as bits are 1.
        shape: of the result.
    """
    mask = emit_packed(decoder, bits, (bits.count,), ir.DataType.INT32)
    rank = _sums(decoder, mask)
    index = decoder.node("Mul", [rank, mask])  # 0 where the element is zero, so a zero comes before the values
    zero = decoder.shared(f"zero_{values.dtype.name}", np.zeros(1, values.dtype))
    every = decoder.node("Concat", [zero, values.emit(decoder)], axis=0)
    return _shaped(decoder, decoder.node("Gather", [every, index]), shape)


def emit_delta_index(decoder: Decoder, deltas: Packed, values: Values, shape: Sequence[int]) -> ir.Value:
    """Append nodes that make a tensor of `shape` of values, each so far behind the one before."""
    steps = emit_packed(decoder, deltas, (deltas.count,), ir.DataType.INT32)
    return _scatter(decoder, _sums(decoder, steps), values, shape)


def emit_rows(decoder: Decoder, rows: Rows, values: Values, shape: Sequence[int]) -> ir.Value:
    """Append nodes that make a tensor of `shape` of values at the columns of rows."""
    none = _zeros(decoder, np.dtype(np.int32), rows.columns.size)
    marks = decoder.node(
        "ScatterElements", [none, decoder.own("starts", rows.starts), decoder.own("steps", rows.steps)]
    )
    begins = _sums(decoder, marks)
    columns = decoder.own("columns", rows.columns)
    if rows.columns.dtype != np.int32:
        columns = decoder.cast(columns, ir.DataType.INT32)
    return _scatter(decoder, decoder.node("Add", [begins, columns]), values, shape)


def _sums(decoder: Decoder, steps: ir.Value) -> ir.Value:
    return decoder.node("CumSum", [steps, decoder.shared("axis_0", np.array(0, np.int64))])


def _scatter(decoder: Decoder, places: ir.Value, values: Values, shape: Sequence[int]) -> ir.Value:
    zeros = _zeros(decoder, values.dtype, int(np.prod(shape)))
    return _shaped(decoder, decoder.node("ScatterElements", [zeros, places, values.emit(decoder)]), shape)


def _shaped(decoder: Decoder, flat: ir.Value, shape: Sequence[int]) -> ir.Value:
    return flat if len(shape) == 1 else decoder.node("Reshape", [flat, decoder.axes(*shape)])


def _zeros(decoder: Decoder, dtype: np.dtype[Any], count: int) -> ir.Value:
    return decoder.node("ConstantOfShape", [decoder.axes(count)], value=ir.tensor(np.zeros(1, dtype)))
