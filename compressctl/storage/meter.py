"""How many bytes a stored form takes in a file, without making it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.footprint import node_bytes, tensor_bytes
from compressctl.model.graph import constant, free_names, names_in
from compressctl.storage.decoder import NAME, Decoder


class Meter:
    """Measures forms of the constants of a graph.

    Args:
        graph: what its decoders share already costs nothing more; its names are taken.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._nodes, self._values = names_in(graph)

    def measure(self, name: str, emit: Callable[[Decoder], ir.Value]) -> int:
        """Return the bytes that what `emit` appends to a decoder would add to a file, for the constant `name`.

        Its type and shape, which a file states for outputs of nodes, are not counted.
        """
        counting = _Counting(self._graph, name, self._values)
        result = emit(counting)
        names, values = free_names(NAME, self._nodes), free_names(NAME, self._values)
        for node, node_name, output in zip(counting.nodes, names, values, strict=False):
            node.name, node.outputs[0].name = node_name, output
        result.name = name
        return counting.bytes + node_bytes(counting.nodes)


class _Counting(Decoder):
    """A decoder that counts tensors, and leaves the graph alone; of arrays it reads only type and shape.

    Attributes:
        bytes: of the tensors so far.
    """

    def __init__(self, graph: ir.Graph, name: str, taken: set[str | None]) -> None:
        super().__init__(graph, name)
        self.bytes = 0
        self._taken = taken
        self._made: dict[str, Array] = {}

    @property
    def nodes(self) -> list[ir.Node]:
        """The nodes so far."""
        return self._nodes

    def own(self, what: str, array: Array) -> ir.Value:
        """Count an initializer for this constant alone."""
        return self._add(next(free_names(f"{self._name}_{what}", self._taken | self._made.keys())), array)

    def shared(self, name: str, array: Array) -> ir.Value:
        """Count an initializer that all decoders share, unless the graph has it."""
        for number in count():
            numbered = name if not number else f"{name}_{number}"
            found = self._graph.initializers.get(numbered)
            held = constant(found) if found is not None else self._made.get(numbered)
            if held is None:
                return self._add(numbered, array)
            if held.dtype == array.dtype and np.array_equal(held, array):
                return ir.Value(name=numbered)
        raise AssertionError

    def _add(self, name: str, array: Array) -> ir.Value:
        self._made[name] = array
        self.bytes += tensor_bytes(name, ir.DataType.from_numpy(array.dtype), array.shape)
        return ir.Value(name=name)
