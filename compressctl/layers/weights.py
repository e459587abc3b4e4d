"""The weights of linear and recurrent layers, each once however many nodes use it, and what can be solved for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats, Integers, Mask
from compressctl.data.source import Source
from compressctl.layers.linear import LinearLayer, linear_layers
from compressctl.layers.moments import INNER, input_statistics, observable
from compressctl.model import ops
from compressctl.model.graph import all_nodes, is_only_use, is_plain_constant, set_constant
from compressctl.model.tensors import FLOATS, read_array
from compressctl.resources import Resources


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant matrix, whose elements can be changed one by one.

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
    def array(self) -> Array:
        """The elements, not to be written into; those of a tensor on disk are read each time."""
        return read_array(self.tensor)

    @property
    def tensor(self) -> ir.TensorProtocol:
        """The constant as it is held, in memory or on disk."""
        tensor = ir.convenience.get_const_tensor(self.value)
        assert tensor is not None
        return tensor

    @property
    def layer(self) -> LinearLayer | None:
        """The layer that can be reconstructed; see `obstacle`."""
        return None if self.obstacle else self.layers[0]

    @property
    def obstacle(self) -> str | None:
        """Why no layer can be reconstructed, or None."""
        if not self.layers:
            return "the layer is recurrent"
        if self.layers[0].inner:
            return INNER
        if not is_only_use(self.value, self.layers[0].node):
            return "other nodes use it, too"
        inputs = self.layers[0].shape[2]
        return None if observable(self.layers[0]) else f"it reads {inputs} inputs, too many to solve for"

    def rows(self, array: Array) -> Array:
        """Return an array of the weight's shape with what one output reads along the last axis, channels last."""
        if not self.layers:
            return array
        return self.layers[0].matrix(array)[..., channels_last(self.layers[0])]

    def from_rows(self, rows: Array) -> Array:
        """Undo `rows`."""
        if not self.layers:
            return rows
        matrix = np.empty_like(rows)
        matrix[..., channels_last(self.layers[0])] = rows
        return self.layers[0].restore(matrix)

    def zero(self, mask: Mask) -> None:
        """Zero the elements where `mask` is True."""
        array = self.array
        set_constant(self.value, np.where(mask, array.dtype.type(0), array))


def channels_last(layer: LinearLayer) -> Integers:
    """Return the order of the columns of `matrix` in which channels lie side by side, kernel position by position."""
    return np.arange(layer.shape[2]).reshape(channels(layer), -1).T.reshape(-1)


def channels(layer: LinearLayer) -> int:
    """Return how many channels a group of a layer reads."""
    return layer.weight_shape[1] if layer.node.op_type == "Conv" else layer.shape[2]


def layer_weights(graph: ir.Graph) -> list[Weight]:
    """Return the weights of the linear and recurrent layers of `graph` and of the bodies in it, by their first use."""
    layers = {layer.node: layer for layer in linear_layers(graph, inner=True)}
    users: dict[ir.Value, list[ir.Node]] = {}
    for node in all_nodes(graph):
        values = [layers[node].weight] if node in layers else recurrent_weights(node)
        for value in values:
            users.setdefault(value, []).append(node)
    return [
        Weight(tuple(node.name or "" for node in nodes), value, tuple(layers[node] for node in nodes if node in layers))
        for value, nodes in users.items()
    ]


def tables(graph: ir.Graph) -> list[Weight]:
    """Return the tables of embeddings: constant floats of two axes or more from which a Gather takes slices."""
    users: dict[ir.Value, list[str]] = {}
    for node in all_nodes(graph):
        table = node.inputs[0] if node.op_type == "Gather" and not node.domain else None
        if table is None or table.is_graph_input() or table.is_graph_output():
            continue
        tensor = ir.convenience.get_const_tensor(table)
        if tensor is not None and tensor.dtype in FLOATS and len(tensor.shape) > 1 and tensor.size:
            users.setdefault(table, []).append(node.name or "")
    return [Weight(tuple(names), table, ()) for table, names in users.items()]


def recurrent_weights(node: ir.Node) -> Iterator[ir.Value]:
    """Yield W and R of a recurrent node, where they are constant floats."""
    if node.op_type in ops.RECURRENT and not node.domain:
        for value in (node.inputs[index] for index in ops.OPERANDS[node.op_type].weights):
            if value is not None and is_plain_constant(value):
                tensor = ir.convenience.get_const_tensor(value)
                if tensor is not None and tensor.dtype in FLOATS:
                    yield value


def input_squares(
    model: ir.Model, weights: Sequence[Weight], source: Source, resources: Resources, *, samples: int
) -> dict[str, Floats]:
    """Return the mean squares of the inputs that each weight multiplies, [groups, inputs], by the weight's name.

    They are summed over nodes that share a weight. Weights that no linear layer reads, those of layers with too many
    inputs to observe, and those that no sample reaches have no entry.

    Raises:
        ModelError, DataError: as `input_statistics`.
    """
    users = {layer: weight.name for weight in weights for layer in weight.layers if observable(layer)}
    squares: dict[str, Floats] = {}
    for layer, moments in input_statistics(model, list(users), source, resources, samples=samples):
        if not moments.silent:
            squares[users[layer]] = squares.get(users[layer], 0) + np.diagonal(moments.second, axis1=1, axis2=2)
    return squares
