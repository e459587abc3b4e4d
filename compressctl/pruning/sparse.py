"""Which weights of a graph can become sparse, what each element counts, and which elements become zero.

They are zeroed plainly, or by optimal brain surgery where the layers can be observed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Mask
from compressctl.data.source import Source
from compressctl.layers.linear import other_layers
from compressctl.layers.weights import Weight, channels, layer_weights, recurrent_weights
from compressctl.model.tensor_file import TensorFiles
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


Masks = Mapping[str, Mask]
"""Which elements of a weight become zero, by its name."""


class Packed(Masks):
    """Masks, of which none but the one that is looked at takes more than a bit an element."""

    def __init__(self, masks: Iterable[tuple[str, Mask]]) -> None:
        self._bits = {name: (np.packbits(mask), mask.shape) for name, mask in masks}

    def __getitem__(self, name: str) -> Mask:
        bits, shape = self._bits[name]
        return np.unpackbits(bits, count=math.prod(shape)).view(bool).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)


class _ZerosFirst(Collection[Array]):
    """The scores of weights one after the other, with -1 where a weight is zero already, so that those count first."""

    def __init__(self, weights: Sequence[Weight], scores: Scores) -> None:
        self._weights, self._scores = weights, scores

    def of(self, weight: Weight) -> Array:
        return np.where(weight.array == 0, -1, self._scores[weight.name])

    def __iter__(self) -> Iterator[Array]:
        return map(self.of, self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __contains__(self, score: object) -> bool:
        return False


def below(weights: Sequence[Weight], threshold: float) -> Masks:
    """Return the masks of the elements with |w| < threshold, and of those that are zero."""
    arrays = ((weight.name, weight.array) for weight in weights)
    return Packed((name, (np.abs(array) < threshold) | (array == 0)) for name, array in arrays)


def smallest(weights: Sequence[Weight], scores: Scores, ratio: float, *, each: bool) -> Masks:
    """Return the masks of the share `ratio` with the smallest scores: of each weight, or of them all together."""
    ordered = _ZerosFirst(weights, scores)
    masks = (share(array, ratio) for array in ordered) if each else shares(ordered, ratio)
    return Packed(zip((weight.name for weight in weights), masks, strict=True))


def at_most(weights: Sequence[Weight], scores: Scores, n: int, m: int) -> Masks:
    """Return the masks that leave the n largest scores of m inputs side by side; see `unfit`."""
    ordered = _ZerosFirst(weights, scores)
    return Packed((w.name, w.from_rows(n_of_m(w.rows(ordered.of(w)), n, m)).astype(bool)) for w in weights)


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

    def zero(self, model: ir.Model, weights: Sequence[Weight], masks: Masks) -> dict[str, float]:
        """Zero weights of `model` in place.

        Returns:
            the error of the output of each layer that was reconstructed, by name: see `fit_layers`.

        Raises:
            ModelError, DataError: as `fit_layers`.
        """
        operable = [weight for weight in weights if self.source is not None and weight.layer is not None]
        files = TensorFiles(self.resources.workdir)
        for weight in weights:
            if weight not in operable:
                weight.zero(masks[weight.name])
                files.keep(weight.value)
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
