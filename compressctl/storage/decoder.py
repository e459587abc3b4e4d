"""Nodes that make a constant out of smaller ones, under construction.

onnxruntime evaluates nodes that read only constants once, when it loads the model, so what a decoder builds costs
nothing when the model runs. It uses operators and types of opset 13 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant, initializer, insert_before, replace_node
from compressctl.model.tensor_file import TensorFiles

NAME = "decode"  # of all nodes and their outputs, with a number: the names of weights would take more bytes than codes


class Decoder:
    """Builds the nodes that stand in for one constant of a graph.

    Args:
        graph: the main graph that the nodes go to.
        name: of the constant; what is made for it is named after it.
        files: keeps large arrays on disk until the model is saved; None keeps them in memory.
    """

    def __init__(self, graph: ir.Graph, name: str, files: TensorFiles | None = None) -> None:
        self._graph, self._name, self._files = graph, name, files
        self._nodes: list[ir.Node] = []

    def own(self, what: str, array: Array) -> ir.Value:
        """Return a new initializer, for this constant alone."""
        value = initializer(self._graph, f"{self._name}_{what}", array)
        if self._files is not None:
            self._files.keep(value)
        return value

    def shared(self, name: str, array: Array) -> ir.Value:
        """Return an initializer that all decoders of the graph share: the one of this name and these values."""
        for number in count():
            found = self._graph.initializers.get(name if not number else f"{name}_{number}")
            if found is None:
                return initializer(self._graph, name, array)
            held = constant(found)
            if held is not None and held.dtype == array.dtype and np.array_equal(held, array):
                return found
        raise AssertionError

    def axes(self, *numbers: int) -> ir.Value:
        """Return int64 numbers (a shape, axes, places) as a shared initializer."""
        name = "integers_" + "_".join(str(number).replace("-", "minus") for number in numbers)
        return self.shared(name, np.array(numbers, np.int64))

    def node(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """Append a node of the standard operators with one output, which is returned."""
        node = ir.node(op_type, list(inputs), attributes, name=NAME)
        node.outputs[0].name = NAME
        self._nodes.append(node)
        return node.outputs[0]

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Append a Cast."""
        return self.node("Cast", [value], to=dtype.value)

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Put `new`, made by the nodes so far, in the place of the constant `old`; it takes over name and type.

        Args:
            old: an initializer of the graph that is no graph input, or the output of a Constant node in it.
            new: the output of the last node.
        """
        holder = old.producer()
        self.insert(self._graph[0])
        if holder is None:
            del self._graph.initializers[old.name or ""]
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        name, old.name = old.name, None
        new.name, new.shape, new.type = name, old.shape, old.type
        if holder is not None:
            self._graph.remove(holder, safe=True)

    def replace_node(self, node: ir.Node, new: ir.Value) -> None:
        """Put the nodes so far in the place of `node`, and `new`, which the last one makes, in that of its output."""
        replace_node(self._graph, node, self._nodes, [new])
        self._nodes = []

    def insert(self, node: ir.Node) -> None:
        """Insert the nodes so far before `node`."""
        insert_before(self._graph, node, self._nodes)
        self._nodes = []
