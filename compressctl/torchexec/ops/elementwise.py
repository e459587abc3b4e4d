"""Arithmetic, comparisons, logic and functions of mathematics, element by element with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import constant, wide


def mathematical(op_type: str) -> Callable[[Tensor], Tensor]:
    """Return the function that torch has under the operator's name, in lower case."""
    function: Callable[[Tensor], Tensor] = getattr(torch, op_type.lower())

    @wide
    def apply(X: Tensor) -> Tensor:
        return function(X)

    return apply


@wide
def Add(A: Tensor, B: Tensor) -> Tensor:
    return A + B


@wide
def Sub(A: Tensor, B: Tensor) -> Tensor:
    return A - B


@wide
def Mul(A: Tensor, B: Tensor) -> Tensor:
    return A * B


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


@wide
def Max(*data_0: Tensor) -> Tensor:
    return reduce(torch.maximum, data_0)


@wide
def Min(*data_0: Tensor) -> Tensor:
    return reduce(torch.minimum, data_0)


@wide
def Sum(*data_0: Tensor) -> Tensor:
    return reduce(torch.add, data_0)


def Mean(*data_0: Tensor) -> Tensor:
    return reduce(torch.add, data_0) / len(data_0)


def Where(condition: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    return torch.where(condition, X, Y)


def PRelu(X: Tensor, slope: Tensor) -> Tensor:
    channels = X.shape[1] if X.ndim > 1 else 1
    if X.is_floating_point() and slope.shape == (channels, *[1] * (X.ndim - 2)):
        return F.prelu(X, slope.flatten())
    return torch.where(X < 0, slope * X, X)


@wide
def Equal(A: Tensor, B: Tensor) -> Tensor:
    return A == B


@wide
def Greater(A: Tensor, B: Tensor) -> Tensor:
    return A > B


@wide
def GreaterOrEqual(A: Tensor, B: Tensor) -> Tensor:
    return A >= B


@wide
def Less(A: Tensor, B: Tensor) -> Tensor:
    return A < B


@wide
def LessOrEqual(A: Tensor, B: Tensor) -> Tensor:
    return A <= B


def And(A: Tensor, B: Tensor) -> Tensor:
    return A & B


def Or(A: Tensor, B: Tensor) -> Tensor:
    return A | B


def Xor(A: Tensor, B: Tensor) -> Tensor:
    return A ^ B


def Not(X: Tensor) -> Tensor:
    return ~X


def IsNaN(X: Tensor) -> Tensor:
    return torch.isnan(X)


def IsInf(X: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    if detect_negative and detect_positive:
        return torch.isinf(X)
    if detect_positive:
        return torch.isposinf(X)
    return torch.isneginf(X) if detect_negative else torch.zeros_like(X, dtype=torch.bool)


@wide
def BitwiseAnd(A: Tensor, B: Tensor) -> Tensor:
    return A & B


@wide
def BitwiseOr(A: Tensor, B: Tensor) -> Tensor:
    return A | B


@wide
def BitwiseXor(A: Tensor, B: Tensor) -> Tensor:
    return A ^ B


@wide
def BitwiseNot(X: Tensor) -> Tensor:
    return ~X


@wide
def BitShift(X: Tensor, Y: Tensor, *, direction: str) -> Tensor:
    return X << Y if direction == "LEFT" else X >> Y
