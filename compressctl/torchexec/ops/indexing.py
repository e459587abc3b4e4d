"""Reading and writing elements by index."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import column, number


def Gather(data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis = axis % data.ndim
    index = _positive(indices, data.shape[axis])
    if axis == 0 and data.ndim == 2 and data.is_floating_point():
        return F.embedding(index, data)
    taken = torch.index_select(data, axis, index.flatten())
    return taken.reshape([*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]])


def GatherElements(data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return torch.gather(data, axis, _positive(indices, data.shape[axis]))


def GatherND(data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    depth = indices.shape[-1]
    flat, rows = _rows(data, indices, batch_dims)
    taken = torch.index_select(flat, 0, rows.flatten())
    return taken.reshape([*indices.shape[:-1], *data.shape[batch_dims + depth :]])


def ScatterElements(
    data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    index = _positive(indices, data.shape[axis])
    if reduction == "none":
        return torch.scatter(data, axis, index, updates)
    return torch.scatter_reduce(data, axis, index, updates, _REDUCTIONS[reduction], include_self=True)


def Scatter(data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0) -> Tensor:
    return ScatterElements(data, indices, updates, axis=axis)


def ScatterND(data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    flat, rows = _rows(data, indices, 0)
    source, index = updates.reshape(rows.numel(), *flat.shape[1:]), rows.flatten()
    if reduction == "none":
        written = torch.index_copy(flat, 0, index, source)
    else:
        spread = column(index, 0, source.ndim).expand(source.shape)
        written = torch.scatter_reduce(flat, 0, spread, source, _REDUCTIONS[reduction], include_self=True)
    return written.reshape(data.shape)


def TensorScatter(
    past_cache: Tensor, update: Tensor, write_indices: Tensor | None = None, *, axis: int = -2, mode: str = "linear"
) -> Tensor:
    rank, size = past_cache.ndim, past_cache.shape[axis]
    index = column(torch.arange(update.shape[axis], device=update.device), axis, rank)
    if write_indices is not None:
        index = index + column(write_indices, 0, rank)
    index = index % size if mode == "circular" else index
    return torch.scatter(past_cache, axis, index.expand(update.shape), update)


def Compress(input: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    source = input.flatten() if axis is None else input
    return torch.index_select(source, axis or 0, torch.nonzero(condition).flatten())


def NonZero(X: Tensor) -> Tensor:
    return torch.nonzero(X).t()


def OneHot(indices: Tensor, depth: Any, values: Tensor, *, axis: int = -1) -> Tensor:
    size = int(number(depth))
    position = axis + indices.ndim + 1 if axis < 0 else axis
    classes = column(torch.arange(size, device=indices.device), position, indices.ndim + 1)
    index = indices.to(torch.int64).unsqueeze(position)
    on = (index == classes) | (index + size == classes)  # negative ones count from the end
    return torch.where(on, values[1], values[0])


def TopK(X: Tensor, K: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    # A stable sort: of equal elements, ONNX takes the one of lower index first, torch.topk any.
    values, indices = torch.sort(X, dim=axis, descending=bool(largest), stable=True)
    count = int(number(K))
    return values.narrow(axis, 0, count), indices.narrow(axis, 0, count)


def Unique(X: Tensor, *, axis: int | None = None, sorted: int = 1) -> tuple[Tensor, ...]:
    source = X.flatten() if axis is None else X
    along = axis or 0
    y, inverse, counts = torch.unique(source, return_inverse=True, return_counts=True, dim=along)
    positions = torch.arange(inverse.numel(), device=X.device)
    unset = torch.full_like(counts, inverse.numel())
    first = torch.scatter_reduce(unset, 0, inverse, positions, "amin")
    if not sorted:
        order = torch.argsort(first)
        y, first, counts = torch.index_select(y, along, order), first[order], counts[order]
        inverse = torch.argsort(order)[inverse]
    return y, first, inverse, counts


def _positive(indices: Tensor, size: int) -> Tensor:
    """Return indices with negative ones counted from the end, in 64 bits."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def _rows(data: Tensor, indices: Tensor, batch_dims: int) -> tuple[Tensor, Tensor]:
    """Return `data` with all indexed axes flattened into one, and the row in it of each index tuple."""
    depth = indices.shape[-1]
    batches, sizes = data.shape[:batch_dims], data.shape[batch_dims : batch_dims + depth]
    strides = [prod(sizes[axis + 1 :]) for axis in range(depth)]
    rows = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=indices.device)
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        rows = rows + _positive(indices[..., axis], size) * stride
    if batch_dims:
        offsets = torch.arange(prod(batches), device=indices.device) * prod(sizes)
        rows = rows + offsets.reshape(*batches, *[1] * (rows.ndim - batch_dims))
    return data.reshape([-1, *data.shape[batch_dims + depth :]]), rows


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
