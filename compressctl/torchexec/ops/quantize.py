"""Conversions of element types: casts, and numbers to integers of few bits and back.

Differentiable quantize-dequantize pairs are executed as one step elsewhere; here is what each operator gives by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import SMALL, column, dtype_of

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz)


def QuantizeLinear(
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    scale = expanded(y_scale, x, axis, block_size)
    within = dtype_of(precision) if precision else y_scale.dtype
    reals = x.to(within) / scale.to(within)
    bits = SMALL.get(output_dtype)
    if y_zero_point is None:
        target = dtype_of(output_dtype) if output_dtype else torch.uint8
        offset: Tensor | float = 0.0
    else:
        target = y_zero_point.dtype
        offset = expanded(y_zero_point, x, axis, block_size).to(reals.dtype)
    if target in FLOAT8:
        return to_float8(reals + offset, target, bool(saturate))
    low, high = bits or (torch.iinfo(target).min, torch.iinfo(target).max)
    return saturated(torch.round(reals) + offset, target, low, high)


def DequantizeLinear(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    target = dtype_of(output_dtype) if output_dtype else x_scale.dtype
    if x.dtype in FLOAT8:
        levels = x.to(torch.float32)
        if x_zero_point is not None:
            levels = levels - expanded(x_zero_point, x, axis, block_size).to(torch.float32)
    else:
        levels = x.to(torch.int32)
        if x_zero_point is not None:
            levels = levels - expanded(x_zero_point, x, axis, block_size).to(torch.int32)
    return levels.to(target) * expanded(x_scale, x, axis, block_size).to(target)


def DynamicQuantizeLinear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low = torch.clamp(torch.amin(x), max=0)
    high = torch.clamp(torch.amax(x), min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero_point = torch.clamp(torch.round(-low / scale), 0, 255)
    levels = torch.clamp(torch.round(x / scale) + zero_point, 0, 255)
    return levels.to(torch.uint8), scale, zero_point.to(torch.uint8)


def expanded(parameter: Tensor, x: Tensor, axis: int, block_size: int = 0) -> Tensor:
    """Return a scale or zero point shaped to broadcast over `x`: of the tensor, of an axis, or of blocks along it."""
    if block_size and parameter.ndim == x.ndim:
        blocks = torch.arange(x.shape[axis], device=x.device) // block_size
        return torch.index_select(parameter, axis, blocks)
    if parameter.numel() == 1:
        return parameter.reshape([])
    return column(parameter, axis, x.ndim) if parameter.ndim == 1 else parameter


def centred(x: Tensor, zero_point: Tensor | None, axis: int) -> Tensor:
    """Return integers less their zero point, in doubles: sums are exact, and every device has the kernels."""
    return x.double() if zero_point is None else x.double() - expanded(zero_point, x, axis).double()


def requantized(sums: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return `sums * scale + zero_point`, rounded and saturated to the type of the zero point, as onnxruntime does."""
    if zero_point.dtype in FLOAT8:
        return to_float8(sums.float() * scale + zero_point.float(), zero_point.dtype, saturate=True)
    limits = torch.iinfo(zero_point.dtype)
    levels = torch.round(sums.float() * scale) + zero_point.float()
    return saturated(levels, zero_point.dtype, limits.min, limits.max)


def saturated(levels: Tensor, target: torch.dtype, low: int, high: int) -> Tensor:
    """Return levels clamped and converted; through 32 bits, since torch converts no reals to wide unsigned integers."""
    return torch.clamp(levels, low, high).to(torch.int32).to(target)


def to_float8(x: Tensor, target: torch.dtype, saturate: bool) -> Tensor:
    """Return `x` in an 8-bit float type; beyond its range, the greatest value or infinity/NaN."""
    x = x.to(torch.float32)
    if saturate:
        greatest = torch.finfo(target).max
        x = torch.clamp(x, -greatest, greatest)
    elif (
        target == torch.float8_e4m3fn
    ):  # torch saturates by itself; 464 is the last that is rounded down to the greatest
        x = torch.where(x.abs() > 464, torch.full_like(x, float("nan")), x)
    return x.to(target)


def Cast(input: Tensor, *, to: int, round_mode: str = "up", saturate: int = 1) -> Tensor:
    if to in SMALL:  # keeps the lowest bits
        low, high = SMALL[to]
        return ((input.to(torch.int32) - low) % (high - low + 1) + low).to(dtype_of(to))
    return converted(input, dtype_of(to), bool(saturate))


def CastLike(input: Tensor, target_type: Tensor, *, round_mode: str = "up", saturate: int = 1) -> Tensor:
    return converted(input, target_type.dtype, bool(saturate))


def converted(x: Tensor, target: torch.dtype, saturate: bool) -> Tensor:
    if target in FLOAT8:
        return to_float8(x, target, saturate)
    if x.dtype.is_floating_point and target in (torch.uint16, torch.uint32, torch.uint64):
        return x.to(torch.int64).to(target)
    return x.to(target)


def BitCast(input: Tensor, *, to: int) -> Tensor:
    return input.view(dtype_of(to))
