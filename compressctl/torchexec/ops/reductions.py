"""Reductions over axes, and running ones along an axis."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import Ints, axes_of, ints, number, wide


def ReduceSum(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    over = _axes(data, axes, noop_with_empty_axes)
    return torch.sum(data, over, bool(keepdims), dtype=data.dtype) if over else data


def ReduceMean(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    over = _axes(data, axes, noop_with_empty_axes)
    if not over:
        return data
    if not data.is_floating_point():
        return torch.mean(data, over, bool(keepdims), dtype=torch.float64).to(data.dtype)
    return torch.mean(data, over, bool(keepdims))


def ReduceProd(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    over = _axes(data, axes, noop_with_empty_axes)
    result = data
    for axis in over:
        result = torch.prod(result, axis, keepdim=True, dtype=data.dtype)
    return result if keepdims or not over else result.squeeze(tuple(over))


@wide
def ReduceMax(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    over = _axes(data, axes, noop_with_empty_axes)
    return _extreme(data, over, keepdims, torch.amax, largest=False)


@wide
def ReduceMin(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    over = _axes(data, axes, noop_with_empty_axes)
    return _extreme(data, over, keepdims, torch.amin, largest=True)


def ReduceL1(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    return ReduceSum(torch.abs(data), axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)


def ReduceL2(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    squares = ReduceSumSquare(data, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)
    return torch.sqrt(squares).to(data.dtype)


def ReduceSumSquare(
    data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    return ReduceSum(torch.square(data), axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)


def ReduceLogSum(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    sums = ReduceSum(data, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)
    return torch.log(sums).to(data.dtype)


def ReduceLogSumExp(
    data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    over = _axes(data, axes, noop_with_empty_axes)
    return torch.logsumexp(data, over, bool(keepdims)).to(data.dtype) if over else data


def ArgMax(data: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if not select_last_index:
        return torch.argmax(data, axis, bool(keepdims))
    return data.shape[axis] - 1 - torch.argmax(torch.flip(data, [axis]), axis, bool(keepdims))


def ArgMin(data: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if not select_last_index:
        return torch.argmin(data, axis, bool(keepdims))
    return data.shape[axis] - 1 - torch.argmin(torch.flip(data, [axis]), axis, bool(keepdims))


def CumSum(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return _running(torch.cumsum, x, number(axis), 0, exclusive, reverse)


def CumProd(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return _running(torch.cumprod, x, number(axis), 1, exclusive, reverse)


def _axes(data: Tensor, axes: Ints | None, noop_with_empty_axes: int) -> list[int]:
    if axes is None or not (named := ints(axes)):
        return [] if noop_with_empty_axes else list(range(data.ndim))
    return axes_of(named, data.ndim)


def _extreme(data: Tensor, over: list[int], keepdims: int, function: Any, *, largest: bool) -> Tensor:
    if not over:
        return data
    if data.dtype == torch.bool:
        return _extreme(data.to(torch.uint8), over, keepdims, function, largest=largest).to(torch.bool)
    if prod(data.shape[axis] for axis in over):
        result: Tensor = function(data, over, bool(keepdims))
        return result
    # Of nothing, the smallest maximum and the largest minimum there is.
    kept = [1 if axis in over else size for axis, size in enumerate(data.shape) if keepdims or axis not in over]
    if data.is_floating_point():
        return data.new_full(kept, float("inf") if largest else float("-inf"))
    limits = torch.iinfo(data.dtype)
    return data.new_full(kept, limits.max if largest else limits.min)


def _running(function: Any, x: Tensor, axis: int, start: int, exclusive: int, reverse: int) -> Tensor:
    if reverse:
        x = torch.flip(x, [axis])
    if exclusive:
        first = torch.full_like(x.narrow(axis, 0, 1), start)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    result: Tensor = function(x, axis, dtype=x.dtype)
    return torch.flip(result, [axis]) if reverse else result
