"""Zeros stay zero, and shared weights stay shared: training brings back nothing that pruning or clustering took.

What clustering made equal moves as one. The gradients of a cluster are summed, for that sum is the gradient of their
common value (Han et al. 2016, Deep Compression, arXiv:1510.00149, section 3), and each of the n members moves by its
n-th part: this is the gradient projected on weights that stay equal, so that learning rate, decay and the clipped norm
mean what they mean for weights of their own, with plain descent and Adam alike, whatever the size of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from compressctl.notes import Note, done
from compressctl.numerics.distinct import distinct

_WIDTHS = (1, 2, 4, 8)  # of vectors that are shared as a whole
_LEAST = 8  # members of a cluster, on average


class Zeros:
    """Where weights are zero when training begins.

    Weights of two or more axes count; of those that are zero throughout none do: they wait to be trained. A zero whose
    gradient is zeroed stays one under any optimizer, for neither momentum nor decay move it.

    Args:
        weights: by name.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        masks = ((weight, weight.detach() == 0) for weight in weights.values() if weight.ndim > 1)
        self._kept = [(weight, mask) for weight, mask in masks if bool(mask.any()) and not bool(mask.all())]

    def hold(self) -> None:
        """Zero the gradients of all zeros; call it between the backward pass and the optimizer's step."""
        for weight, mask in self._kept:
            if weight.grad is not None:
                weight.grad.masked_fill_(mask, 0)

    def notes(self) -> list[Note]:
        """Say what is kept, if anything is."""
        if not self._kept:
            return []
        count = sum(int(mask.sum()) for _, mask in self._kept)
        return [done(f"{count} zeros in {len(self._kept)} weights stay zero; keep_zeros: false lets them train")]


@dataclass(frozen=True, eq=False)
class _Group:
    """A weight whose rows of `width` elements, as it is stored, take few values.

    Attributes:
        weight: the weight.
        width: 1 where single elements are shared.
        codes: [rows], which cluster each row belongs to.
        members: [clusters, 1], float64.
        first: [clusters], a row of each cluster.
    """

    weight: Tensor
    width: int
    codes: Tensor
    members: Tensor
    first: Tensor


class Clusters:
    """Which weights have the same value when training begins.

    Weights of two or more axes count whose elements, or vectors of 2, 4 or 8 elements side by side, take 2 to 256
    values and are 8 times as many as those. A tensor of one value waits to be trained.

    Args:
        weights: by name.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        found = (_group(weight) for weight in weights.values() if weight.ndim > 1)
        self._groups = [group for group in found if group is not None]

    def hold(self) -> None:
        """Give all members of a cluster one gradient; call it between the backward pass and the optimizer's step."""
        for group in self._groups:
            if group.weight.grad is not None:
                gradient = group.weight.grad
                sums = torch.zeros(len(group.first), group.width, dtype=torch.float64, device=gradient.device)
                sums.index_add_(0, group.codes, gradient.reshape(-1, group.width).double())
                means = (sums / group.members).to(gradient.dtype)
                gradient.copy_(means[group.codes].reshape(gradient.shape))

    def share(self) -> None:
        """Let all members of a cluster have the value of its first; call it after the step.

        They moved alike, but vectorised arithmetic may round the last elements of a tensor another way.
        """
        with torch.no_grad():
            for group in self._groups:
                rows = group.weight.reshape(-1, group.width)
                group.weight.copy_(rows[group.first][group.codes].reshape(group.weight.shape))

    def notes(self) -> list[Note]:
        """Say what is kept, if anything is."""
        if not self._groups:
            return []
        values = sum(group.first.numel() * group.width for group in self._groups)
        text = f"{values} values that {len(self._groups)} weights share train as such"
        return [done(f"{text}; keep_clusters: false lets them come apart")]


def _group(weight: Tensor) -> _Group | None:
    array = weight.detach().float().cpu().numpy().reshape(-1)
    for width in _WIDTHS:
        if array.size % width:
            return None
        found = distinct(array if width == 1 else array.reshape(-1, width))
        if found is not None and 1 < len(found.values) <= len(found.codes) / _LEAST:
            codes = torch.from_numpy(found.codes).long()
            members = torch.bincount(codes, minlength=len(found.values)).double()[:, None]
            first = torch.full((len(found.values),), len(codes)).scatter_reduce(
                0, codes, torch.arange(len(codes)), "amin"
            )
            device = weight.device
            return _Group(weight, width, codes.to(device), members.to(device), first.to(device))
    return None
