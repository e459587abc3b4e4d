"""Floats of 16 bits: Cast, which onnxruntime folds at load, so that all arithmetic stays in float32."""

from __future__ import annotations

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.numerics.parallel import by_rows
from compressctl.storage.decoder import Decoder

_NARROWER = tuple(map(np.dtype, (np.float16, ml_dtypes.bfloat16, np.float32)))
_CAST = 128  # bytes that a Cast takes in a file, at most


def emit_cast(decoder: Decoder, array: Array, dtype: ir.DataType) -> ir.Value:
    """Append nodes that make `array` (float16 or bfloat16) a tensor of `dtype`."""
    return decoder.cast(decoder.own("stored", array), dtype)


def emit_values(decoder: Decoder, array: Array, dtype: np.dtype[Any], narrow: np.dtype[Any]) -> ir.Value:
    """Append nodes that make `array`, of `dtype`, out of elements of the type `narrow`, which hold it exactly."""
    if narrow == dtype or array.size * (dtype.itemsize - narrow.itemsize) < _CAST:
        return decoder.own("values", array.astype(dtype, copy=False))
    return decoder.cast(decoder.own("values", array.astype(narrow, copy=False)), ir.DataType.from_numpy(dtype))


def narrowest(array: Array) -> np.dtype[Any]:
    """Return the smallest type of floats that holds all elements bit for bit; other types than floats stay.

    Args:
        array: contiguous, of one axis.
    """
    if array.dtype.kind != "f":
        return array.dtype
    bits = np.dtype(f"u{array.itemsize}")

    def holds(dtype: np.dtype[Any], piece: slice) -> bool:
        with np.errstate(over="ignore", under="ignore"):
            there = array[piece].astype(dtype).astype(array.dtype)
        return np.array_equal(there.view(bits), array[piece].view(bits))

    for dtype in _NARROWER:
        if dtype.itemsize >= array.itemsize or not holds(dtype, slice(0, 1024)):
            continue
        if all(by_rows(partial(holds, dtype), len(array), 1)):
            return dtype
    return array.dtype
