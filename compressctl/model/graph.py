"""Reading and editing an `ir.Graph`: the few moves that every rewrite shares.

A body of If, Loop or Scan may use ("capture") values of the graph around it. onnx_ir counts such uses in
`Value.uses()`, so everything here that asks for uses respects captures.

Clones of a model share tensors and types: give a value a new `const_value` or `ir.TensorType`; never write into an
array, nor assign `value.dtype`, which changes the type object itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.ops import CONTROL_FLOW, operands

Names = tuple[set[str | None], set[str | None]]
"""Of nodes, and of values."""


def constant(value: ir.Value | None) -> Array | None:
    """Return the numpy array of an initializer, or of a Constant or constant-shaped ConstantOfShape node's output.

    An initializer that is a graph input too can be fed, so it is no constant. The array must not be written into: it
    is shared with other clones of the model (and may be a memory map).
    """
    if value is None:
        return None
    if value.is_initializer():
        return None if value.is_graph_input() or value.const_value is None else value.const_value.numpy()
    node = value.producer()
    if node is None or node.domain:
        return None
    if node.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(value)
        return None if tensor is None else tensor.numpy()
    if node.op_type == "ConstantOfShape" and (shape := constant(node.inputs[0])) is not None:
        fill = node.attributes.get("value")
        scalar = np.zeros(1, np.float32) if fill is None else fill.as_tensor().numpy()
        return np.broadcast_to(scalar.reshape(()), tuple(int(size) for size in shape))
    return None


def is_plain_constant(value: ir.Value) -> bool:
    """Return whether a value is an initializer that cannot be fed, or a Constant's output; its data are not read."""
    if value.is_initializer():
        return not value.is_graph_input() and value.const_value is not None
    node = value.producer()
    return node is not None and node.op_type == "Constant" and not node.domain


