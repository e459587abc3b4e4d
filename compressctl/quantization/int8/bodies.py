"""Layers in bodies of If, Loop and Scan: which can be observed, and what makes each body a graph of its own.

A body reads tensors of the graphs around it. A Q/DQ pair forms an integer kernel only in the graph of its layer, and a
range is to come from the samples that take the branch. So an Identity in the body stands for each such tensor while
ranges are observed and pairs are placed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from compressctl.model.graph import all_nodes, constant, free_names, holder_of, insert_before, names_in, walk_subgraphs

_OBSERVABLE = {"If", "Loop", "Scan"}
Owners = Mapping[ir.Graph, ir.Node]


def observable_bodies(graph: ir.Graph) -> dict[ir.Graph, ir.Node]:
    """Return the bodies inside `graph` whose tensors can be observed, with the nodes that hold them.

    Those of other operators cannot give another output, nor can what is nested in them.
    """
    found: dict[ir.Graph, ir.Node] = {}
    for node, _, body in walk_subgraphs(graph):
        around = node.graph is graph or node.graph in found
        if around and node.op_type in _OBSERVABLE and not node.domain:
            found[body] = node
    return found


def in_loop(owners: Owners, graph: ir.Graph | None) -> bool:
    """Whether a body, or one around it, may run several times an inference; `owners` are of `observable_bodies`."""
    while graph is not None and graph in owners:
        owner = owners[graph]
        if owner.op_type != "If":
            return True
        graph = holder_of(owner)
    return False


def detach(model: ir.Model, names: Collection[str]) -> list[str]:
    """Let the bodies that hold the nodes `names` read nothing but constants from around, and bear no names twice.

    Args:
        model: edited in place; it computes the same.
        names: of nodes, those of the main graph among them, which is left as it is.

    Returns:
        the names of the Identity nodes that stand for the tensors around, for `attach`.
    """
    graph = model.graph
    chosen = {node for node in all_nodes(graph) if node.name in names}
    bodies = [body for _, _, body in walk_subgraphs(graph) if any(node.graph is body for node in chosen)]
    if not bodies:
        return []
    _name_apart(graph)
    made: list[str] = []
    for body in bodies:
        stand_ins: dict[ir.Value, ir.Value] = {}
        for node in list(body):
            for index, value in enumerate(node.inputs):
                if value is None or value.graph is body or constant(value) is not None:
                    continue
                if value.dtype != ir.DataType.FLOAT and not (node in chosen and index == 0):
                    continue
                if value not in stand_ins:
                    identity = ir.node("Identity", [value], name=f"{body.name}_{value.name}")
                    identity.outputs[0].name = f"{value.name}_read"
                    identity.outputs[0].type, identity.outputs[0].shape = value.type, value.shape
                    insert_before(graph, body[0], [identity])
                    stand_ins[value] = identity.outputs[0]
                    made.append(identity.name or "")
                node.replace_input_with(index, stand_ins[value])
    return made


def attach(model: ir.Model, identities: Collection[str]) -> None:
    """Take the Identity nodes of `detach` out again, in place."""
    for node in [node for node in all_nodes(model.graph) if node.name in identities]:
        output, source = node.outputs[0], node.inputs[0]
        assert source is not None
        output.replace_all_uses_with(source)
        holder_of(node).remove(node, safe=True)


def _name_apart(graph: ir.Graph) -> None:
    """Give each value of a body a name that no other value bears; two branches may use the same ones."""
    _, taken = names_in(graph)
    seen = {value.name for node in graph for value in node.outputs} | {value.name for value in graph.inputs}
    seen |= set(graph.initializers)
    for _, _, body in walk_subgraphs(graph):
        for value in (*body.inputs, *(value for node in body for value in node.outputs)):
            if value.name and value.name in seen:
                value.name = next(free_names(value.name, taken))
                taken.add(value.name)
            seen.add(value.name)


def branches_around(graph: ir.Graph, node: ir.Node) -> list[tuple[ir.Node, str, ir.Graph]]:
    """Return the branches of If that `node` is in, outermost first: the If, the attribute, and the body."""
    held = {body: (owner, name, body) for owner, name, body in walk_subgraphs(graph)}
    found: list[tuple[ir.Node, str, ir.Graph]] = []
    inside = node.graph
    while inside in held:
        assert isinstance(inside, ir.Graph)
        if held[inside][0].op_type == "If":
            found.insert(0, held[inside])
        inside = held[inside][0].graph
    return found
