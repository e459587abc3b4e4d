"""What exporters leave beside the graph: stack traces, module hierarchies; they take bytes and tell local paths."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import all_nodes, all_values, walk_subgraphs
from compressctl.notes import Note, done


def strip_metadata(model: ir.Model) -> list[Note]:
    """Drop `metadata_props` of graphs, nodes and values, and `doc_string` of nodes, in place; the model's own stay."""
    nodes = list(all_nodes(model.graph))
    graphs = [model.graph, *(body for _, _, body in walk_subgraphs(model.graph))]
    everything: list[ir.Graph | ir.Node | ir.Value] = [*graphs, *nodes, *all_values(model.graph)]
    holders = [one for one in everything if one.metadata_props]
    told = [node for node in nodes if node.doc_string]
    for one in holders:
        one.metadata_props.clear()
    for node in told:
        node.doc_string = None
    count = len({*map(id, holders), *map(id, told)})
    return [done(f"metadata of the exporter dropped: {count} nodes, values and graphs")] if count else []
