"""Arithmetic, rounding and trigonometry, element by element with broadcasting."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import constant, wide


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
def Neg(X: Tensor) -> Tensor:
    return -X


@wide
def Abs(X: Tensor) -> Tensor:
    return torch.abs(X)


@wide
def Sign(input: Tensor) -> Tensor:
    return torch.sign(input)


def Reciprocal(X: Tensor) -> Tensor:
    return torch.reciprocal(X)


def Sqrt(X: Tensor) -> Tensor:
    return torch.sqrt(X)


def Exp(input: Tensor) -> Tensor:
    return torch.exp(input)


def Log(input: Tensor) -> Tensor:
    return torch.log(input)


def Erf(input: Tensor) -> Tensor:
    return torch.erf(input)


def Ceil(X: Tensor) -> Tensor:
    return torch.ceil(X)


def Floor(X: Tensor) -> Tensor:
    return torch.floor(X)


def Round(X: Tensor) -> Tensor:
    return torch.round(X)


@wide
def Clip(input: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    if min is None and max is None:
        return input
    return torch.clamp(input, constant(min), constant(max))


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


def Sin(input: Tensor) -> Tensor:
    return torch.sin(input)


def Cos(input: Tensor) -> Tensor:
    return torch.cos(input)


def Tan(input: Tensor) -> Tensor:
    return torch.tan(input)


def Asin(input: Tensor) -> Tensor:
    return torch.asin(input)


def Acos(input: Tensor) -> Tensor:
    return torch.acos(input)


def Atan(input: Tensor) -> Tensor:
    return torch.atan(input)


def Sinh(input: Tensor) -> Tensor:
    return torch.sinh(input)


def Cosh(input: Tensor) -> Tensor:
    return torch.cosh(input)


def Tanh(input: Tensor) -> Tensor:
    return torch.tanh(input)


def Asinh(input: Tensor) -> Tensor:
    return torch.asinh(input)


def Acosh(input: Tensor) -> Tensor:
    return torch.acosh(input)


def Atanh(input: Tensor) -> Tensor:
    return torch.atanh(input)
