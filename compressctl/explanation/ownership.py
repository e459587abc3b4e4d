"""Which layer of the original each node of a result, and of the graph that onnxruntime runs, belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.explanation.layers import WeightedNode, constant_values

_KERNELS = re.compile("Conv|MatMul|Gemm|LSTM|GRU|RNN")
_ADDED = re.compile(r"^fused |(_token_\d+|_nchwc|/MatMul(Add|Scale)Fusion/?)+$")  # to names, where nodes are fused


@dataclass(frozen=True)
class Owners:
    """Layers by name of what belongs to them, in one graph.

    Attributes:
        nodes: layer by node, None for nodes of no layer.
        values: layer by the value that a node of the layer, or a node behind it that onnxruntime may fuse, gives.
    """

    nodes: dict[str, str | None]
    values: dict[str, str | None]

    def of_fused(self, name: str, op: str, outputs: Sequence[str]) -> tuple[bool, str | None]:
        """Return whether a node of the optimised graph could be told, and its layer (None for no layer).

        onnxruntime calls a fused node by one of the nodes in it, or by its output.
        """
        plain = _ADDED.sub("", name)
        if self.nodes.get(plain) is not None:
            return True, self.nodes[plain]
        if not _KERNELS.search(op):
            return True, None
        for value in (plain, *outputs):
            if self.values.get(value) is not None:
                return True, self.values[value]
        return plain in self.nodes or any(value in self.values for value in (plain, *outputs)), None


def owners(graph: ir.Graph, layers: Sequence[WeightedNode], original: Collection[str]) -> Owners:
    """Assign nodes to layers.

    A node is a layer's if it bears the layer's name or gives its output. Nodes that the original lacks, and those that
    only rearrange constants, belong with the node that reads them first: scales, packed weights, factors, and the
    quantization of what a layer reads.

    Args:
        graph: of the result, or the original itself.
        layers: of the original.
        original: names of all nodes of the original.
    """
    names = {layer.name for layer in layers}
    givers = {layer.values[0]: layer.name for layer in layers}
    fixed = constant_values(graph)
    nodes: dict[str, str | None] = {}
    for node in reversed(list(graph)):
        nodes[node.name or ""] = _owner(node, names, givers, nodes, fixed, original)
    values: dict[str, str | None] = {}
    for node in graph:
        owner = nodes[node.name or ""]
        if owner is None:  # an activation or the like: it may be fused into the one layer that it reads
            read = [value for value in node.inputs if value is not None and value not in fixed]
            owner = values.get(read[0].name or "") if len(read) == 1 else None
        values.update(dict.fromkeys((output.name or "" for output in node.outputs), owner))
    return Owners(nodes, values)


def _owner(
    node: ir.Node,
    names: Collection[str],
    givers: dict[str, str],
    nodes: dict[str, str | None],
    fixed: set[ir.Value],
    original: Collection[str],
) -> str | None:
    if node.name in names:
        return node.name
    for output in node.outputs:
        if output.name in givers:
            return givers[output.name]
    users = node.outputs[0].consumers()
    if users and users[0].graph is node.graph and (node.outputs[0] in fixed or node.name not in original):
        return nodes.get(users[0].name or "")
    return None
