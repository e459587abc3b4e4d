"""Quantize-and-dequantize as one differentiable step, bit for bit what onnxruntime computes for the pair of nodes.

Sources: straight-through rounding, Bengio et al. 2013 (arXiv:1308.3432); learned scales, LSQ, Esser et al. 2020
(arXiv:1902.08153); scaled signs, XNOR-Net, Rastegari et al. 2016 (arXiv:1603.05279).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor | None, low: int, high: int, axis: int = 1) -> Tensor:
    """Return (clamp(round(x / scale) + zero_point, low, high) - zero_point) * scale.

    The gradient passes straight to `x` where it is not clamped. That of `scale` is LSQ's: round(x / s) - x / s inside
    the range, the clamped integer outside, times 1 / sqrt(numbers per scale * largest integer).

    Args:
        x: reals of any shape.
        scale: a scalar, or one for each index along `axis`.
        zero_point: integers of the shape of `scale`; None for 0.
        low, high: the smallest and the largest integer.
        axis: of `x`, for a scale that is no scalar.
    """
    if has_torch_function((x, scale)):
        result: Tensor = handle_torch_function(fake_quantize, (x, scale), x, scale, zero_point, low, high, axis)
        return result
    shape = [-1 if d == axis % x.ndim else 1 for d in range(x.ndim)] if scale.ndim else []
    zero = torch.zeros_like(scale) if zero_point is None else zero_point.to(scale.dtype)
    rounded: Tensor = _FakeQuantize.apply(  # type: ignore[no-untyped-call]
        x, scale.reshape(shape), zero.reshape(shape), low, high
    )
    return rounded


def binarize(x: Tensor, scale: Tensor, axis: int = 0) -> Tensor:
    """Return +scale where x >= 0, else -scale.

    The gradient passes straight to `x` where |x| <= scale. That of `scale` is sign(x), scaled as in `fake_quantize`.

    Args:
        x: reals of any shape.
        scale: a scalar, or one for each index along `axis`.
        axis: of `x`, for a scale that is no scalar.
    """
    if has_torch_function((x, scale)):
        result: Tensor = handle_torch_function(binarize, (x, scale), x, scale, axis)
        return result
    shape = [-1 if d == axis % x.ndim else 1 for d in range(x.ndim)] if scale.ndim else []
    signs: Tensor = _Binarize.apply(x, scale.reshape(shape))  # type: ignore[no-untyped-call]
    return signs


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
        integers = (x / scale).round_().add_(zero_point).clamp_(low, high)
        ctx.save_for_backward(x, scale, zero_point)
        ctx.range = low, high
        return integers.sub_(zero_point).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, zero_point = ctx.saved_tensors
        low, high = ctx.range
        ratio = x / scale
        shifted = ratio.round().add_(zero_point)
        inside = (shifted >= low) & (shifted <= high)
        to_x = gradient * inside if ctx.needs_input_grad[0] else None
        to_scale = None
        if ctx.needs_input_grad[1]:
            # round(x / s) - x / s inside, the clamped integer outside
            slope = shifted.clamp_(low, high).sub_(zero_point).sub_(ratio.mul_(inside))
            to_scale = _summed(slope.mul_(gradient), scale) / (x.numel() / scale.numel() * max(high, 1)) ** 0.5
        return to_x, to_scale, None, None, None


class _Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return torch.where(x >= 0, scale, -scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        to_x = gradient * (x.abs() <= scale) if ctx.needs_input_grad[0] else None
        to_scale = None
        if ctx.needs_input_grad[1]:
            signs = torch.where(x >= 0, gradient, -gradient)
            to_scale = _summed(signs, scale) / (x.numel() / scale.numel()) ** 0.5
        return to_x, to_scale


def _summed(gradient: Tensor, scale: Tensor) -> Tensor:
    return gradient.sum_to_size(scale.shape) if scale.ndim else gradient.sum()
