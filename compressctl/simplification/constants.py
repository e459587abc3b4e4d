"""Constant nodes become initializers; nodes that only read constants are evaluated once, by onnxruntime.

Left alone: what is random, what decompresses (DequantizeLinear; Cast to a wider type, ConstantOfShape, Expand and
ScatterElements of more than 16 elements), and whatever would make the file grow by more than a kilobyte, so that
weights that are stored small stay small.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

import onnx
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.errors import CompressctlError
from compressctl.measure.session import Session
from compressctl.model.graph import all_nodes, bodies, constant, holder_of, insert_before, is_only_use
from compressctl.model.lifting import lift
from compressctl.model.ops import RANDOM
from compressctl.notes import Note, done, skipped
from compressctl.simplification.facts import Facts

_GROWTH = 1024  # bytes
_STAYING = RANDOM | {"DequantizeLinear", "Dropout"}
_NEVER = _STAYING | {"Identity"}
_DECOMPRESSING = ("ConstantOfShape", "Expand", "ScatterElements")
_DECOMPRESSED_ELEMENTS = 16


def fold_constants(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`; what bodies compute from constants alone moves to it first."""
    return [*_hoist(model.graph), *_lift(model.graph), *_fold(model, facts)]


def _hoist(graph: ir.Graph) -> list[Note]:
    notes = []
    hoisted: set[ir.Node | None] = set()
    for owner in tuple(graph):
        for node in [inner for body in bodies(owner) for inner in all_nodes(body)]:
            if not _is_hoistable(node, graph, hoisted):
                continue
            for value in dict.fromkeys(node.inputs):
                if value is not None and value.graph is not graph:
                    lift(graph, value)
            holder_of(node).remove(node)
            insert_before(graph, owner, [node])
            hoisted.add(node)
            notes.append(done("node of a body with constant inputs moved out of it", node.name))
    return notes


def _is_hoistable(node: ir.Node, graph: ir.Graph, hoisted: Container[ir.Node | None]) -> bool:
    """Whether a node of a body reads nothing but constants, and what was made of such before."""
    if node.domain or node.op_type in _STAYING or not node.inputs or any(True for _ in bodies(node)):
        return False
    if any(output.is_graph_output() for output in node.outputs):
        return False
    given = [value for value in node.inputs if value is not None]
    return all(
        value.producer() in hoisted if value.producer() is not None and value.graph is graph else _is_liftable(value)
        for value in given
    )


def _is_liftable(value: ir.Value) -> bool:
    fed = value.is_graph_input() or value.is_graph_output()
    return not fed and ir.convenience.get_const_tensor(value) is not None


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
    together = _small_together(graph, facts)
    sizes: dict[ir.Value, int] = {}  # bytes of what the wave computes
    wave: dict[ir.Node, None] = {}
    for node in graph:
        outputs = _computed(node, facts, sizes)
        if outputs is not None and (node in together or sum(outputs.values()) <= _freed(node, sizes) + _GROWTH):
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


def _small_together(graph: ir.Graph, facts: Facts) -> set[ir.Node]:
    """Return nodes that, evaluated together, take no more bytes than what they read, such as a weight's parts in a row.

    Nodes belong together where they share what is large.
    """
    sizes: dict[ir.Value, int] = {}
    above: dict[ir.Node | ir.Value, ir.Node | ir.Value] = {}  # a forest: those of a tree belong together
    nodes: list[ir.Node] = []
    for node in graph:
        outputs = _computed(node, facts, sizes)
        if outputs is None:
            continue
        nodes.append(node)
        sizes.update(outputs)
        for value in (*node.inputs, *outputs):
            if value is not None and (sizes.get(value) or _bytes(value)) > _GROWTH:
                above[_root(value, above)] = _root(node, above)
    groups: dict[ir.Node | ir.Value, set[ir.Node]] = {}
    for node in nodes:
        groups.setdefault(_root(node, above), set()).add(node)
    found: set[ir.Node] = set()
    for group in groups.values():
        values = dict.fromkeys(value for node in group for value in node.inputs if value is not None)
        freed = sum(_bytes(value) for value in values if not _is_read_beyond(value, group))
        made = [output for node in group for output in node.outputs if _is_read_beyond(output, group)]
        if sum(sizes[output] for output in made) <= freed + _GROWTH:
            found |= group
    return found


def _root(one: ir.Node | ir.Value, above: dict[ir.Node | ir.Value, ir.Node | ir.Value]) -> ir.Node | ir.Value:
    while above.setdefault(one, one) is not one:
        above[one] = above[above[one]]
        one = above[one]
    return one


def _is_read_beyond(value: ir.Value, nodes: Container[ir.Node]) -> bool:
    return value.is_graph_output() or any(user not in nodes for user in value.consumers())


def _bytes(value: ir.Value) -> int:
    return value.const_value.nbytes if value.is_initializer() and value.const_value is not None else 0


def _freed(node: ir.Node, wave: Mapping[ir.Value, int]) -> int:
    """Return the bytes of what a node alone reads."""
    read = dict.fromkeys(value for value in node.inputs if value is not None)
    return sum(wave.get(value) or _bytes(value) for value in read if is_only_use(value, node))


def _computed(node: ir.Node, facts: Facts, wave: Mapping[ir.Value, int]) -> dict[ir.Value, int] | None:
    """Return the outputs of a node that can be evaluated now, with their bytes, else None."""
    if node.domain or node.op_type in _NEVER or not node.inputs or any(True for _ in bodies(node)):
        return None
    for value in node.inputs:
        if value is None:
            continue
        constant = value.is_initializer() and not value.is_graph_input() and value.const_value is not None
        if value not in wave and not (constant and _is_plain(value, facts)):
            return None
    outputs = {}
    for output in node.outputs:
        if not output.name:
            continue
        shape, dtype = facts.static_shape(output), facts.dtype(output)
        if output.is_graph_output() or shape is None or dtype is None or not _is_plain(output, facts):
            return None
        outputs[output] = math.prod(shape) * dtype.bitwidth // 8
    return None if _decompresses(node, facts) else outputs


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
