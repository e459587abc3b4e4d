"""Losses as operators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def NegativeLogLikelihoodLoss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    # Without ignore_index nothing is ignored: torch's own default is -100, which is no class.
    ignored = -100 if ignore_index is None else ignore_index
    return F.nll_loss(input, target.to(torch.int64), weight, ignore_index=ignored, reduction=reduction)


def SoftmaxCrossEntropyLoss(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Tensor, Tensor]:
    log_prob = torch.log_softmax(scores, 1)
    loss = NegativeLogLikelihoodLoss(log_prob, labels, weights, ignore_index=ignore_index, reduction=reduction)
    return loss, log_prob
