"""Convolutions, in reals and in 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.errors import ModelError
from compressctl.torchexec.ops.common import Ints, column, even, ints, paired, spatial_pads, spread, windows
from compressctl.torchexec.ops.quantize import centred, requantized

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def Conv(
    X: Tensor,
    W: Tensor,
    B: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    rank = W.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pairs = spatial_pads(pads, auto_pad, X.shape[2:], W.shape[2:], strides, dilations)
    if not even(pairs):
        X, pairs = F.pad(X, spread(pairs)), [(0, 0)] * rank
    return _of_rank(_CONVOLUTIONS, rank)(X, W, B, strides, [begin for begin, _ in pairs], dilations, group)


def ConvTranspose(
    X: Tensor,
    W: Tensor,
    B: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    rank = W.ndim - 2
    strides, dilations, extra = strides or [1] * rank, dilations or [1] * rank, output_padding or [0] * rank
    pairs = paired(pads, rank)
    if output_shape is not None or auto_pad.startswith("SAME"):
        wanted = output_shape or [size * stride for size, stride in zip(X.shape[2:], strides, strict=True)]
        full = [
            (size - 1) * stride + (k - 1) * dilation + 1 + more
            for size, stride, k, dilation, more in zip(X.shape[2:], strides, W.shape[2:], dilations, extra, strict=True)
        ]
        totals = [have - want for have, want in zip(full, list(wanted)[-rank:], strict=True)]
        pairs = [
            (total // 2, total - total // 2) if auto_pad == "SAME_UPPER" else (total - total // 2, total // 2)
            for total in totals
        ]
    function = _of_rank(_TRANSPOSED, rank)
    begins = [begin for begin, _ in pairs]
    # What torch calls output_padding: by how much less the end is cropped than the beginning.
    more = [begin - end + e for (begin, end), e in zip(pairs, extra, strict=True)]
    if min(begins) >= 0 and all(
        0 <= m < max(stride, dilation) for m, stride, dilation in zip(more, strides, dilations, strict=True)
    ):
        return function(X, W, B, strides, begins, more, group, dilations)
    full_output = function(X, W, None, strides, 0, 0, group, dilations)
    crops = [(-begin, -(end - e)) for (begin, end), e in zip(pairs, extra, strict=True)]
    cropped = F.pad(full_output, spread(crops))
    return cropped if B is None else cropped + column(B, 1, cropped.ndim)


def CausalConvWithState(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    past_state: Tensor | None = None,
    *,
    activation: str = "none",
) -> tuple[Tensor, Tensor]:
    state = weight.shape[-1] - 1
    whole = F.pad(input, [state, 0]) if past_state is None else torch.cat([past_state, input], -1)
    y = F.conv1d(whole, weight, bias, groups=weight.shape[0])
    return y if activation == "none" else F.silu(y), whole.narrow(-1, whole.shape[-1] - state, state)


def ConvInteger(
    x: Tensor,
    w: Tensor,
    x_zero_point: Tensor | None = None,
    w_zero_point: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    return Conv(
        centred(x, x_zero_point, 1),
        centred(w, w_zero_point, 0),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    ).to(torch.int32)


def QLinearConv(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    B: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    sums = Conv(
        centred(x, x_zero_point, 1),
        centred(w, w_zero_point, 0),
        None if B is None else B.double(),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    scale = x_scale * w_scale / y_scale
    return requantized(sums, column(scale, 1, sums.ndim) if scale.numel() > 1 else scale, y_zero_point)


def DeformConv(
    X: Tensor,
    W: Tensor,
    offset: Tensor,
    B: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    rank = W.ndim - 2
    strides, dilations, begins = strides or [1] * rank, dilations or [1] * rank, list(pads or [0] * rank)[:rank]
    kernel, out, batch, taps = W.shape[2:], offset.shape[2:], X.shape[0], prod(W.shape[2:])
    # Where each tap of the kernel reads, [offset groups, taps, rank, *out], in pixels; then as grid_sample counts.
    positions = torch.meshgrid(
        *[torch.arange(n, device=X.device) * s - b for n, s, b in zip(out, strides, begins, strict=True)], indexing="ij"
    )
    steps = torch.tensor(list(product(*[range(0, k * d, d) for k, d in zip(kernel, dilations, strict=True)])))
    base = torch.stack(positions) + steps.to(X.device).reshape(taps, rank, *[1] * rank)
    pixels = base + offset.reshape(batch * offset_group, taps, rank, *out)
    sizes = torch.tensor(X.shape[2:], device=X.device, dtype=X.dtype).reshape(rank, *[1] * rank)
    grid = torch.movedim((2 * pixels + 1) / sizes - 1, 2, -1).flip(-1).flatten(1, 2)
    read = F.grid_sample(X.reshape(batch * offset_group, -1, *X.shape[2:]), grid, align_corners=False)
    read = read.reshape(batch * offset_group, -1, taps, *out)
    if mask is not None:
        read = read * mask.reshape(batch * offset_group, 1, taps, *out)
    columns = read.reshape(batch, group, -1, prod(out))
    y = torch.matmul(W.reshape(group, W.shape[0] // group, -1), columns).reshape(batch, W.shape[0], *out)
    return y if B is None else y + column(B, 1, y.ndim)


def Col2Im(
    input: Tensor,
    image_shape: Ints,
    block_shape: Ints,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    image, block = ints(image_shape), ints(block_shape)
    rank, taps = len(image), prod(block)
    pairs = paired(pads, rank)
    # Where each column's numbers lie in the padded image; columns are added up there.
    padded = [size + begin + end for size, (begin, end) in zip(image, pairs, strict=True)]
    places = torch.arange(prod(padded), device=input.device).reshape(padded)
    places = windows(places, block, strides or [1] * rank, dilations or [1] * rank, [(0, 0)] * rank)
    index = torch.movedim(places, -1, 0).flatten()
    columns = input.reshape(input.shape[0], -1, taps, input.shape[2]).flatten(2)
    empty = torch.zeros([*columns.shape[:2], prod(padded)], dtype=input.dtype, device=input.device)
    whole = torch.index_add(empty, 2, index, columns).reshape(*columns.shape[:2], *padded)
    return F.pad(whole, spread([(-begin, -end) for begin, end in pairs]))


def _of_rank(functions: dict[int, Callable[..., Tensor]], rank: int) -> Callable[..., Tensor]:
    if rank not in functions:
        raise ModelError(f"a convolution over {rank} axes cannot be executed for training", "1, 2 or 3 axes can")
    return functions[rank]