def initializer(graph: ir.Graph, name: str, array: Array, taken: set[str | None] | None = None) -> ir.Value:
    """Register `array`, which is not copied, as an initializer under a unique name derived from `name`.

    Args:
        graph: the graph.
        name: where it is taken, a number is added.
        array: what it holds.
        taken: the names that its values bear (see `names_in`), which gets the new one: gathering them takes as long as
            a walk through the graph, so what makes many initializers does it once.
    """
    taken = _value_names(graph) if taken is None else taken
    unique = _free(name, taken)
    tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=unique)
    value = ir.Value(name=unique, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def set_constant(value: ir.Value, array: Array) -> None:
    """Let an initializer, or the output of a Constant node, hold another array, which is not copied.

    Raises:
        ValueError: `value` is neither.
    """
    tensor = ir.tensor(array, name=value.name)
    if value.is_initializer():
        value.const_value, value.shape = tensor, ir.Shape(array.shape)
        return
    node = value.producer()
    if node is None or node.op_type != "Constant":
        raise ValueError(f"{value.name!r} is no constant")
    for name in list(node.attributes):
        del node.attributes[name]
    node.attributes["value"] = ir.AttrTensor("value", tensor)
    value.const_value, value.shape = None, ir.Shape(array.shape)


def unique_name(graph: ir.Graph, base: str) -> str:
    """Return the first of `free_names` that no value of `graph` or of a body inside it bears."""
    return next(free_names(base, _value_names(graph)))


def free_names(base: str, taken: Collection[str | None]) -> Iterator[str]:
    """Yield `base`, `base_1`, `base_2`, …: those that are not taken."""
    return (name for i in count() if (name := f"{base}_{i}" if i else base) not in taken)


def insert_before(graph: ir.Graph, node: ir.Node, new_nodes: Iterable[ir.Node]) -> None:
    """Insert `new_nodes` before `node`, in order; nameless ones and taken names get unique ones.

    Here and below, `graph` is the main graph; `node` may be one of a body in it, and new nodes then are, too.
    """
    new_nodes = list(new_nodes)
    _give_names(graph, new_nodes)
    holder_of(node).insert_before(node, new_nodes)


def insert_after(graph: ir.Graph, node: ir.Node, new_nodes: Iterable[ir.Node]) -> None:
    """Insert `new_nodes` after `node`, in order; nameless ones and taken names get unique ones."""
    new_nodes = list(new_nodes)
    _give_names(graph, new_nodes)
    holder_of(node).insert_after(node, new_nodes)


def holder_of(node: ir.Node) -> ir.Graph:
    """Return the graph that holds `node`: the main graph or a body."""
    assert isinstance(node.graph, ir.Graph)
    return node.graph


def replace_node(
    graph: ir.Graph, node: ir.Node, new_nodes: Sequence[ir.Node], new_outputs: Sequence[ir.Value] | None = None
) -> None:
    """Put `new_nodes` in the place of `node` and `new_outputs` in the place of its outputs.

    Outputs of the new nodes take over the names of the old outputs, and type and shape where they have none. A new
    output that was there before keeps its name; where it stands in for a graph output, an Identity bears that name.

    Args:
        graph: the main graph.
        node: the node to remove, of it or of a body.
        new_nodes: the nodes to insert, in order; may be empty.
        new_outputs: one value for each output of `node`; by default the outputs of the last new node.

    Raises:
        ValueError: there are more or fewer new outputs than old ones.
    """
    new_nodes = list(new_nodes)
    new_outputs = list(new_nodes[-1].outputs if new_outputs is None else new_outputs)
    if len(new_outputs) != len(node.outputs):
        raise ValueError(f"node {node.name!r} has {len(node.outputs)} outputs, {len(new_outputs)} are to replace them")
    for old, new in zip(node.outputs, new_outputs, strict=True):
        if new.producer() not in new_nodes:
            if not old.is_graph_output():
                old.replace_all_uses_with(new)
                continue
            new_nodes.append(ir.node("Identity", [new]))
            new = new_nodes[-1].outputs[0]
        name, old.name = old.name, None
        new.name, new.type = name, new.type or old.type
        new.shape = old.shape if new.shape is None else new.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
    _give_names(graph, new_nodes)
    holder_of(node).insert_before(node, new_nodes)
    holder_of(node).remove(node, safe=True)


def remove_dead(model: ir.Model) -> int:
    """Remove the nodes whose outputs nobody uses, then unused initializers, in bodies, too; return how many.

    Graph inputs stay.
    """
    return _remove_dead(model.graph)


def _remove_dead(graph: ir.Graph) -> int:
    removed = 0
    for node in reversed(graph):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            for inner in (inner for body in bodies(node) for inner in all_nodes(body)):
                inner.resize_inputs(0)  # captures are uses
            graph.remove(node, safe=True)
            removed += 1
        else:
            removed += sum(map(_remove_dead, bodies(node)))
    for name, value in list(graph.initializers.items()):
        if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
            del graph.initializers[name]
            removed += 1
    return removed


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input of a node, None where it is omitted or absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def bias_of(node: ir.Node) -> ir.Value | None:
    """Return the bias operand of a layer, None where it has none."""
    return next((operand(node, index) for index in operands(node.op_type).biases), None)


def is_only_use(value: ir.Value, node: ir.Node) -> bool:
    """Return whether `node` alone uses `value` (once or several times), and it is no graph output."""
    return not value.is_graph_output() and value.consumers() == (node,)


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """Yield the bodies that `node` holds as attributes (If, Loop, Scan)."""
    for _, body in _named_bodies(node):
        yield body


def reads(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what a node reads: its inputs, and what bodies inside it capture from its graph."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        for inner in body:
            yield from (value for value in reads(inner) if value.graph is node.graph)


def walk_subgraphs(graph: ir.Graph) -> Iterator[tuple[ir.Node, str, ir.Graph]]:
    """Yield (node, attribute name, body) for each If, Loop or Scan body inside `graph`, the nested ones included."""
    for node in graph:
        for name, body in _named_bodies(node):
            yield node, name, body
            yield from walk_subgraphs(body)


def all_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield the nodes of `graph` and of the bodies inside it, each before those of its bodies."""
    for node in graph:
        yield node
        for body in bodies(node):
            yield from all_nodes(body)


def all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield every value that `graph` and the bodies inside it define."""
    for inner in (graph, *(body for _, _, body in walk_subgraphs(graph))):
        yield from inner.inputs
        yield from (value for value in inner.initializers.values() if not value.is_graph_input())
        for node in inner:
            yield from node.outputs


def ensure_opset(model: ir.Model, domain: str, version: int) -> None:
    """Import `domain` at `version` at least ("" is the standard domain, whose version this never lowers)."""
    model.opset_imports[domain] = max(version, model.opset_imports.get(domain, 0))


def _named_bodies(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    if not node.domain and node.op_type not in CONTROL_FLOW:  # most nodes; their attributes are slow to go through
        return
    for name, attribute in node.attributes.items():
        if attribute.type == ir.AttributeType.GRAPH:
            yield name, attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from ((name, body) for body in attribute.as_graphs())


def names_in(graph: ir.Graph) -> Names:
    """Return the names of all nodes and of all values of `graph` and of the bodies inside it."""
    return {node.name for node in all_nodes(graph)}, _value_names(graph)


def _value_names(graph: ir.Graph) -> set[str | None]:
    return {value.name for value in all_values(graph)}


def _give_names(graph: ir.Graph, new_nodes: Iterable[ir.Node]) -> None:
    """Name the nameless among `new_nodes` and their outputs; rename those whose name is taken."""
    nodes, values = names_in(graph)
    for node in new_nodes:
        node.name = _free(node.name or node.op_type, nodes)
        for output in node.outputs:
            if output.name != "":  # an omitted optional output
                output.name = _free(output.name or f"{node.name}_output", values)


def _free(base: str, taken: set[str | None]) -> str:
    name = next(free_names(base, taken))
    taken.add(name)
    return name


def constant_input(node: ir.Node, index: int) -> Array:
    """Return the constant that a node reads as input `index`, which must be one."""
    array = constant(node.inputs[index])
    assert array is not None
    return array


def replace_constant(graph: ir.Graph, node: ir.Node, index: int, array: Array, why: str) -> None:
    """Let `node` read `array`, in the old constant's type, as input `index`.

    Other readers of the old constant keep it; an initializer that nobody reads any more is removed.

    Args:
        graph: the graph that holds `node`.
        node: the reader.
        index: which input.
        array: of the same shape as the old constant.
        why: suffix of the new name.
    """
    old = node.inputs[index]
    assert old is not None
    new = initializer(graph, f"{old.name}_{why}", array.astype(constant_input(node, index).dtype))
    node.replace_input_with(index, new)
    if old.is_initializer() and not (old.uses() or old.is_graph_output()) and old.name is not None:
        del graph.initializers[old.name]
