"""Arithmetic, comparisons, logic and functions of mathematics, element by element with broadcasting."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import constant, unary, wide


def mathematical(op_type: str) -> Callable[..., Tensor]:
    """Return the function that torch has under the operator's name, in lower case."""
    return unary(getattr(torch, op_type.lower()))


Add, Sub, Mul = wide(operator.add), wide(operator.sub), wide(operator.mul)
Equal, Greater, GreaterOrEqual = wide(operator.eq), wide(operator.gt), wide(operator.ge)
Less, LessOrEqual = wide(operator.lt), wide(operator.le)
And, Or, Xor, Not = operator.and_, operator.or_, operator.xor, operator.invert
BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot = wide(And), wide(Or), wide(Xor), wide(Not)
IsNaN = unary(torch.isnan)


@wide
def Div(A: Tensor, B: Tensor) -> Tensor:
    # Integers are divided towards zero.
    return A / B if A.is_floating_point() else torch.div(A, B, rounding_mode="trunc")


@wide
def Mod(A: Tensor, B: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(A, B) if fmod else torch.remainder(A, B)


def Pow(X: Tensor, Y: Tensor) -> Tensor:
    # A number as exponent lets torch square instead of calling pow().
    exponent = constant(Y) if Y.ndim <= X.ndim else Y
    if not isinstance(exponent, Tensor) and float(exponent).is_integer():
        exponent = int(exponent)
    elif isinstance(exponent, Tensor) and exponent.dtype in (torch.uint16, torch.uint32, torch.uint64):
        exponent = exponent.to(torch.int64)
    result = torch.pow(X, exponent)
    return result if result.dtype == X.dtype else result.to(X.dtype)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return wide(lambda *data_0: reduce(function, data_0))


Max, Min, Sum = _folded(torch.maximum), _folded(torch.minimum), _folded(torch.add)


def Mean(*data_0: Tensor) -> Tensor:
    return reduce(torch.add, data_0) / len(data_0)


def Where(condition: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    return torch.where(condition, X, Y)


def PRelu(X: Tensor, slope: Tensor) -> Tensor:
    channels = X.shape[1] if X.ndim > 1 else 1
    if X.is_floating_point() and slope.shape == (channels, *[1] * (X.ndim - 2)):
        return F.prelu(X, slope.flatten())
    return torch.where(X < 0, slope * X, X)


def IsInf(X: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    if detect_negative and detect_positive:
        return torch.isinf(X)
    if detect_positive:
        return torch.isposinf(X)
    return torch.isneginf(X) if detect_negative else torch.zeros_like(X, dtype=torch.bool)


@wide
def BitShift(X: Tensor, Y: Tensor, *, direction: str) -> Tensor:
    return X << Y if direction == "LEFT" else X >> Y
