"""What several families of operators share: element types, attributes that may be tensors, windows over an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.errors import ModelError
from compressctl.numerics.im2col import same_pads

Ints = Tensor | Sequence[int]

# TensorProto.DataType. Integers of less than 8 bits are held in 8.
DTYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    14: torch.complex64,
    15: torch.complex128,
    16: torch.bfloat16,
    17: torch.float8_e4m3fn,
    18: torch.float8_e4m3fnuz,
    19: torch.float8_e5m2,
    20: torch.float8_e5m2fnuz,
    21: torch.uint8,
    22: torch.int8,
    25: torch.uint8,
    26: torch.int8,
}
# The least and the greatest of those, by the same numbers.
SMALL: dict[int, tuple[int, int]] = {21: (0, 15), 22: (-8, 7), 25: (0, 3), 26: (-2, 1)}
_WIDE_UNSIGNED = frozenset({torch.uint16, torch.uint32, torch.uint64})


def dtype_of(number: int) -> torch.dtype:
    """Return the torch type of a number of TensorProto.DataType.

    Raises:
        ModelError: torch has no such type.
    """
    if number not in DTYPES:
        raise ModelError(f"torch has no element type for number {number} of ONNX's DataType")
    return DTYPES[number]


def ints(values: Ints) -> list[int]:
    """Return integers that came as an input or as an attribute."""
    return [int(value) for value in (values.reshape(-1).tolist() if isinstance(values, Tensor) else values)]


def number(value: Any) -> Any:
    """Return a scalar that came as an input (a tensor of one element) or as an attribute."""
    return value.item() if isinstance(value, Tensor) else value


def constant(value: Tensor | None) -> Any:
    """Return a tensor of one element that does not train as a number, anything else as it is."""
    return value if value is None or value.requires_grad or value.numel() != 1 else value.item()


def axes_of(values: Ints | None, rank: int) -> list[int]:
    """Return axes, counted from the front; all of them where none are named."""
    return list(range(rank)) if values is None else [axis % rank if rank else 0 for axis in ints(values)]


def along(axis: int, index: Any, rank: int) -> tuple[Any, ...]:
    """Return what indexes one axis of a tensor and takes the others whole."""
    return tuple(index if a == axis % rank else slice(None) for a in range(rank))


def column(values: Tensor, axis: int, rank: int) -> Tensor:
    """Return a vector shaped to broadcast along one axis of a tensor of that rank."""
    return values.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compute in 64-bit integers what torch cannot in unsigned ones of 16 and more bits."""

    @wraps(function)
    def widened(*inputs: Any, **keywords: Any) -> Any:
        kind = next((x.dtype for x in inputs if isinstance(x, Tensor) and x.dtype in _WIDE_UNSIGNED), None)
        if kind is None:
            return function(*inputs, **keywords)
        result = function(*[_widened(x) for x in inputs], **keywords)
        return result.to(kind) if result.dtype == torch.int64 else result

    return widened


def _widened(value: Any) -> Any:
    return value.to(torch.int64) if isinstance(value, Tensor) and value.dtype in _WIDE_UNSIGNED else value


def unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return a function of torch as an operator of one input, whose signature can be read."""
    return wide(lambda X: function(X))


def spread(pads: Iterable[tuple[int, int]]) -> list[int]:
    """Return (begin, end) of each trailing axis in the order of `F.pad`: last axis first."""
    return [amount for begin, end in reversed(list(pads)) for amount in (begin, end)]


def spatial_pads(
    pads: Sequence[int] | None,
    auto_pad: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    """Return (begin, end) of each spatial axis, by `pads` or by `auto_pad`."""
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pads = same_pads(sizes, kernel, strides, dilations, upper=auto_pad == "SAME_UPPER")
    return paired(None if auto_pad == "VALID" else pads, len(kernel))


def paired(pads: Sequence[int] | None, rank: int) -> list[tuple[int, int]]:
    """Return (begin, end) of each spatial axis from all begins and then all ends; None pads nothing."""
    return list(zip(pads[:rank], pads[rank:], strict=True)) if pads is not None else [(0, 0)] * rank


def even(pads: Iterable[tuple[int, int]]) -> bool:
    """Whether both ends of every axis are padded alike: what torch's own kernels take."""
    return all(begin == end for begin, end in pads)


def windows(
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[tuple[int, int]],
    fill: float = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """Return the sliding windows over the last axes, as a view of the padded tensor.

    Args:
        x: of any rank; the last `len(kernel)` axes are spatial.
        kernel: the window's size along each spatial axis; strides and dilations likewise.
        pads: (begin, end) of each spatial axis.
        fill: what to pad with.
        ceil_mode: whether a last window may reach over the end, if it starts inside the input or its begin padding.

    Returns:
        shape (..., windows along each axis, kernel flattened).
    """
    rank = len(kernel)
    reaches = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    counts = [
        _window_count(size, reach, stride, pad, ceil_mode)
        for size, reach, stride, pad in zip(x.shape[-rank:], reaches, strides, pads, strict=True)
    ]
    # The end is padded, or cropped, to what the windows cover exactly.
    ends = [
        (count - 1) * stride + reach - size - begin
        for count, stride, reach, size, (begin, _) in zip(counts, strides, reaches, x.shape[-rank:], pads, strict=True)
    ]
    x = F.pad(x, spread([(begin, end) for (begin, _), end in zip(pads, ends, strict=True)]), value=fill)
    first = x.ndim - rank
    for axis, (reach, stride, dilation) in enumerate(zip(reaches, strides, dilations, strict=True)):
        x = x.unfold(first + axis, reach, stride)[..., ::dilation]
    return x.flatten(-rank)


def _window_count(size: int, reach: int, stride: int, pad: tuple[int, int], ceil_mode: bool) -> int:
    room = size + sum(pad) - reach
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + pad[0] else count
