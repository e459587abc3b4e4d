"""Attention, as one operator."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressctl.torchexec.ops.common import dtype_of


def Attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    outputs: int = 1,
) -> tuple[Tensor, ...]:
    q, k, v = _heads(Q, q_num_heads), _heads(K, kv_num_heads), _heads(V, kv_num_heads)
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    within = q.dtype if softmax_precision is None else dtype_of(softmax_precision)
    grouped = q.shape[1] != k.shape[1]
    fused = not softcap and outputs < 4 and within == q.dtype
    plain = attn_mask is None and nonpad_kv_seqlen is None and past == 0 and left_window_size < 0
    if fused and plain and right_window_size < 0:
        y = F.scaled_dot_product_attention(q, k, v, None, 0.0, bool(is_causal), scale=scale, enable_gqa=grouped)
        return _packed(y, Q), k, v
    right = 0 if is_causal else right_window_size
    allowed = _allowed(q, k, past, nonpad_kv_seqlen, left_window_size, right)
    mask = _combined(allowed, attn_mask, k.shape[2], q)
    if fused:
        return _packed(_fused(q, k, v, mask, scale, grouped), Q), k, v
    if grouped:
        k_all, v_all = (_repeated(x, q.shape[1] // x.shape[1]) for x in (k, v))
    else:
        k_all, v_all = k, v
    root = math.sqrt(1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    scores = torch.matmul(q * root, (k_all * root).transpose(-1, -2))
    capped = softcap * torch.tanh(scores / softcap) if softcap else scores
    biased = capped if mask is None else _biased(capped, mask)
    empty = torch.isneginf(biased).all(-1, keepdim=True)
    probabilities = torch.softmax(torch.where(empty, torch.zeros_like(biased), biased).to(within), -1).to(q.dtype)
    probabilities = torch.where(empty, torch.zeros_like(probabilities), probabilities)
    y = torch.matmul(probabilities, v_all)
    return _packed(y, Q), k, v, (scores, capped, biased, probabilities)[qk_matmul_output_mode]


def RotaryEmbedding(
    X: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    position_ids: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    x = X.transpose(1, 2) if X.ndim == 4 else X.reshape(*X.shape[:2], num_heads or 1, -1)  # [batch, step, head, size]
    size = rotary_embedding_dim or x.shape[-1]
    if position_ids is not None:
        cos_cache, sin_cache = F.embedding(position_ids, cos_cache), F.embedding(position_ids, sin_cache)
    cos, sin = cos_cache.unsqueeze(2), sin_cache.unsqueeze(2)
    turned, rest = x[..., :size], x[..., size:]
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = [cos * a - sin * b, sin * a + cos * b]
    joined = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    y = torch.cat([joined, rest], -1)
    return y.transpose(1, 2) if X.ndim == 4 else y.reshape(X.shape)


def LinearAttention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_state: Tensor | None = None,
    decay: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> tuple[Tensor, Tensor]:
    q, k, v = (
        _heads(x, heads).float() for x, heads in ((query, q_num_heads), (key, kv_num_heads), (value, kv_num_heads))
    )
    batch, steps, group = q.shape[0], q.shape[2], q_num_heads // kv_num_heads
    factor = scale or 1 / math.sqrt(q.shape[-1])
    if past_state is None:
        state = torch.zeros([batch, kv_num_heads, k.shape[-1], v.shape[-1]], device=q.device)
    else:
        state = past_state.float()
    kept = _heads(decay, kv_num_heads).float().exp().unsqueeze(-1) if decay is not None else None
    rate = beta.float().transpose(1, 2).unsqueeze(-1) if beta is not None else None
    outs = []
    for t in range(steps):
        new = v[:, :, t, None]
        if kept is not None:
            state = state * kept[:, :, t]
        if rate is not None:
            new = rate[:, :, t, None] * (new - torch.matmul(k[:, :, t, None], state))
        state = state + k[:, :, t, :, None] * new
        outs.append(factor * torch.matmul(q[:, :, t, None], _repeated(state, group)))
    y = _packed(torch.cat(outs, 2), query).to(query.dtype)
    return y, state.to(query.dtype if past_state is None else past_state.dtype)


def _heads(x: Tensor, heads: int | None) -> Tensor:
    """Return [batch, head, step, size] of a tensor whose heads may be packed into its last axis."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads or 1, -1).transpose(1, 2)


def _packed(y: Tensor, like: Tensor) -> Tensor:
    return y if like.ndim == 4 else y.transpose(1, 2).flatten(2)


def _repeated(x: Tensor, times: int) -> Tensor:
    """Repeat each head."""
    return x if times == 1 else x.unsqueeze(2).expand(-1, -1, times, -1, -1).flatten(1, 2)


def _allowed(q: Tensor, k: Tensor, past: int, valid: Tensor | None, left: int, right: int) -> Tensor | None:
    """Return which keys each query may see; the query at index i stands at position `offset + i`. None: all."""
    if valid is None and left < 0 and right < 0:
        return None
    keys = torch.arange(k.shape[2], device=q.device)
    places = torch.arange(q.shape[2], device=q.device)[:, None]
    if valid is None:
        places, allowed = places + past, torch.ones_like(keys, dtype=torch.bool)
    else:
        lengths = valid.reshape(-1, 1, 1, 1)
        places, allowed = places + lengths - q.shape[2], keys < lengths
    if right >= 0:
        allowed = allowed & (keys <= places + right)
    return allowed & (keys >= places - left) if left >= 0 else allowed


def _combined(allowed: Tensor | None, mask: Tensor | None, keys: int, q: Tensor) -> Tensor | None:
    """Return one mask, boolean or additive; one shorter than the keys hides those beyond it."""
    if mask is None:
        return allowed
    missing = keys - mask.shape[-1]
    hidden: Any = False if mask.dtype == torch.bool else float("-inf")
    if missing > 0:
        mask = F.pad(mask, [0, missing], value=hidden)
    if allowed is None:
        return mask if mask.dtype == torch.bool else mask.to(q.dtype)
    if mask.dtype == torch.bool:
        return mask & allowed
    return torch.where(allowed, mask, torch.full_like(mask, float("-inf"))).to(q.dtype)


def _biased(scores: Tensor, mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return scores + mask
    return torch.where(mask, scores, torch.full_like(scores, float("-inf")))


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, grouped: bool) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, mask, 0.0, False, scale=scale, enable_gqa=grouped)
