"""Attention in plain operators, where TorchScript has fused ones that torch.onnx cannot express, or only clumsily."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def scaled_dot_product(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Return unmasked attention (Vaswani et al. 2017, equation 1); tensors are [N, heads, length, size]."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return torch.softmax(query @ key.transpose(-2, -1) * factor, dim=-1) @ value


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    mask: Tensor | None = None,
    *_: object,
) -> tuple[Tensor, None]:
    """Return self-attention of [N, length, width], as `aten::_native_multi_head_attention` without weights.

    Raises:
        NotImplementedError: with a mask, or where query, key and value differ.
    """
    if mask is not None or query is not key or key is not value:
        raise NotImplementedError("fused attention with a mask, or of several tensors, is not supported")
    projected = F.linear(query, qkv_weight, qkv_bias)
    # The batch comes from -1, so that it may be dynamic.
    q, k, v = (
        part.reshape(-1, query.shape[1], heads, width // heads).transpose(1, 2) for part in projected.chunk(3, -1)
    )
    attended = scaled_dot_product(q, k, v).transpose(1, 2).reshape(-1, query.shape[1], width)
    return F.linear(attended, weight, bias), None


def encoder_layer(
    x: Tensor,
    width: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    gelu: bool,
    norm_first: bool,
    epsilon: float,
    norm1_weight: Tensor,
    norm1_bias: Tensor,
    norm2_weight: Tensor,
    norm2_bias: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    contract_weight: Tensor,
    contract_bias: Tensor,
    mask: Tensor | None = None,
    *_: object,
) -> Tensor:
    """Compute `aten::_transformer_encoder_layer_fwd`, which traces of nn.TransformerEncoder hold."""

    def attend(x: Tensor) -> Tensor:
        return multi_head(x, x, x, width, heads, qkv_weight, qkv_bias, weight, bias, mask)[0]

    def feed(x: Tensor) -> Tensor:
        hidden = F.linear(x, expand_weight, expand_bias)
        return F.linear(F.gelu(hidden) if gelu else F.relu(hidden), contract_weight, contract_bias)

    def norm1(x: Tensor) -> Tensor:
        return F.layer_norm(x, (width,), norm1_weight, norm1_bias, epsilon)

    def norm2(x: Tensor) -> Tensor:
        return F.layer_norm(x, (width,), norm2_weight, norm2_bias, epsilon)

    if norm_first:
        x = x + attend(norm1(x))
        return x + feed(norm2(x))
    x = norm1(x + attend(x))
    return norm2(x + feed(x))
