"""Scales and zero points of 8-bit (and narrower) integer tensors, and the rounding onnxruntime does with them.

`real = (integer - zero_point) * scale`, as in the ONNX operators QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressctl.arrays import AnyFloats, Array, Floats, Floats32
from compressctl.errors import ModelError
from compressctl.numerics.parallel import by_rows

QuantizedDtype = Literal["int8", "uint8"]

_TINY = float(np.finfo(np.float32).tiny)  # below it float32 is denormal: kernels may flush such a scale to zero
_LARGEST = float(np.finfo(np.float32).max)
_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
LARGEST_BIAS = 2**29
"""The largest integer that a bias should become, see `least_weight_scale`."""


@dataclass(frozen=True)
class QParams:
    """How a float tensor maps to integers.

    Attributes:
        scale: float32, positive, finite and normal; shape () for a whole tensor, (channels,) along `axis`.
        zero_point: the integer that stands for 0.0; of type `dtype`, shape as `scale`.
        dtype: the integer type.
        axis: the dimension that has one scale an entry, or None.
    """

    scale: Floats32
    zero_point: NDArray[np.integer[Any]]
    dtype: QuantizedDtype
    axis: int | None = None


def symmetric(
    weight: Array,
    axis: int | None,
    *,
    high: int = 127,
    least: AnyFloats | float = 0.0,
    name: str = "weight",
) -> QParams:
    """Return int8 parameters with zero point 0 that cover `weight` exactly: integers in [-high, high].

    Args:
        weight: any float tensor.
        axis: the dimension that gets one scale an entry (negative counts from the end); None for one scale in all.
        high: the largest integer, 1 to 127.
        least: smallest scale, or one a channel, see `least_weight_scale`.
        name: the tensor, for the error message.

    Raises:
        ModelError: `weight` holds NaN or infinity.
    """
    if axis is not None:
        axis %= weight.ndim
    others = tuple(d for d in range(weight.ndim) if d != axis) if axis is not None else None
    # Two reductions instead of abs().max(): no temporary of the weight's size.
    largest = np.maximum(weight.max(axis=others, initial=0), -weight.min(axis=others, initial=0)).astype(np.float64)
    if not np.all(largest <= _LARGEST):
        raise ModelError(f"{name} holds NaN or infinite values", "such a tensor cannot be quantized")
    # Any scale fits a channel of zeros; that of the largest channel suits its bias, which is rounded in steps of it.
    whole = largest.max(initial=0) / high
    scale = np.where(largest > 0, largest / high, whole if whole > _TINY else 1.0)
    floor = np.maximum(np.max(least) if axis is None else least, _TINY)
    scale = np.asarray(np.maximum(scale, floor), np.float32)
    return QParams(scale, np.zeros(scale.shape, np.int8), "int8", axis)


def least_weight_scale(bias: Array, input_scale: float) -> Floats:
    """Return the smallest weight scale of each output channel at which its bias fits 32 bits.

    Integer kernels hold the bias as int32 in steps of input_scale * weight_scale. Channels that BatchNormalization
    has all but silenced have such small weights, and so such fine steps, that their bias overflows; with this scale
    their weights round to 0 instead. Three quarters of the range stay free for the sum that the bias joins.
    """
    return np.abs(bias.astype(np.float64)) / (input_scale * LARGEST_BIAS)


def affine(low: float, high: float, *, name: str = "tensor") -> QParams:
    """Return uint8 per-tensor parameters for reals in [low, high], widened to hold 0.0, which is exactly representable.

    Args:
        low: smallest real.
        high: largest real.
        name: the tensor, for the error message.

    Raises:
        ModelError: an end is NaN or infinite, or low > high.
    """
    if not (abs(low) <= _LARGEST and abs(high) <= _LARGEST and low <= high):
        raise ModelError(f"{name} has no finite range: [{low}, {high}]", "such a tensor cannot be quantized")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = np.float32(max((high - low) / 255, _TINY) if high > low else 1.0)
    zero_point = np.clip(np.rint(-low / float(scale)), 0, 255)
    return QParams(np.asarray(scale), np.asarray(zero_point, np.uint8), "uint8")


def quantize(x: Array, qparams: QParams) -> NDArray[np.integer[Any]]:
    """Return the integers of `x`, bit for bit as onnxruntime's QuantizeLinear: round half to even, then saturate."""
    if x.ndim < 2:
        return _quantize(x, qparams.scale, qparams.zero_point, qparams)
    integers = np.empty(x.shape, qparams.dtype)
    along_rows = qparams.axis is not None and qparams.axis % x.ndim == 0

    def compute(piece: slice) -> None:  # floats of the whole would take four times its bytes
        scale, zero_point = (one[piece] if along_rows else one for one in (qparams.scale, qparams.zero_point))
        integers[piece] = _quantize(x[piece], scale, zero_point, qparams)

    by_rows(compute, len(x), x.size // max(len(x), 1))
    return integers


def _quantize(x: Array, scale: Array, zero_point: Array, qparams: QParams) -> NDArray[np.integer[Any]]:
    smallest, largest = _RANGES[qparams.dtype]
    with np.errstate(over="ignore"):  # an infinite quotient saturates like any large one
        q = np.divide(x, along(scale, qparams.axis, x.ndim), dtype=np.float32)
    np.rint(q, out=q)
    # Clip before adding the zero point: the sum of a large quotient and the zero point is not exact in float32.
    zero = along(zero_point, qparams.axis, x.ndim).astype(np.float32)
    np.clip(q, smallest - zero, largest - zero, out=q)
    q += zero
    integers: NDArray[np.integer[Any]] = q.astype(qparams.dtype)
    return integers


def dequantize(q: NDArray[np.integer[Any]], qparams: QParams) -> Floats32:
    """Return the reals of the integers `q`, bit for bit as onnxruntime's DequantizeLinear."""
    zero_point = along(qparams.zero_point, qparams.axis, q.ndim).astype(np.float32)
    with np.errstate(over="ignore"):  # as in onnxruntime, what is out of float32's range becomes infinite
        real: Floats32 = (q.astype(np.float32) - zero_point) * along(qparams.scale, qparams.axis, q.ndim)
    return real


def along(parameter: Array, axis: int | None, ndim: int) -> Array:
    """Shape per-channel parameters so that they broadcast over a tensor of `ndim` dimensions."""
    if axis is None:
        return parameter
    return parameter.reshape([-1 if d == axis % ndim else 1 for d in range(ndim)])
