"""Weights as few integers times scales: codes -> Cast -> Mul(scale) [-> Add(offset)] [-> Reshape].

A scale may serve the whole tensor, a channel, or a group of weights along one axis: the codes are held in the view in
which scales broadcast, such as [channels, groups, weights of a group].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Bytes, Floats32
from compressctl.numerics.packing import packed_bytes
from compressctl.storage.codes import Packed, emit_packed
from compressctl.storage.decoder import Decoder


@dataclass(frozen=True, eq=False)
class Affine:
    """A weight: ((low + step * codes) * scale + offset), reshaped.

    Attributes:
        codes: integers in [0, levels), in the view in which scales broadcast.
        levels: 2 to 256.
        low: the integer of code 0.
        step: between integers of neighbouring codes.
        scale: float16 or float32, broadcastable to the view.
        offset: as `scale`, or None.
        shape: of the weight.
    """

    codes: Bytes
    levels: int
    low: int
    scale: Array
    shape: tuple[int, ...]
    offset: Array | None = None
    step: int = 1

    @property
    def bytes(self) -> int:
        """Bytes of the stored tensors."""
        return packed_bytes(self.codes.size, self.levels) + sum(
            p.nbytes for p in (self.scale, self.offset) if p is not None
        )

    def floats(self) -> Floats32:
        """Return the weight, bit for bit as onnxruntime makes it."""
        integers = self.codes.astype(np.float32)
        integers *= np.float32(self.step)
        integers += np.float32(self.low)
        integers *= self.scale.astype(np.float32)
        if self.offset is not None:
            integers += self.offset.astype(np.float32)
        return integers.reshape(self.shape)


def emit_affine(decoder: Decoder, weight: Affine) -> ir.Value:
    """Append nodes that make the weight, float32 of its shape."""
    packed = Packed.of(weight.codes, weight.levels)
    integers = emit_packed(decoder, packed, weight.codes.shape, ir.DataType.INT8, low=weight.low, step=weight.step)
    value = decoder.cast(integers, ir.DataType.FLOAT)
    value = decoder.node("Mul", [value, _floats(decoder, "scale", weight.scale)])
    if weight.offset is not None:
        value = decoder.node("Add", [value, _floats(decoder, "offset", weight.offset)])
    if weight.codes.shape != weight.shape:
        value = decoder.node("Reshape", [value, decoder.axes(*weight.shape)])
    return value


def _floats(decoder: Decoder, what: str, array: Array) -> ir.Value:
    value = decoder.own(what, array)
    return value if array.dtype == np.float32 else decoder.cast(value, ir.DataType.FLOAT)
