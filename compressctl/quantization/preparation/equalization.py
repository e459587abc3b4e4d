"""Find the pairs of convolutions that can be equalized, and write the scales into their weights and biases."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import bias_of, constant, constant_input, is_only_use, replace_constant
from compressctl.model.ops import HOMOGENEOUS
from compressctl.notes import Note, done, skipped
from compressctl.numerics import equalization
from compressctl.numerics.equalization import Layer


def equalize(model: ir.Model, sweeps: int) -> list[Note]:
    """Equalize all pairs of convolutions in place; returns what was done, and why other convolutions were left."""
    graph = model.graph
    pairs: list[tuple[ir.Node, ir.Node]] = []
    notes = []
    for node in graph:
        if node.op_type != "Conv" or node.domain != "":
            continue
        found = _obstacle(node) or _next_convolution(node)
        if isinstance(found, ir.Node):
            pairs.append((node, found))
        else:
            notes.append(skipped(f"not equalized: {found}", node.name))
    nodes = dict.fromkeys(node for pair in pairs for node in pair)
    layers = {
        node: Layer.of(constant_input(node, 1), constant(bias_of(node)), node.attributes.get_int("group", 1))
        for node in nodes
    }
    equalization.equalize([(layers[first], layers[second]) for first, second in pairs], sweeps)
    for node, layer in layers.items():
        _write(graph, node, layer)
    for first, second in pairs:
        scales = layers[first].outputs
        told = f"equalized with {second.name}: channels scaled by {1 / scales.max():.3g} to {1 / scales.min():.3g}"
        notes.append(done(told, first.name))
    return notes


def _obstacle(node: ir.Node) -> str | None:
    """Why the weights of a convolution cannot be scaled, or None."""
    weight, bias = node.inputs[1], bias_of(node)
    array = constant(weight)
    if weight is None or array is None or (bias is not None and constant(bias) is None):
        return "its weight or bias is not constant"
    if not is_only_use(weight, node):
        return "other nodes use its weight too"
    if array.dtype.kind != "f" or not array.size:
        return f"its weight is {array.dtype.name} of shape {list(array.shape)}"
    return None


def _next_convolution(node: ir.Node) -> ir.Node | str:
    """The convolution that alone reads the output through homogeneous functions, or why there is none."""
    value = node.outputs[0]
    while True:
        consumers = value.consumers()
        if value.is_graph_output() or len(consumers) != 1:
            return "its output is read by several nodes, or is the model's"
        reader = consumers[0]
        if reader.graph is not node.graph:
            return "a body of If, Loop or Scan reads its output"
        if reader.domain != "" or reader.op_type not in {"Conv", *HOMOGENEOUS}:
            return f"{reader.op_type} reads its output, which does not pass a scale on unchanged"
        if [index for index, source in enumerate(reader.inputs) if source is value] != [0]:
            return f"its output is no plain input of {reader.name}"
        if reader.op_type == "Conv":
            obstacle = _obstacle(reader)
            return reader if obstacle is None else f"it feeds {reader.name}, and {obstacle}"
        if len(reader.outputs) > 1:
            return f"{reader.name} has several outputs"
        value = reader.outputs[0]


def _write(graph: ir.Graph, node: ir.Node, layer: Layer) -> None:
    weight = constant_input(node, 1)
    grouped = weight.reshape(*layer.reach.shape, *weight.shape[2:])
    kernel = (1,) * (weight.ndim - 2)
    factor = (layer.inputs[:, None, :] / layer.outputs[:, :, None]).reshape(*layer.reach.shape, *kernel)
    replace_constant(graph, node, 1, (grouped * factor).reshape(weight.shape), "equalized")
    bias = constant(bias_of(node))
    if bias is not None:
        replace_constant(graph, node, 2, bias / layer.outputs.reshape(-1), "equalized")
