"""Tidy what torch's exporters write: no traces of the exporting machine, weights laid out once, and readable names."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from compressctl.model.graph import constant, free_names, initializer
from compressctl.model.ops import VIEWS

_LAYOUT = VIEWS | {"Slice", "Concat"}


def strip_metadata(model: ir.Model) -> None:
    """Remove doc strings and metadata: torch writes stack traces with paths of source files into them."""
    model.metadata_props.clear()
    for graph in model.graphs():
        graph.metadata_props.clear()
        graph.doc_string = None
        values = [*graph.inputs, *graph.initializers.values()]
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            values.extend(node.outputs)
        for value in values:
            value.metadata_props.clear()
            value.doc_string = None


def weight_layouts(graph: ir.Graph, parameters: Iterable[str]) -> dict[ir.Value, str]:
    """Find the values that hold weights in another layout, such as the transposed weight of a linear layer.

    Returns:
        each such value -> the name of its first parameter. Parameters that something else reads too, as an embedding
        that is also the output layer, are left out: to store both layouts would double them.
    """
    sources = {graph.initializers[name]: {name: None} for name in parameters}
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        if node.op_type in _LAYOUT and all(value in sources or constant(value) is not None for value in inputs):
            merged = {name: None for value in inputs for name in sources.get(value, {})}
            if merged:
                sources[node.outputs[0]] = merged
    layouts = {value: names for value, names in sources.items() if not value.is_initializer()}
    while True:
        nodes = {value.producer() for value in layouts}
        free = {name for name in parameters if all(node in nodes for node in graph.initializers[name].consumers())}
        kept = {value: names for value, names in layouts.items() if free.issuperset(names)}
        if len(kept) == len(layouts):
            return {value: next(iter(names)) for value, names in kept.items()}
        layouts = kept


def rename_initializer(graph: ir.Graph, name: str, wanted: str) -> None:
    """Rename the initializer `name` to `wanted`, or to the first free name that begins so."""
    value = graph.initializers[name]
    renamed = initializer(graph, wanted, value.const_value.numpy())  # type: ignore[union-attr]
    value.replace_all_uses_with(renamed, replace_graph_outputs=True)
    del graph.initializers[name]


def untie(graph: ir.Graph, tied: Iterable[frozenset[str]]) -> None:
    """Give each parameter its own initializer; the older exporter merges equal ones through Identity nodes.

    Args:
        graph: the graph, edited in place.
        tied: sets of names of what really is one parameter; those stay one initializer.
    """
    groups = {name: group for group in tied for name in group}
    for node in list(graph):
        source = node.inputs[0] if node.op_type == "Identity" else None
        if source is None or not source.is_initializer() or source.const_value is None:
            continue
        output = node.outputs[0]
        if output.is_graph_output():
            continue
        name, output.name = output.name or "", None
        own = (
            source
            if name in groups.get(source.name or "", ())
            else initializer(graph, name, source.const_value.numpy())
        )
        output.replace_all_uses_with(own)
        graph.remove(node, safe=True)


def name_nodes(graph: ir.Graph) -> None:
    """Name nodes that read a parameter after its module: what reads `block1.conv.weight` is `/block1/conv/Conv`."""
    taken = {node.name for node in graph}
    for node in graph:
        read = [value.name or "" for value in node.inputs if value is not None and value.is_initializer()]
        scope = next((name.rpartition(".")[0] for name in read if "." in name), None)
        if scope is not None:
            taken.discard(node.name)
            node.name = next(free_names(f"/{scope.replace('.', '/')}/{node.op_type}", taken))
            taken.add(node.name)
