"""Pooling, global pooling and unpooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import Ints, even, ints, spatial_pads, spread, windows

_AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAXIMUM: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def AveragePool(
    X: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pairs = spatial_pads(pads, auto_pad, X.shape[2:], kernel_shape, strides, dilations)
    if rank in _AVERAGE and max(dilations) == 1 and _fit(pairs, kernel_shape):
        begins = [begin for begin, _ in pairs]
        return _AVERAGE[rank](X, list(kernel_shape), strides, begins, bool(ceil_mode), bool(count_include_pad))
    sums = windows(X, kernel_shape, strides, dilations, pairs, ceil_mode=bool(ceil_mode)).sum(-1)
    # What counts is the input, with count_include_pad the padding too; never what lies beyond the padding.
    counted = torch.ones(X.shape[2:], dtype=X.dtype, device=X.device)
    if count_include_pad:
        counted = F.pad(counted, spread(pairs), value=1.0)
        pairs = [(0, 0)] * rank
    return sums / windows(counted, kernel_shape, strides, dilations, pairs, ceil_mode=bool(ceil_mode)).sum(-1)


def MaxPool(
    X: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pairs = spatial_pads(pads, auto_pad, X.shape[2:], kernel_shape, strides, dilations)
    if outputs == 1 and rank in _MAXIMUM and _fit(pairs, kernel_shape):
        begins = [begin for begin, _ in pairs]
        return _MAXIMUM[rank](X, list(kernel_shape), strides, begins, dilations, bool(ceil_mode))
    lowest = float("-inf") if X.is_floating_point() else torch.iinfo(X.dtype).min
    seen = windows(X, kernel_shape, strides, dilations, pairs, lowest, bool(ceil_mode))
    y, tap = torch.max(seen, -1, keepdim=True)
    if outputs == 1:
        return y.squeeze(-1)
    places = torch.arange(X.numel(), device=X.device).reshape(X.shape)
    if storage_order:  # counted column first within each plane
        plane = torch.arange(prod(X.shape[2:]), device=X.device).reshape(X.shape[2:][::-1])
        plane = plane.permute(*range(rank - 1, -1, -1))
        places = places - places % plane.numel() + plane
    indices = windows(places, kernel_shape, strides, dilations, pairs, 0, bool(ceil_mode))
    return y.squeeze(-1), torch.gather(indices, -1, tap).squeeze(-1)


def LpPool(
    X: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    rank = len(kernel_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pairs = spatial_pads(pads, auto_pad, X.shape[2:], kernel_shape, strides, dilations)
    seen = windows(X, kernel_shape, strides, dilations, pairs, ceil_mode=bool(ceil_mode))
    norms: Tensor = torch.linalg.vector_norm(seen, p, -1)
    return norms


def GlobalAveragePool(X: Tensor) -> Tensor:
    return torch.mean(X, list(range(2, X.ndim)), keepdim=True)


def GlobalMaxPool(X: Tensor) -> Tensor:
    return torch.amax(X, list(range(2, X.ndim)), keepdim=True)


def GlobalLpPool(X: Tensor, *, p: int = 2) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(X, p, list(range(2, X.ndim)), keepdim=True)
    return norms


def MaxUnpool(
    X: Tensor,
    I: Tensor,  # noqa: E741
    output_shape: Ints | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    rank = len(kernel_shape)
    strides, pads = strides or [1] * rank, pads or [0] * 2 * rank
    natural = [
        *X.shape[:2],
        *[
            (size - 1) * strides[axis] + kernel_shape[axis] - pads[axis] - pads[rank + axis]
            for axis, size in enumerate(X.shape[2:])
        ],
    ]
    # The indices count in the pooled tensor as it was, which a larger output_shape holds in its corner.
    empty = torch.zeros(prod(natural), dtype=X.dtype, device=X.device)
    y = torch.scatter(empty, 0, I.flatten(), X.flatten()).reshape(natural)
    if output_shape is None:
        return y
    grown = [(0, want - have) for want, have in zip(ints(output_shape), natural, strict=True)]
    return F.pad(y, spread(grown))


def _fit(pads: Sequence[tuple[int, int]], kernel: Sequence[int]) -> bool:
    """Whether torch's own pooling takes this padding."""
    return even(pads) and all(begin <= k // 2 for (begin, _), k in zip(pads, kernel, strict=True))
