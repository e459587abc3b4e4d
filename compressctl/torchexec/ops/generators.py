"""Tensors made of no other tensor's values: constants, ranges, random numbers.

Random numbers come from torch's generator; an operator's seed is not used, since it would repeat the same numbers at
every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import Ints, dtype_of, ints, number


def Constant(
    *,
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
) -> Tensor:
    if value is not None:
        return value
    if value_float is not None or value_floats is not None:
        return torch.tensor(value_float if value_float is not None else list(value_floats or ()), dtype=torch.float32)
    return torch.tensor(value_int if value_int is not None else list(value_ints or ()), dtype=torch.int64)


def ConstantOfShape(input: Ints, *, value: Tensor | None = None) -> Tensor:
    device = input.device if isinstance(input, Tensor) else None
    fill, kind = (0.0, torch.float32) if value is None else (value.item(), value.dtype)
    return torch.full(ints(input), fill, dtype=kind, device=device)


def EyeLike(input: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    kind = input.dtype if dtype is None else dtype_of(dtype)
    rows, columns = (torch.arange(size, device=input.device) for size in input.shape)
    return (columns[None, :] - rows[:, None] == k).to(kind)


def Range(start: Tensor, limit: Tensor, delta: Tensor, *, stash_type: int = 1) -> Tensor:
    return torch.arange(number(start), number(limit), number(delta), device=start.device).to(start.dtype)


def RandomNormal(
    *, shape: Sequence[int], dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Tensor:
    return torch.randn(*shape, dtype=dtype_of(dtype)) * scale + mean


def RandomNormalLike(
    input: Tensor, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Tensor:
    return torch.randn_like(input, dtype=_like(input, dtype)) * scale + mean


def RandomUniform(
    *, shape: Sequence[int], dtype: int = 1, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> Tensor:
    return torch.rand(*shape, dtype=dtype_of(dtype)) * (high - low) + low


def RandomUniformLike(
    input: Tensor, *, dtype: int | None = None, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> Tensor:
    return torch.rand_like(input, dtype=_like(input, dtype)) * (high - low) + low


def Bernoulli(input: Tensor, *, dtype: int | None = None, seed: float | None = None) -> Tensor:
    return torch.bernoulli(input).to(_like(input, dtype))


def Multinomial(input: Tensor, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Tensor:
    """Draw classes; `input` holds logarithms of unnormalised probabilities."""
    drawn = torch.multinomial(torch.softmax(input, -1), sample_size, replacement=True)
    return drawn.to(dtype_of(dtype))


def HannWindow(size: Any, *, periodic: int = 1, output_datatype: int = 1) -> Tensor:
    return _window(size, periodic, output_datatype, [0.5, 0.5])


def HammingWindow(size: Any, *, periodic: int = 1, output_datatype: int = 1) -> Tensor:
    return _window(size, periodic, output_datatype, [25 / 46, 21 / 46])


def BlackmanWindow(size: Any, *, periodic: int = 1, output_datatype: int = 1) -> Tensor:
    return _window(size, periodic, output_datatype, [0.42, 0.5, 0.08])


def _like(input: Tensor, dtype: int | None) -> torch.dtype:
    return input.dtype if dtype is None else dtype_of(dtype)


def _window(size: Any, periodic: int, output_datatype: int, coefficients: Sequence[float]) -> Tensor:
    """Return a sum of cosines of alternating sign."""
    count = int(number(size))
    device = size.device if isinstance(size, Tensor) else None
    phase = torch.arange(count, dtype=torch.float64, device=device) * (
        2 * torch.pi / (count if periodic else count - 1)
    )
    terms = [(-1) ** k * c * torch.cos(k * phase) for k, c in enumerate(coefficients)]
    return torch.stack(terms).sum(0).to(dtype_of(output_datatype))
