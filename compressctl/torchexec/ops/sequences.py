"""Sequences of tensors, held as lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import ints, number


def SequenceConstruct(*inputs: Tensor) -> list[Tensor]:
    return list(inputs)


def SequenceEmpty(*, dtype: int = 1) -> list[Tensor]:
    return []


def SequenceLength(input_sequence: list[Tensor]) -> Tensor:
    return torch.tensor(len(input_sequence))


def SequenceAt(input_sequence: list[Tensor], position: Any) -> Tensor:
    return input_sequence[int(number(position))]


def SequenceInsert(input_sequence: list[Tensor], tensor: Tensor, position: Any = None) -> list[Tensor]:
    longer = list(input_sequence)
    longer.insert(len(longer) if position is None else int(number(position)), tensor)
    return longer


def SequenceErase(input_sequence: list[Tensor], position: Any = None) -> list[Tensor]:
    shorter = list(input_sequence)
    del shorter[-1 if position is None else int(number(position))]
    return shorter


def SequenceMap(
    input_sequence: list[Tensor], *additional_inputs: Any, body: Callable[..., tuple[Any, ...]]
) -> tuple[list[Any], ...]:
    results = [
        body(item, *[other[index] if isinstance(other, list) else other for other in additional_inputs])
        for index, item in enumerate(input_sequence)
    ]
    return tuple(list(items) for items in zip(*results, strict=True))


def ConcatFromSequence(input_sequence: list[Tensor], *, axis: int, new_axis: int = 0) -> Tensor:
    return torch.stack(input_sequence, axis) if new_axis else torch.cat(input_sequence, axis)


def SplitToSequence(input: Tensor, split: Tensor | None = None, *, axis: int = 0, keepdims: int = 1) -> list[Tensor]:
    if split is None and not keepdims:
        return list(input.unbind(axis))
    if split is None or split.ndim == 0:
        return list(torch.split(input, 1 if split is None else int(number(split)), axis))
    return list(torch.split(input, ints(split), axis))
