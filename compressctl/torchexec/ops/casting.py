"""Conversions of element types."""

from __future__ import annotations

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import SMALL, dtype_of
from compressctl.torchexec.ops.quantize import FLOAT8, to_float8


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
