"""Constant nodes become initializers; nodes that only read constants are evaluated once, by onnxruntime.

Left alone: what is random, what decompresses (DequantizeLinear; Cast to a wider type, ConstantOfShape, Expand and
ScatterElements of more than 16 elements), and whatever would make the file grow by more than a kilobyte, so that
weights that are stored small stay small.
"""

from __future__ import annotations

import math

import onnx
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.errors import CompressctlError
from compressctl.measure.session import Session
from compressctl.model.graph import bodies, constant, is_only_use
from compressctl.model.ops import RANDOM
from compressctl.notes import Note, done, skipped
from compressctl.simplification.facts import Facts

_GROWTH = 1024  # bytes
_NEVER = RANDOM | {"DequantizeLinear", "Dropout", "Identity"}
_DECOMPRESSING = ("ConstantOfShape", "Expand", "ScatterElements")
_DECOMPRESSED_ELEMENTS = 16


def fold_constants(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    return [*_lift(model.graph), *_fold(model, facts)]


def _lift(graph: ir.Graph) -> list[Note]:
    notes = []
    for node in tuple(graph):
        if node.op_type != "Constant" or node.domain or node.outputs[0].is_graph_output():
            continue
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        if tensor is not None:
            _replace(graph, node, node.outputs[0], tensor, node.outputs[0].name or "")
            notes.append(done("Constant node turned into an initializer", node.name))
    return notes


def _fold(model: ir.Model, facts: Facts) -> list[Note]:
    graph = model.graph
    sizes: dict[ir.Value, int] = {}  # bytes of what the wave computes
    wave: dict[ir.Node, None] = {}
    for node in graph:
        outputs = _foldable(node, facts, sizes)
        if outputs is not None:
            wave[node] = None
            sizes.update(outputs)
    frontier = [value for value in sizes if any(user not in wave for user in value.consumers())]
    if not frontier:
        return []
    notes: list[Note] = []
    results = _evaluate(model, list(wave), frontier, notes)
    for node in wave:
        for output in node.outputs:
            if output in results:
                _replace(graph, node, output, ir.tensor(results[output]), _readable_name(node, output))
        if not any(output.uses() for output in node.outputs):
            notes.append(done("node with constant inputs evaluated", node.name))
    return notes


def _foldable(node: ir.Node, facts: Facts, wave: dict[ir.Value, int]) -> dict[ir.Value, int] | None:
    """Return the outputs of a node that can be evaluated now, with their bytes, else None."""
    if node.domain or node.op_type in _NEVER or not node.inputs or any(True for _ in bodies(node)):
        return None
    freed = 0
    for value in node.inputs:
        if value is None:
            continue
        tensor = value.const_value if value.is_initializer() and not value.is_graph_input() else None
        if value not in wave and (tensor is None or not _is_plain(value, facts)):
            return None
        if is_only_use(value, node):
            freed += wave[value] if tensor is None else tensor.nbytes
    outputs = {}
    for output in node.outputs:
        if not output.name:
            continue
        shape, dtype = facts.static_shape(output), facts.dtype(output)
        if output.is_graph_output() or shape is None or dtype is None or not _is_plain(output, facts):
            return None
        outputs[output] = math.prod(shape) * dtype.bitwidth // 8
    return None if sum(outputs.values()) > freed + _GROWTH or _decompresses(node, facts) else outputs


def _is_plain(value: ir.Value, facts: Facts) -> bool:
    """Whether the elements are numbers of whole bytes: numpy and onnxruntime hold them alike."""
    dtype = facts.dtype(value)
    return dtype is not None and not dtype.is_string() and dtype.bitwidth >= 8


def _decompresses(node: ir.Node, facts: Facts) -> bool:
    """Whether the node makes a larger tensor of stored ones: a Cast to a wider type, or one that fills in."""
    narrow, wide = facts.dtype(node.inputs[0]), facts.dtype(node.outputs[0])
    cast = node.op_type == "Cast" and narrow is not None and wide is not None and narrow.bitwidth < wide.bitwidth
    if not cast and node.op_type not in _DECOMPRESSING:
        return False
    return math.prod(facts.static_shape(node.outputs[0]) or ()) > _DECOMPRESSED_ELEMENTS


def _evaluate(
    model: ir.Model, nodes: list[ir.Node], wanted: list[ir.Value], notes: list[Note]
) -> dict[ir.Value, Array]:
    """Run the nodes in one session; where that fails, one by one, with a note on each that fails."""
    try:
        return _run(model, nodes, wanted)
    except CompressctlError as error:
        if len(nodes) == 1:
            notes.append(skipped(f"left as it is: it cannot be evaluated ({error})", nodes[0].name))
            return {}
    results: dict[ir.Value, Array] = {}
    for node in nodes:
        if all(value is None or value.is_initializer() for value in node.inputs):
            results.update(_evaluate(model, [node], list(node.outputs), notes))
    return results


def _run(model: ir.Model, nodes: list[ir.Node], wanted: list[ir.Value]) -> dict[ir.Value, Array]:
    proto = onnx.ModelProto(ir_version=model.ir_version)
    proto.graph.name = "constants"
    proto.opset_import.append(onnx.OperatorSetIdProto(version=model.opset_imports.get("", 1)))
    proto.graph.node.extend(ir.serde.serialize_node(node) for node in nodes)
    feeds: dict[str, Array] = {}
    for value in dict.fromkeys(value for node in nodes for value in node.inputs):
        array = constant(value) if value is not None and value.is_initializer() else None
        if value is not None and array is not None and value.const_value is not None:  # fed: cheaper than in the file
            name, dtype = value.name or "", int(value.const_value.dtype)
            proto.graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, array.shape))
            feeds[name] = array
    proto.graph.output.extend(onnx.ValueInfoProto(name=value.name or "") for value in wanted)
    results = Session(proto.SerializeToString(), threads=1, optimize=False).run(feeds)
    return {value: results[value.name or ""] for value in wanted}


def _readable_name(node: ir.Node, output: ir.Value) -> str:
    """Return the name of the weight that is rearranged, where there is one and nobody else reads it."""
    tensors = [(value, value.const_value) for value in node.inputs if value is not None and value.is_initializer()]
    weights = [value for value, tensor in tensors if tensor is not None and tensor.dtype.is_floating_point()]
    inherits = len(weights) == len(node.outputs) == 1 and is_only_use(weights[0], node)
    return (weights[0].name if inherits else output.name) or ""


def _replace(graph: ir.Graph, node: ir.Node, output: ir.Value, tensor: ir.TensorProtocol, name: str) -> None:
    """Put an initializer in the place of `output`; remove `node` after its last, and the weight that leaves `name`."""
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    output.replace_all_uses_with(value)
    if not any(other.uses() or other.is_graph_output() for other in node.outputs):
        graph.remove(node, safe=True)
    if name in graph.initializers:
        del graph.initializers[name]
    graph.register_initializer(value)
