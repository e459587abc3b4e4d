"""Floats of 16 bits: Cast, which onnxruntime folds at load, so that all arithmetic stays in float32."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.storage.decoder import Decoder


def emit_cast(decoder: Decoder, array: NDArray[Any], dtype: ir.DataType) -> ir.Value:
    """Append nodes that make `array` (float16 or bfloat16) a tensor of `dtype`."""
    return decoder.cast(decoder.own("stored", array), dtype)
