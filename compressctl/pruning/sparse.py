"""Which weights of a graph can become sparse, what each element counts, and which elements become zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.layers.linear import LinearLayer, linear_layers, other_layers
from compressctl.layers.moments import observable
from compressctl.model.graph import constant, is_only_use, set_constant
from compressctl.notes import Note, skipped
from compressctl.numerics.sparsity import Mask, n_of_m, share, shares

_RECURRENT = ("LSTM", "GRU", "RNN")
_ADVICE = "; prune before quantizing"

Scores = Mapping[str, NDArray[Any]]
"""What each element of a weight counts, at least 0, by name of the weight; arrays of the weights' shapes."""


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant whose elements can be zeroed one by one.

    Attributes:
        nodes: the names of the nodes that use it, in graph order.
        value: the constant.
        layers: the nodes that multiply by it as a matrix; none in a recurrent node.
    """

    nodes: tuple[str, ...]
    value: ir.Value
    layers: tuple[LinearLayer, ...]

    @property
    def name(self) -> str:
        """The constant's name."""
        return self.value.name or ""

    @property
    def array(self) -> NDArray[Any]:
        """The elements, not to be written into."""
        array = constant(self.value)
        assert array is not None
        return array

    @property
    def layer(self) -> LinearLayer | None:
        """The layer that can be reconstructed; see `obstacle`."""
        return None if self.obstacle else self.layers[0]

    @property
    def obstacle(self) -> str | None:
        """Why no layer can be reconstructed, or None."""
        if not self.layers:
            return "the layer is recurrent"
        if not is_only_use(self.value, self.layers[0].node):
            return "other nodes use it, too"
        inputs = self.layers[0].shape[2]
        return None if observable(self.layers[0]) else f"it reads {inputs} inputs, too many to solve for"

    def rows(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of the weight's shape with what one output reads along the last axis, channels last."""
        if not self.layers:
            return array
        return self.layers[0].matrix(array)[..., channels_last(self.layers[0])]

    def from_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Undo `rows`."""
        if not self.layers:
            return rows
        matrix = np.empty_like(rows)
        matrix[..., channels_last(self.layers[0])] = rows
        return self.layers[0].restore(matrix)

    def zero(self, mask: Mask) -> None:
        """Zero the elements where `mask` is True."""
        set_constant(self.value, np.where(mask, self.array.dtype.type(0), self.array))


def channels_last(layer: LinearLayer) -> NDArray[np.int64]:
    """Return the order of the columns of `matrix` in which channels lie side by side, kernel position by position."""
    return np.arange(layer.shape[2]).reshape(channels(layer), -1).T.reshape(-1)


def channels(layer: LinearLayer) -> int:
    """Return how many channels a group of a layer reads."""
    return layer.weight_shape[1] if layer.node.op_type == "Conv" else layer.shape[2]


def sparse_weights(graph: ir.Graph) -> tuple[list[Weight], list[Note]]:
    """Return the weights of linear and recurrent layers, each once, and why others are none.

    Embedding tables, biases and norms are none.
    """
    layers = {layer.node: layer for layer in linear_layers(graph)}
    users: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        values = [layers[node].weight] if node in layers else _recurrent_weights(node)
        for value in values:
            users.setdefault(value, []).append(node)
    found = [
        Weight(tuple(node.name or "" for node in nodes), value, tuple(layers[node] for node in nodes if node in layers))
        for value, nodes in users.items()
    ]
    notes = [
        skipped(
            f"not made sparse: {reason}" + ("; prune before quantizing" if "quantized" in reason else ""), node.name
        )
        for node, reason in other_layers(graph)
        if not any(_recurrent_weights(node))
    ]
    return found, notes


def with_zeros_first(weights: Sequence[Weight], scores: Scores) -> dict[str, NDArray[Any]]:
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


def _recurrent_weights(node: ir.Node) -> Iterator[ir.Value]:
    """Yield W and R of a recurrent node, where they are constant floats."""
    if node.op_type in _RECURRENT and not node.domain:
        for value in node.inputs[1:3]:
            array = constant(value)
            if value is not None and array is not None and array.dtype.kind == "f":
                yield value
