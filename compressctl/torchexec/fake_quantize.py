"""Quantize-and-dequantize as one differentiable step, bit for bit what onnxruntime computes for the pair of nodes.

Sources: straight-through rounding, Bengio et al. 2013 (arXiv:1308.3432); learned scales, LSQ, Esser et al. 2020
(arXiv:1902.08153); scaled signs, XNOR-Net, Rastegari et al. 2016 (arXiv:1603.05279).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from compressctl.torchexec.ops.common import column

_HALF = 0.5001  # of a step: what rounding is off by inside the range, and the last bits of float32


def fake_quantize(x: Tensor, scale: Tensor, low: int, high: int, axis: int = 1) -> Tensor:
    """Return clamp(round(x / scale), low, high) * scale.

    The gradient passes straight to `x` where it is not clamped. That of `scale` is LSQ's: round(x / s) - x / s inside
    the range, the clamped integer outside, times 1 / sqrt(numbers per scale * largest integer).

    Args:
        x: reals of any shape.
        scale: a scalar, or one for each index along `axis`.
        low, high: the smallest and the largest integer, the zero point taken off.
        axis: of `x`, for a scale that is no scalar.
    """
    if has_torch_function((x, scale)):
        result: Tensor = handle_torch_function(fake_quantize, (x, scale), x, scale, low, high, axis)
        return result
    rounded: Tensor = _FakeQuantize.apply(x, _along(scale, axis, x), low, high)  # type: ignore[no-untyped-call]
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
    signs: Tensor = _Binarize.apply(x, _along(scale, axis, x))  # type: ignore[no-untyped-call]
    return signs


def _along(scale: Tensor, axis: int, x: Tensor) -> Tensor:
    return column(scale, axis, x.ndim) if scale.ndim else scale


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        y = (x / scale).round_().clamp_(low, high).mul_(scale)
        ctx.save_for_backward(x, y, scale)  # both are kept by their neighbours as well: no memory of its own
        ctx.largest = max(high, -low)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale = ctx.saved_tensors
        error = y - x
        inside = error.abs() <= scale * _HALF
        to_x = gradient * inside
        if not ctx.needs_input_grad[1]:
            return to_x, None, None, None
        slope = torch.where(inside, error, y)  # times the scale
        to_scale = _product(slope, gradient, scale) / scale
        return to_x, to_scale / (x.numel() / scale.numel() * ctx.largest) ** 0.5, None, None


class _Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        y = torch.where(x >= 0, scale, -scale)
        ctx.save_for_backward(x, y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale = ctx.saved_tensors
        to_x = gradient * (x.abs() <= scale)
        if not ctx.needs_input_grad[1]:
            return to_x, None
        return to_x, _product(y, gradient, scale) / scale / (x.numel() / scale.numel()) ** 0.5


def _product(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    """Return the sum of products over all that shares a scale."""
    if scale.numel() == 1:
        return torch.dot(first.flatten(), second.flatten()).reshape(scale.shape)
    return (first * second).sum_to_size(scale.shape)
