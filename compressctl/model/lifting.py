"""Weights of Constant nodes and of bodies, lifted to initializers of the main graph, where passes find and edit them.

A body of If, Loop or Scan may read what the graph around it holds, and onnxruntime prepares such a weight as well as
one of the body's own: so one place serves all.
"""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import holder_of, unique_name, walk_subgraphs
from compressctl.notes import Note, done

_SHAPE_TYPES = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL, ir.DataType.STRING)


def lift_constants(model: ir.Model) -> list[Note]:
    """Lift weights, in place, under their names where these are free; scalars and shapes stay where they are."""
    graph, notes = model.graph, []
    for holders, what in (
        ([graph], "Constant nodes lifted to initializers"),
        ([body for _, _, body in walk_subgraphs(graph)], "constants of bodies lifted to the main graph"),
    ):
        weights = [value for holder in holders for value in _weights(holder, graph)]
        for value in weights:
            lift(graph, value)
        notes += [done(f"{what}: {len(weights)}")] if weights else []
    return notes


def lift(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Make an initializer of the main graph of a constant, and return it.

    Args:
        graph: the main graph.
        value: the output of a Constant node, of any graph, or an initializer of a body; no output of its graph.
    """
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    node, name, body = value.producer(), value.name or "", value.graph
    new = ir.Value(type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor)
    value.replace_all_uses_with(new)
    if node is not None:
        holder_of(node).remove(node, safe=True)
    elif body is not None:
        del body.initializers[name]
    tensor.name = new.name = unique_name(graph, name)
    graph.register_initializer(new)
    return new


def _weights(holder: ir.Graph, graph: ir.Graph) -> list[ir.Value]:
    """Return the weights among the constants of a graph, the main graph's initializers left out."""
    made = [(node.outputs[0], node.attributes.get("value")) for node in holder if node.op_type == "Constant"]
    found = [(value, attribute.as_tensor()) for value, attribute in made if attribute is not None]
    own = holder.initializers.values() if holder is not graph else ()
    found += [(one, one.const_value) for one in own if one.const_value is not None and not one.is_graph_input()]
    return [value for value, tensor in found if _is_weight(tensor) and not value.is_graph_output()]


def _is_weight(tensor: ir.TensorProtocol) -> bool:
    return tensor.size > 1 and tensor.dtype not in _SHAPE_TYPES
