"""Constants that can be stored on few levels while the model goes on computing in float.

These are the matrices of linear and recurrent layers, what others multiply by, and the tables that embeddings look up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats32
from compressctl.layers.linear import LinearLayer, linear_layers, other_layers
from compressctl.layers.moments import INNER, observable
from compressctl.layers.weights import recurrent_weights
from compressctl.model.graph import all_nodes, is_only_use
from compressctl.model.ops import CONVOLUTIONS
from compressctl.model.tensors import read_array
from compressctl.notes import Note, skipped
from compressctl.quantization.int8.embedding import is_embedding
from compressctl.quantization.int8.weights import tensor_of
from compressctl.quantization.weights.others import other_weights


@dataclass(frozen=True)
class Layout:
    """How a constant is stored: reshaped to [outer, inputs, inner], one output reads what lies along `inputs`.

    Inputs are cut into groups of `size` side by side; each is a row of its own, which may have its own scale.
    """

    outer: int
    inputs: int
    inner: int

    def rows(self, array: Array, size: int) -> Array:
        """Return the groups of the stored array as [outer * groups, inner, size], in its own memory."""
        return array.reshape(-1, size, self.inner).swapaxes(1, 2)

    def view(self, rows: Array, size: int) -> Array:
        """Return `rows`, of `size` or of one element each, in the order of the stored array, axes of one left out."""
        groups = self.inputs // size
        stored = rows.reshape(self.outer, groups, self.inner, rows.shape[-1]).swapaxes(2, 3)
        whole = (self.outer, groups, size, self.inner)
        kept = [length for length, full in zip(stored.shape, whole, strict=True) if full > 1]
        return np.ascontiguousarray(stored).reshape(kept or [1])


@dataclass(frozen=True, eq=False)
class Target:
    """A constant that is to be stored on few levels.

    Attributes:
        value: the constant, of the main graph.
        nodes: who uses it, in graph order.
        layers: those of them that multiply by it as a matrix.
        layout: how it is stored.
        lookups: the embeddings that look up rows of it, where nothing else uses it: only those rows are made float.
    """

    value: ir.Value
    nodes: tuple[ir.Node, ...]
    layers: tuple[LinearLayer, ...]
    layout: Layout
    lookups: tuple[ir.Node, ...] = ()

    @property
    def name(self) -> str:
        """Of the first node that uses it."""
        return self.nodes[0].name or ""

    @property
    def tensor(self) -> ir.TensorProtocol:
        """The constant's tensor."""
        tensor = tensor_of(self.value)
        assert tensor is not None
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The constant's shape."""
        return tuple(self.tensor.shape.numpy())

    @property
    def convolution(self) -> bool:
        """Whether its inputs are the channels and the kernel of a convolution."""
        return bool(self.layers) and self.layers[0].node.op_type in CONVOLUTIONS

    @property
    def obstacle(self) -> str | None:
        """Why the layer cannot be fitted to samples, or None."""
        if not self.layers:
            kind = self.nodes[0].op_type
            return "it is an embedding" if self.lookups else f"{kind} is no layer that can be fitted"
        if self.layers[0].inner:
            return INNER
        if not is_only_use(self.value, self.layers[0].node):
            return "other nodes use its weight, too"
        inputs = self.layers[0].shape[2]
        return None if observable(self.layers[0]) else f"it reads {inputs} inputs, too many to solve for"

    def read(self) -> Floats32:
        """Return the elements as float32; they are read from the disk each time, and not kept."""
        return np.asarray(read_array(self.tensor), np.float32)


def targets(graph: ir.Graph, *, embeddings: bool = True) -> tuple[list[Target], list[Note]]:
    """Return what can be stored on few levels, and why other layers cannot.

    Args:
        graph: the main graph.
        embeddings: whether tables take part; else what an embedding uses is left alone.
    """
    layers = {layer.node: layer for layer in linear_layers(graph, inner=True)}
    layouts: dict[ir.Value, Layout] = {}
    others = other_layers(graph, inner=True)
    notes = [
        skipped(reason, node.name)
        for node, reason in others
        if not any(recurrent_weights(node)) and not any(other_weights(node))
    ]
    tables: set[ir.Value] = set()
    for node in all_nodes(graph):
        if node in layers:
            layouts.setdefault(layers[node].weight, _of_layer(layers[node]))
        else:
            for weight, parts in other_weights(node):
                layouts.setdefault(weight, Layout(*parts))
        for weight in recurrent_weights(node):
            layouts.setdefault(weight, _of_rows(weight))
        if is_embedding(node):
            table = node.inputs[0]
            assert table is not None
            tables.add(table)
            if _looks_up_rows(node):
                layouts.setdefault(table, _of_rows(table))
            elif embeddings:
                notes.append(skipped("it looks up something else than the rows of a matrix", node.name))
    found = []
    for value, layout in layouts.items():
        if (value in tables and not embeddings) or value.is_graph_output():
            continue
        nodes = value.consumers()
        lookups = tuple(filter(_looks_up_rows, nodes))
        used = tuple(layers[node] for node in nodes if node in layers)
        found.append(Target(value, tuple(nodes), used, layout, lookups if len(lookups) == len(nodes) else ()))
    return found, notes


def _looks_up_rows(node: ir.Node) -> bool:
    """Whether `node` looks up rows of a constant matrix, by indices whose number of axes is known."""
    if not is_embedding(node) or node.inputs[1] is None or node.inputs[1].shape is None:
        return False
    table = tensor_of(node.inputs[0])
    return table is not None and len(table.shape) == 2 and node.attributes.get_int("axis", 0) in (0, -2)


def _of_layer(layer: LinearLayer) -> Layout:
    groups, outputs, inputs = layer.shape
    return Layout(groups, inputs, outputs) if layer.inputs_first else Layout(groups * outputs, inputs, 1)


def _of_rows(value: ir.Value) -> Layout:
    tensor = tensor_of(value)
    assert tensor is not None
    *outer, inputs = tensor.shape.numpy()
    return Layout(prod(outer), inputs, 1)
