"""Carry out on a model which weights become zero: plainly, or by surgery where the layers can be observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.arrays import Mask
from compressctl.data.source import Source
from compressctl.layers.weights import Weight
from compressctl.pruning.obs import Fixed, Pattern, Rule, Share, operate
from compressctl.resources import Resources


@dataclass(frozen=True)
class Zeroing:
    """How weights become zero.

    Attributes:
        source: samples to reconstruct layers on; None: weights are zeroed and nothing else.
        by_cost: within a layer that is reconstructed masks only say how many weights become zero; which ones is chosen
            by what they cost its output.
        pattern: with `by_cost`, (n, m): n of m channels stay.
        resources: to reconstruct with.
    """

    source: Source | None
    by_cost: bool
    pattern: tuple[int, int] | None
    resources: Resources

    def zero(self, model: ir.Model, weights: Sequence[Weight], masks: Mapping[str, Mask]) -> dict[str, float]:
        """Zero weights of `model` in place.

        Returns:
            the error of the output of each layer that was reconstructed, by name: see `fit_layers`.

        Raises:
            ModelError, DataError: as `fit_layers`.
        """
        operable = [weight for weight in weights if self.source is not None and weight.layer is not None]
        for weight in weights:
            if weight not in operable:
                weight.zero(masks[weight.name])
        if self.source is None or not operable:
            return {}
        return operate(
            model,
            [(weight.layers[0], self._rule(weight, masks[weight.name])) for weight in operable],
            self.source,
            self.resources,
        )

    def _rule(self, weight: Weight, mask: Mask) -> Rule:
        matrix = weight.layers[0].matrix(mask) > 0
        if not self.by_cost:
            return Fixed(matrix)
        return Pattern(*self.pattern) if self.pattern else Share(matrix.mean(axis=(1, 2)).tolist())
