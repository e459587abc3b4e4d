"""The optimizer: its learning rate over the steps, and which weights decay or move by steps of their own size."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import onnx_ir as ir
import torch
from torch import Tensor

from compressctl.model.ops import QDQ
from compressctl.training.options import TrainingOptions


def scale_names(graph: ir.Graph) -> set[str]:
    """Return the names of the values that are scales of a QuantizeLinear or DequantizeLinear."""
    nodes = (node for node in graph if node.op_type in QDQ and node.domain == "")
    return {value.name or "" for node in nodes if (value := node.inputs[1]) is not None}


def make_optimizer(
    weights: Mapping[str, Tensor], adapters: Iterable[Tensor], scales: Collection[str], options: TrainingOptions
) -> torch.optim.Optimizer:
    """Return the optimizer; each of its groups has a `factor` for the learning rate, which `set_rate` respects.

    Weights of two or more dimensions decay, others and scales do not. A step of Adam is about the learning rate
    whatever the gradient, which for a small scale would be a leap: its steps are the learning rate times its size (to
    the next power of two, so that groups stay few). This keeps relative steps of scales no larger than those of
    weights, as LSQ's gradient scale does for plain gradient descent (Esser et al. 2020, arXiv:1902.08153, section 2.2),
    for which reason sgd takes its gradients as they are.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weight in [*weights.items(), *(("", adapter) for adapter in adapters)]:
        scale = name in scales
        decay = options.weight_decay if weight.ndim > 1 and not scale else 0.0
        factor = _magnitude(weight) if scale and options.optimizer == "adamw" else 1.0
        groups.setdefault((decay, factor), []).append(weight)
    listed = [
        {"params": members, "weight_decay": decay, "factor": factor} for (decay, factor), members in groups.items()
    ]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(listed, lr=options.learning_rate, fused=True)
    momentum = options.momentum
    return torch.optim.SGD(listed, lr=options.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _magnitude(scale: Tensor) -> float:
    mean = float(scale.detach().abs().mean())
    return 2.0 ** round(math.log2(mean)) if mean > 0 else 1.0


def schedule_factor(step: int, steps: int, options: TrainingOptions) -> float:
    """Return the learning rate of step number `step` (from 0) of `steps`, as a share of `options.learning_rate`.

    It rises in equal steps to 1 over the warm-up, then falls as the schedule says; the step after the last would be 0.
    Source of the cosine: Loshchilov and Hutter 2017 (arXiv:1608.03983), equation 5, without restarts.
    """
    warm = round(options.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / (steps - warm)
    if options.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1 - done if options.schedule == "linear" else 1.0
