"""Small moves that several rules share, beside those of `compressctl.model.graph`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import Names, constant, free_names, initializer, insert_before, operand


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Return whether `node` is one of these operators of the standard domain."""
    return node is not None and node.domain == "" and node.op_type in op_types


def producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node that makes `value` where it is one of these operators of the standard domain, else None."""
    node = None if value is None else value.producer()
    return node if is_op(node, *op_types) else None


def ints(node: ir.Node, name: str, position: int) -> tuple[int, ...] | None:
    """Return attribute `name`, or what newer opsets have at input `position`: () if absent, None if not constant."""
    value = operand(node, position)
    if value is None:
        return tuple(node.attributes.get_ints(name, ()))
    array = constant(value)
    return None if array is None else tuple(int(element) for element in array.reshape(-1))


def other_outputs_unused(node: ir.Node) -> bool:
    """Return whether nobody uses any output of `node` but the first."""
    return not any(output.uses() or output.is_graph_output() for output in node.outputs[1:])


def bypass(node: ir.Node, source: ir.Value) -> bool:
    """Let `source` take the place of the first output of `node` and remove the node.

    Returns False, and changes nothing, where both names must survive: the output of the graph is `source` itself.
    """
    graph, output = node.graph, node.outputs[0]
    if not isinstance(graph, ir.Graph) or not other_outputs_unused(node):
        return False
    if output.is_graph_output():
        maker = source.producer()
        if maker is None or maker.graph is not graph or source.is_graph_output():
            return False
        name = output.name
        output.replace_all_uses_with(source, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        source.name, source.type = name, output.type or source.type
        source.shape = source.shape if output.shape is None else output.shape
    else:
        output.replace_all_uses_with(source)
        graph.remove(node, safe=True)
    return True


def become(node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], **attributes: int) -> None:
    """Turn `node` in place into another operator; its name and its outputs stay."""
    node.op_type = op_type
    node.attributes.clear()
    for name, number in attributes.items():
        node.attributes.add(ir.AttrInt64(name, number))
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)


def set_constant(graph: ir.Graph, node: ir.Node, position: int, array: Array, name: str) -> None:
    """Let `node` read `array` at input `position`.

    A weight that nobody else reads keeps its name and gets a new tensor (the old one may be shared with clones of the
    model); otherwise a new initializer is registered under a name derived from `name`.
    """
    value = operand(node, position)
    if position >= len(node.inputs):
        node.resize_inputs(position + 1)
    if value is not None and value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output():
        array = np.ascontiguousarray(array).reshape(array.shape)
        value.const_value = ir.tensor(array, name=value.name)
        value.shape, value.type = ir.Shape(array.shape), ir.TensorType(value.const_value.dtype)
    else:
        node.replace_input_with(position, initializer(graph, name, array))


def add_before(node: ir.Node, op_type: str, inputs: list[ir.Value | None], name: str) -> ir.Value:
    """Insert a new node before `node`; return its output. Both get a unique name derived from `name`."""
    new = ir.node(op_type, inputs, name=name)
    assert isinstance(node.graph, ir.Graph)
    insert_before(node.graph, node, [new])
    return new.outputs[0]


def add_after(node: ir.Node, op_type: str, name: str, taken: Names, **attributes: Sequence[int]) -> ir.Value:
    """Insert a new node behind the first output of `node`, on the way to all its users; return its output.

    The new output takes over the name and the place of the old one, which gets a name derived from its own. `taken` has
    the names of nodes and of values that new ones may not bear; theirs are added.
    """
    graph, old = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    nodes, values = taken
    new = ir.node(op_type, [old], attributes=attributes, name=next(free_names(name, nodes)))
    nodes.add(new.name)
    output = new.outputs[0]
    output.type, output.shape, bare = old.type, old.shape, old.name
    old.name = next(free_names(f"{bare}_{op_type.lower()}_input", values))
    values.add(old.name)
    output.name = bare
    old.shape = None
    old.replace_all_uses_with(output, replace_graph_outputs=True)
    new.replace_input_with(0, old)
    graph.insert_after(node, new)
    return output
