"""Undo what exporters do to constants that happen to be equal: they store one initializer for all of them.

Before training, the scales of all norms are ones and the biases are zeros, and so is a running mean. Merged, they would
train as one weight. A vector of equal elements that several operands read is taken for such a merger; other shared
weights (tied embeddings) stay shared. Running statistics are never a weight, nor shared.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.model import ops
from compressctl.model.graph import initializer, unique_name
from compressctl.model.tensors import FLOATS


def separate_merged(model: ir.Model) -> int:
    """Give each operand an initializer of its own, in place, where an exporter merged equal ones.

    Returns:
        how many initializers were added.
    """
    graph = model.graph
    before = len(graph.initializers)
    for node in list(graph):
        if node.op_type == "Identity" and node.domain == "":
            _replace_identity(graph, node)
    for value in list(graph.initializers.values()):
        vector = _vector(value)
        if vector is None:
            continue
        readers = list(_operands(value))
        apart = readers if _all_equal(vector) else [reader for reader in readers if _is_statistic(*reader)]
        # One operand keeps the initializer itself, a weight before a statistic.
        for node, index in sorted(apart, key=lambda reader: _is_statistic(*reader), reverse=True):
            if len(value.uses()) > 1:
                node.replace_input_with(index, initializer(graph, value.name or "", vector))
    return len(graph.initializers) - before


def _replace_identity(graph: ir.Graph, node: ir.Node) -> None:
    """Restore the initializer that was replaced by an Identity of another one, under its name."""
    source, output = node.inputs[0], node.outputs[0]
    vector = _vector(source) if source is not None and source.is_initializer() else None
    if vector is None or output.is_graph_output():
        return
    if not (_all_equal(vector) or any(_is_statistic(*reader) for reader in _operands(output))):
        return
    name = output.name or ""
    output.name = unique_name(graph, f"{name}_merged")
    ir.convenience.replace_all_uses_with(output, initializer(graph, name, vector))
    graph.remove(node, safe=True)


def _vector(value: ir.Value) -> NDArray[np.generic] | None:
    """Return the elements of a float initializer of one dimension (others of size 1 aside), or None."""
    tensor = value.const_value
    if tensor is None or tensor.dtype not in FLOATS or sum(size > 1 for size in tensor.shape.numpy()) > 1:
        return None
    return tensor.numpy()


def _all_equal(vector: NDArray[np.generic]) -> bool:
    return vector.size > 1 and bool(np.all(vector == vector.flat[0]))


def _is_statistic(node: ir.Node, index: int) -> bool:
    return index in ops.operands(node.op_type).statistics


def _operands(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Yield the operands that read `value` as a scale, bias or statistic."""
    for use in value.uses():
        op, known = use.node.op_type, ops.operands(use.node.op_type)
        vectors = (0, 1) if op in ("Add", "Mul") else (*known.scales, *known.biases, *known.statistics)
        if use.idx in vectors and use.node.domain == "":
            yield use.node, use.idx
