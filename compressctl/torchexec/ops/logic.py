"""Comparison, boolean and bitwise operators."""

from __future__ import annotations

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import dtype_of, wide


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


def BitCast(input: Tensor, *, to: int) -> Tensor:
    return input.view(dtype_of(to))
