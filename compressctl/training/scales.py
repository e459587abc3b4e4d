"""What keeps learned quantization scales positive, and fit for the integer kernels that will use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compressctl.model.graph import constant
from compressctl.numerics.qparams import LARGEST_BIAS
from compressctl.quantization.int8.trainable import Trainable

_SMALLEST = 1e-3  # share of its first value below which a scale must not fall


def keep_scales(trainable: Trainable) -> Callable[[Mapping[str, Tensor]], None]:
    """Return a function that moves scales back within their limits, in place; it takes the weights by name.

    Called after each step, it lets no scale fall below a thousandth of its first value, nor a weight's scale below that
    at which the layer's bias fits 32 bits (`least_weight_scale`), nor that of an activation rise beyond its Clip.
    """
    limits = trainable.limits()
    bounding = [value for limit in limits for value in (limit.bias, limit.input_scale) if value is not None]
    first = {_name(value): torch.from_numpy(np.array(constant(value))) for value in [*trainable.scales, *bounding]}
    least = {_name(value): first[_name(value)] * _SMALLEST for value in trainable.scales}

    def now(value: ir.Value, weights: Mapping[str, Tensor], device: torch.device) -> Tensor:
        return weights.get(_name(value), first[_name(value)]).to(device)  # what is not a weight is not trained

    def constrain(weights: Mapping[str, Tensor]) -> None:
        for name, smallest in least.items():
            if name in weights:
                _raise(weights[name], smallest)
        for limit in limits:
            scale = weights.get(_name(limit.scale))
            if scale is None:
                continue
            scale.clamp_(max=limit.most)
            if limit.bias is not None and limit.input_scale is not None:
                bias, step = (now(value, weights, scale.device) for value in (limit.bias, limit.input_scale))
                _raise(scale, bias.abs().flatten() / (step * LARGEST_BIAS))

    return constrain


def _raise(scale: Tensor, least: Tensor) -> None:
    """Raise a scale to at least `least`, which may have an entry a channel where the scale is a single one."""
    least = least.to(scale.device, scale.dtype)
    scale.copy_(scale.maximum(least if scale.ndim else least.max()))


def _name(value: ir.Value) -> str:
    return value.name or ""
