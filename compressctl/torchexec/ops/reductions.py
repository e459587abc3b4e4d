"""Reductions over axes, and running ones along an axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import Ints, axes_of, ints, number, wide


def _reduction(compute: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    """Return the operator that `compute` is, told which axes to reduce (there may be none) and whether to keep them."""

    def reduced(data: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        named = [] if axes is None else ints(axes)
        every = [] if noop_with_empty_axes else list(range(data.ndim))
        return compute(data, axes_of(named, data.ndim) if named else every, bool(keepdims))

    return reduced


def _sum(data: Tensor, over: list[int], keep: bool) -> Tensor:
    return torch.sum(data, over, keep, dtype=data.dtype) if over else data


def _mean(data: Tensor, over: list[int], keep: bool) -> Tensor:
    if not over:
        return data
    if data.is_floating_point():
        return torch.mean(data, over, keep)
    return torch.mean(data, over, keep, dtype=torch.float64).to(data.dtype)


def _product(data: Tensor, over: list[int], keep: bool) -> Tensor:
    result = data
    for axis in over:
        result = torch.prod(result, axis, keepdim=True, dtype=data.dtype)
    return result if keep or not over else result.squeeze(tuple(over))


def _log_sum_exp(data: Tensor, over: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(data, over, keep).to(data.dtype) if over else data


def _extreme(data: Tensor, over: list[int], keep: bool, function: Any, *, largest: bool) -> Tensor:
    if not over:
        return data
    if data.dtype == torch.bool:
        return _extreme(data.to(torch.uint8), over, keep, function, largest=largest).to(torch.bool)
    if prod(data.shape[axis] for axis in over):
        result: Tensor = function(data, over, keep)
        return result
    # Of nothing, the smallest maximum and the largest minimum there is.
    kept = [1 if axis in over else size for axis, size in enumerate(data.shape) if keep or axis not in over]
    if data.is_floating_point():
        return data.new_full(kept, float("inf") if largest else float("-inf"))
    limits = torch.iinfo(data.dtype)
    return data.new_full(kept, limits.max if largest else limits.min)


ReduceSum, ReduceMean, ReduceProd, ReduceLogSumExp = map(_reduction, (_sum, _mean, _product, _log_sum_exp))
ReduceMax = wide(_reduction(partial(_extreme, function=torch.amax, largest=False)))
ReduceMin = wide(_reduction(partial(_extreme, function=torch.amin, largest=True)))
ReduceL1 = _reduction(lambda x, *how: _sum(torch.abs(x), *how))
ReduceSumSquare = _reduction(lambda x, *how: _sum(torch.square(x), *how))
ReduceL2 = _reduction(lambda x, *how: torch.sqrt(_sum(torch.square(x), *how)).to(x.dtype))
ReduceLogSum = _reduction(lambda x, *how: torch.log(_sum(x, *how)).to(x.dtype))


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


def _running(function: Any, x: Tensor, axis: int, start: int, exclusive: int, reverse: int) -> Tensor:
    if reverse:
        x = torch.flip(x, [axis])
    if exclusive:
        first = torch.full_like(x.narrow(axis, 0, 1), start)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    result: Tensor = function(x, axis, dtype=x.dtype)
    return torch.flip(result, [axis]) if reverse else result
