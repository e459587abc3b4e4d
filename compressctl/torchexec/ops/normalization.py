"""Normalisations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import Ints, axes_of


def BatchNormalization(
    X: Tensor,
    scale: Tensor,
    B: Tensor,
    input_mean: Tensor,
    input_var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """With `training_mode`, also return the new running statistics; their variance is the population's, as in ONNX."""
    if not training_mode:
        return F.batch_norm(X, input_mean.detach(), input_var.detach(), scale, B, False, 0.0, epsilon)
    y = F.batch_norm(X, None, None, scale, B, True, 0.0, epsilon)
    if outputs == 1:
        return y
    variance, mean = torch.var_mean(X.detach(), [0, *range(2, X.ndim)], correction=0)
    running_mean = input_mean * momentum + mean.to(input_mean.dtype) * (1 - momentum)
    running_var = input_var * momentum + variance.to(input_var.dtype) * (1 - momentum)
    return y, running_mean, running_var


def InstanceNormalization(input: Tensor, scale: Tensor, B: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(input, weight=scale, bias=B, eps=epsilon)


def LayerNormalization(
    X: Tensor,
    Scale: Tensor,
    B: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    shape = X.shape[axis % X.ndim :]
    weight, bias = _of_shape(Scale, shape), None if B is None else _of_shape(B, shape)
    if outputs == 1:
        return F.layer_norm(X, shape, weight, bias, epsilon)
    return torch.native_layer_norm(X, shape, weight, bias, epsilon)


def RMSNormalization(X: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    shape = X.shape[axis % X.ndim :]
    return F.rms_norm(X, shape, _of_shape(scale, shape), epsilon)


def GroupNormalization(
    X: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1, opset: int
) -> Tensor:
    if opset < 21:  # one scale a group, not a channel
        per_group = [num_groups, X.shape[1] // num_groups]
        scale, bias = (p[:, None].expand(per_group).flatten() for p in (scale, bias))
    return F.group_norm(X, num_groups, scale, bias, epsilon)


def LpNormalization(input: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    return F.normalize(input, p, axis)


def LRN(X: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    # torch's own pads an even window the other way round.
    spare = [0] * 2 * (X.ndim - 2)
    squares = F.pad(torch.square(X), [*spare, (size - 1) // 2, size // 2])
    return X * torch.pow(bias + alpha / size * squares.unfold(1, size, 1).sum(-1), -beta)


def MeanVarianceNormalization(X: Tensor, *, axes: Ints = (0, 2, 3)) -> Tensor:
    over = axes_of(axes, X.ndim)
    centred = X - torch.mean(X, over, keepdim=True)
    return centred / (torch.sqrt(torch.mean(torch.square(centred), over, keepdim=True)) + 1e-9)


def _of_shape(parameter: Tensor, shape: torch.Size) -> Tensor:
    return parameter if parameter.shape == shape else parameter.expand(shape)
