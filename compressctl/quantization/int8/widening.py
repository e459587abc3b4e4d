"""Half precision on the way to integers: the kernels take float32, so layers that may get them are fed so.

onnxruntime's CPU kernels compute most operators of float16 in float32 as well, with Casts that it puts around each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import all_nodes, holder_of, initializer, insert_after, insert_before
from compressctl.model.stored import computed, multiplies_activations
from compressctl.model.tensors import read_array
from compressctl.quantization.int8.activations import FOLDED
from compressctl.quantization.int8.embedding import is_embedding
from compressctl.quantization.int8.placement import CARRIERS, JOINS
from compressctl.quantization.int8.weights import tensor_of
from compressctl.storage.decoder import Decoder
from compressctl.storage.floats import emit_cast

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_LEAST = 256  # elements; fewer save less than a Cast takes
Widened = Mapping[ir.TensorProtocol, ir.TensorProtocol]
"""Constants in float32, each with what it was in half precision."""


def widen(model: ir.Model, allowed: Callable[[ir.Node], bool]) -> Widened:
    """Let layers of half precision, and what carries their results on, compute in float32, in place.

    Casts stand where values go from one type to the other; names stay with the values that layers make.

    Args:
        model: its types are known.
        allowed: which layers may be touched.
    """
    graph = model.graph
    chosen: set[ir.Node] = set()
    fed = computed(graph)
    for node in all_nodes(graph):
        carries = node.op_type in CARRIERS | JOINS | FOLDED and any(one in chosen for one in node.predecessors())
        if (
            not node.domain
            and ((_is_layer(node, fed) and allowed(node)) or carries)
            and any(map(_is_half, node.inputs))
        ):
            chosen.add(node)
    constants: dict[ir.Value, ir.Value] = {}
    casts: dict[tuple[ir.Graph, ir.Value], ir.Value] = {}
    tensors: dict[ir.TensorProtocol, ir.TensorProtocol] = {}
    for node in [node for node in all_nodes(graph) if node in chosen]:
        for index, value in enumerate(node.inputs):
            if value is None or not _is_half(value):
                continue
            if (old := tensor_of(value)) is not None:
                if value not in constants:
                    constants[value] = initializer(graph, f"{value.name}_float", read_array(old).astype(np.float32))
                    new = constants[value].const_value
                    assert new is not None
                    tensors[new] = old
                node.replace_input_with(index, constants[value])
                continue
            place = holder_of(node), value
            if place not in casts:
                cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value}, name=f"{value.name}_to_float")
                cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), value.shape
                insert_before(graph, node, [cast])
                casts[place] = cast.outputs[0]
            node.replace_input_with(index, casts[place])
        for output in node.outputs:
            if _is_half(output):
                _widen_output(graph, node, output, chosen)
    return tensors


def narrow(model: ir.Model, widened: Widened) -> None:
    """Store what is still as `widen` made it in half precision, in place; onnxruntime folds the Cast at load."""
    for value in list(model.graph.initializers.values()):
        old = widened.get(value.const_value) if value.const_value is not None else None
        if old is not None and old.size >= _LEAST:
            decoder = Decoder(model.graph, value.name or "")
            decoder.replace(value, emit_cast(decoder, read_array(old), ir.DataType.FLOAT))


def _widen_output(graph: ir.Graph, node: ir.Node, output: ir.Value, chosen: set[ir.Node]) -> None:
    half, is_output = output.dtype, output.is_graph_output()
    assert half is not None
    others = [use for use in output.uses() if use.node not in chosen]
    output.type = ir.TensorType(ir.DataType.FLOAT)
    if not others and not is_output:
        return
    cast = ir.node("Cast", [output], {"to": half.value}, name=f"{output.name}_to_half")
    back = cast.outputs[0]
    back.type, back.shape = ir.TensorType(half), output.shape
    insert_after(graph, node, [cast])
    for user, index in others:
        user.replace_input_with(index, back)
    if is_output:
        holder = holder_of(node)
        name, output.name = output.name, back.name
        back.name = name
        holder.outputs[holder.outputs.index(output)] = back


def _is_layer(node: ir.Node, fed: set[ir.Value]) -> bool:
    layer = node.op_type in ops.LINEAR | ops.RECURRENT and not multiplies_activations(node, fed)
    return layer or is_embedding(node)


def _is_half(value: ir.Value | None) -> bool:
    return value is not None and value.dtype in _HALVES
