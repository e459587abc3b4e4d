"""Shapes, layouts, and joining and cutting tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import Ints, axes_of, column, ints, number, spread


def Shape(data: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(list(data.shape)[start:end], dtype=torch.int64, device=data.device)


def Size(data: Tensor) -> Tensor:
    return torch.tensor(data.numel(), dtype=torch.int64, device=data.device)


def Identity(input: Any) -> Any:
    return input


def Reshape(data: Tensor, shape: Ints, *, allowzero: int = 0) -> Tensor:
    sizes = ints(shape)
    if not allowzero:
        sizes = [data.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return data.reshape(sizes)


def Flatten(input: Tensor, *, axis: int = 1) -> Tensor:
    axis = axis + input.ndim if axis < 0 else axis
    return input.reshape(input.shape[:axis].numel(), input.shape[axis:].numel())


def Transpose(data: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    return data.permute(*(perm if perm is not None else range(data.ndim - 1, -1, -1)))


def Squeeze(data: Tensor, axes: Ints | None = None) -> Tensor:
    return data.squeeze() if axes is None else data.squeeze(tuple(axes_of(axes, data.ndim)))


def Unsqueeze(data: Tensor, axes: Ints) -> Tensor:
    new = ints(axes)
    for axis in sorted(axis % (data.ndim + len(new)) for axis in new):
        data = data.unsqueeze(axis)
    return data


def Expand(input: Tensor, shape: Ints) -> Tensor:
    return input.expand(torch.broadcast_shapes(input.shape, tuple(ints(shape))))  # type: ignore[no-untyped-call]


def Tile(input: Tensor, repeats: Ints) -> Tensor:
    return input.repeat(ints(repeats))


def Concat(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, axis)


def Split(
    input: Tensor, split: Ints | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int = 1
) -> tuple[Tensor, ...]:
    if split is not None:
        return torch.split(input, ints(split), axis)
    # All parts of one size but the last, which is what remains.
    size, count = input.shape[axis], num_outputs or outputs
    part = -(-size // count)
    return torch.split(input, [min(part, max(size - part * i, 0)) for i in range(count)], axis)


def Slice(data: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None) -> Tensor:
    first, last = ints(starts), ints(ends)
    over = axes_of(axes, data.ndim)[: len(first)]
    strides = ints(steps) if steps is not None else [1] * len(first)
    index = [slice(None)] * data.ndim
    backwards = []
    for axis, start, end, step in zip(over, first, last, strides, strict=True):
        if step > 0:
            index[axis] = slice(*slice(start, end, step).indices(data.shape[axis]))
            continue
        # torch has no negative steps: take the same elements forwards, then turn them round.
        taken = range(data.shape[axis])[slice(start, end, step)]
        index[axis] = slice(taken[-1], taken[0] + 1, -step) if taken else slice(0, 0)
        backwards.append(axis)
    result = data[tuple(index)]
    return torch.flip(result, backwards) if backwards else result


def Pad(
    data: Tensor, pads: Ints, constant_value: Any = None, axes: Ints | None = None, *, mode: str = "constant"
) -> Tensor:
    over, amounts = axes_of(axes, data.ndim), ints(pads)
    pairs = dict(zip(over, zip(amounts[: len(over)], amounts[len(over) :], strict=True), strict=True))
    whole = [pairs.get(axis, (0, 0)) for axis in range(data.ndim)]
    if mode == "constant":
        return F.pad(data, spread(whole), value=0 if constant_value is None else number(constant_value))
    if mode == "reflect" and _reflects_natively(data, whole):
        return F.pad(data, spread(whole[2:]), mode="reflect")
    for axis, (begin, end) in enumerate(whole):
        if begin or end:
            size = data.shape[axis]
            index = [_folded(i, size, mode) for i in range(-begin, size + end)]
            data = torch.index_select(data, axis, torch.tensor(index, dtype=torch.int64, device=data.device))
    return data


def CenterCropPad(input_data: Tensor, shape: Ints, *, axes: Ints | None = None) -> Tensor:
    pairs = [(0, 0)] * input_data.ndim
    for axis, want in zip(axes_of(axes, input_data.ndim), ints(shape), strict=True):
        have = input_data.shape[axis]
        crop, more = max(have - want, 0), max(want - have, 0)
        pairs[axis] = (more // 2 - crop // 2, more - more // 2 - (crop - crop // 2))
    return F.pad(input_data, spread(pairs))


def DepthToSpace(input: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = input.shape
    depth = c // blocksize**2
    if mode == "CRD":
        return F.pixel_shuffle(input, blocksize)
    blocks = input.reshape(n, blocksize, blocksize, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, depth, h * blocksize, w * blocksize)


def SpaceToDepth(input: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = input.shape
    if mode == "CRD":
        return F.pixel_unshuffle(input, blocksize)
    blocks = input.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


def Trilu(input: Tensor, k: Any = None, *, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else int(number(k))
    return torch.triu(input, diagonal) if upper else torch.tril(input, diagonal)


def ReverseSequence(input: Tensor, sequence_lens: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    rank = input.ndim
    steps = column(torch.arange(input.shape[time_axis], device=input.device), time_axis, rank)
    lengths = column(sequence_lens, batch_axis, rank)
    return torch.take_along_dim(input, torch.where(steps < lengths, lengths - 1 - steps, steps), time_axis)


def _reflects_natively(data: Tensor, pads: Sequence[tuple[int, int]]) -> bool:
    return (
        3 <= data.ndim <= 5
        and pads[0] == pads[1] == (0, 0)
        and all(0 <= amount < size for pair, size in zip(pads, data.shape, strict=True) for amount in pair)
    )


def _folded(index: int, size: int, mode: str) -> int:
    """Return which element of an axis stands at an index that may lie outside."""
    if mode == "wrap":
        return index % size
    if mode == "edge":
        return min(max(index, 0), size - 1)
    period = max(2 * (size - 1), 1)
    return min(index % period, period - index % period) if size > 1 else 0
