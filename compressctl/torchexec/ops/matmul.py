"""Matrix products, in reals and in 8-bit integers."""

from __future__ import annotations

import torch
from torch import Tensor

from compressctl.torchexec.ops.common import wide
from compressctl.torchexec.ops.quantize import centred, requantized


@wide
def MatMul(A: Tensor, B: Tensor) -> Tensor:
    return torch.matmul(A, B)


@wide
def Gemm(
    A: Tensor,
    B: Tensor,
    C: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    a = A.t() if transA else A
    b = B.t() if transB else B
    if C is not None and A.is_floating_point():
        return torch.addmm(C, a, b, beta=beta, alpha=alpha)
    product = torch.mm(a, b)
    if alpha != 1:
        product = alpha * product
    return product if C is None else (product + beta * C).to(A.dtype)


def Einsum(*Inputs: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *Inputs)


def Det(X: Tensor) -> Tensor:
    return torch.det(X)


def MatMulInteger(
    A: Tensor, B: Tensor, a_zero_point: Tensor | None = None, b_zero_point: Tensor | None = None
) -> Tensor:
    return torch.matmul(centred(A, a_zero_point, -2), centred(B, b_zero_point, -1)).to(torch.int32)


def QLinearMatMul(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
) -> Tensor:
    sums = torch.matmul(centred(a, a_zero_point, -2), centred(b, b_zero_point, -1))
    rows = a_scale.unsqueeze(-1) if a_scale.ndim == 1 and a_scale.numel() > 1 else a_scale
    return requantized(sums, (rows * b_scale / y_scale).float(), y_zero_point)
