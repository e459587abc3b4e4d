"""Conversions of element types."""

from __future__ import annotations

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import BITS, dtype_of
from compressctl.torchexec.ops.quantize import to_float8

_SIGNED = (22, 26)


def Cast(input: Tensor, *, to: int, round_mode: str = "up", saturate: int = 1) -> Tensor:
    if to in BITS:
        return _low_bits(input, BITS[to], to in _SIGNED)
    return converted(input, dtype_of(to), bool(saturate))


def CastLike(input: Tensor, target_type: Tensor, *, round_mode: str = "up", saturate: int = 1) -> Tensor:
    return converted(input, target_type.dtype, bool(saturate))


def converted(x: Tensor, target: torch.dtype, saturate: bool) -> Tensor:
    if str(target).startswith("torch.float8"):
        return to_float8(x, target, saturate)
    if x.dtype.is_floating_point and target in (torch.uint16, torch.uint32, torch.uint64):
        return x.to(torch.int64).to(target)
    return x.to(target)


def _low_bits(x: Tensor, bits: int, signed: bool) -> Tensor:
    """Keep the lowest bits, in two's complement if signed."""
    low: Tensor = x.to(torch.int32) & (2**bits - 1)
    if signed:
        low = low - ((low >> (bits - 1)) << bits)
    return low.to(torch.int8 if signed else torch.uint8)
