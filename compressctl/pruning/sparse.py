"""Which weights of a graph can become sparse, what each element counts, and which elements become zero.

They are zeroed plainly, or by optimal brain surgery where the layers can be observed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Mask
from compressctl.data.source import Source
from compressctl.layers.linear import other_layers
from compressctl.layers.weights import Weight, channels, layer_weights, recurrent_weights
from compressctl.notes import Note, skipped
from compressctl.numerics.sparsity import n_of_m, share, shares
from compressctl.pruning.obs import Fixed, Pattern, Rule, Share, operate
from compressctl.resources import Resources

Scores = Mapping[str, Array]
"""What each element of a weight counts, at least 0, by name of the weight; arrays of the weights' shapes."""


def sparse_weights(graph: ir.Graph) -> tuple[list[Weight], list[Note]]:
    """Return the weights of linear and recurrent layers, each once, and notes on other layers that multiply by weights.

    Embedding tables, biases and norms are left out.
    """
    notes = [
        skipped(
            f"not made sparse: {reason}" + ("; prune before quantizing" if "quantized" in reason else ""), node.name
        )
        for node, reason in other_layers(graph, inner=True)
        if not any(recurrent_weights(node))
    ]
    return layer_weights(graph), notes


def with_zeros_first(weights: Sequence[Weight], scores: Scores) -> dict[str, Array]:
    """Return the scores with -1 where a weight is zero already, so that those count first."""
    return {weight.name: np.where(weight.array == 0, -1, scores[weight.name]) for weight in weights}


def below(weights: Sequence[Weight], threshold: float) -> dict[str, Mask]:
    """Return the masks of the elements with |w| < threshold, and of those that are zero."""
    return {w.name: (np.abs(w.array) < threshold) | (w.array == 0) for w in weights}


def smallest(weights: Sequence[Weight], scores: Scores, ratio: float, *, each: bool) -> dict[str, Mask]:
    """Return the masks of the share `ratio` with the smallest scores: of each weight, or of them all together."""
    ordered = with_zeros_first(weights, scores)
    if each:
        return {name: share(array, ratio) for name, array in ordered.items()}
    return dict(zip(ordered, shares(list(ordered.values()), ratio), strict=True))


def at_most(weights: Sequence[Weight], scores: Scores, n: int, m: int) -> dict[str, Mask]:
    """Return the masks that leave the n largest scores of m inputs side by side; see `unfit`."""
    ordered = with_zeros_first(weights, scores)
    return {w.name: w.from_rows(n_of_m(w.rows(ordered[w.name]), n, m)).astype(bool) for w in weights}


def unfit(weight: Weight, m: int) -> str | None:
    """Return why N of M inputs cannot be kept in a weight, or None."""
    inputs = channels(weight.layers[0]) if weight.layers else weight.array.shape[-1]
    return f"its {inputs} input channels are no multiple of {m}" if inputs % m else None


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
