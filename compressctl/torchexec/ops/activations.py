"""Activation functions, and Dropout."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import constant, number, unary, wide

Relu, HardSwish, Mish = unary(F.relu), unary(F.hardswish), unary(F.mish)
Sigmoid, Softplus, Softsign = unary(torch.sigmoid), unary(F.softplus), unary(F.softsign)


def LeakyRelu(X: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(X, alpha)


@wide
def Clip(input: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    if min is None and max is None:
        return input
    return torch.clamp(input, constant(min), constant(max))


def Elu(X: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(X, alpha)


def Celu(X: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.celu(X, alpha)


def Selu(X: Tensor, *, alpha: float = 1.6732631921768188, gamma: float = 1.0507010221481323) -> Tensor:
    if math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.0507010, rel_tol=1e-6):
        return F.selu(X)
    return gamma * F.elu(X, alpha)


def ThresholdedRelu(X: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.threshold(X, alpha, 0.0)


def Shrink(input: Tensor, *, lambd: float = 0.5, bias: float = 0.0) -> Tensor:
    inward = torch.where(input > lambd, input - bias, torch.zeros_like(input))
    return torch.where(input < -lambd, input + bias, inward).to(input.dtype)


def HardSigmoid(X: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    if beta == 0.5 and math.isclose(alpha, 1 / 6, rel_tol=1e-6):
        return F.hardsigmoid(X)
    return torch.clamp(alpha * X + beta, 0, 1)


def Swish(X: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.silu(X) if alpha == 1 else X * torch.sigmoid(alpha * X)


def SwiGLU(A: Tensor, B: Tensor, *, alpha: float = 1.0) -> Tensor:
    return Swish(A, alpha=alpha) * B


def Gelu(X: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(X, approximate=approximate)


def Softmax(input: Tensor, *, axis: int = -1) -> Tensor:
    return torch.softmax(input, axis)


def LogSoftmax(input: Tensor, *, axis: int = -1) -> Tensor:
    return torch.log_softmax(input, axis)


def Hardmax(input: Tensor, *, axis: int = -1) -> Tensor:
    first = torch.argmax(input, axis, keepdim=True)
    return torch.zeros_like(input).scatter(axis, first, 1)


def Dropout(
    data: Tensor,
    ratio: Any = None,
    training_mode: Any = None,
    *,
    seed: int | None = None,
    training: bool = False,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    # The module's mode decides, not training_mode: exporters write what the mode was when they ran. Numbers come from
    # torch's generator: with a seed of its own, each step would drop the same elements.
    share = 0.5 if ratio is None else number(ratio)
    if outputs == 1:
        return F.dropout(data, share, training)
    return torch.native_dropout(data, share, training)
