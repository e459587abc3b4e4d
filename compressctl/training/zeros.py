"""Weights that are zero stay zero: what pruning set to zero, training does not bring back."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from compressctl.notes import Note, done


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
