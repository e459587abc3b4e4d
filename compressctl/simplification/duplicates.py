"""Equal initializers become one, and nodes that compute the same from the same become one.

Weights and small constants are shared; vectors are not: equal biases of two layers (zeros, as a rule) are no duplicates
in any useful sense, and each keeps its layer's name.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant
from compressctl.model.ops import QDQ, RANDOM
from compressctl.notes import Note, done
from compressctl.simplification.edit import bypass
from compressctl.simplification.facts import Facts

_DISTINCT = RANDOM | QDQ | {"Dropout"}  # random, or wanted once for each consumer
_SMALL = 64  # elements
_SAMPLE = 64  # bytes
_FINGERPRINT = "compressctl.fingerprint"


def merge_duplicates(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    return [*_share_initializers(model.graph), *_merge_nodes(model.graph)]


def _share_initializers(graph: ir.Graph) -> list[Note]:
    notes = []
    alike: dict[Hashable, list[ir.Value]] = {}
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and not value.is_graph_input() and not value.is_graph_output() and _shareable(tensor):
            alike.setdefault((tensor.dtype, tuple(tensor.shape.numpy())), []).append(value)
    for group in alike.values():
        kept: dict[bytes, list[ir.Value]] = {}
        for value in group if len(group) > 1 else ():
            twins = kept.setdefault(_fingerprint(value), [])
            twin = next((twin for twin in twins if _equal(value, twin)), None)
            if twin is None:
                twins.append(value)
            else:
                value.replace_all_uses_with(twin)
                del graph.initializers[value.name or ""]
                notes.append(done("initializer that equals another shared", value.name))
    return notes


def _fingerprint(value: ir.Value) -> bytes:
    """Return the first and last bytes of the tensor: what differs there need not be compared as a whole."""
    tensor = value.const_value
    assert tensor is not None
    if _FINGERPRINT not in tensor.meta:  # a tensor may have to be read as a whole for it
        data = _bytes(value)
        tensor.meta[_FINGERPRINT] = data[:_SAMPLE].tobytes() + data[-_SAMPLE:].tobytes()
    fingerprint: bytes = tensor.meta[_FINGERPRINT]
    return fingerprint


def _equal(a: ir.Value, b: ir.Value) -> bool:
    return a.const_value is b.const_value or np.array_equal(_bytes(a), _bytes(b))


def _bytes(value: ir.Value) -> Array:
    array = constant(value)
    assert array is not None
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _shareable(tensor: ir.TensorProtocol) -> bool:
    if tensor.dtype.is_string() or tensor.dtype.bitwidth < 8:
        return False
    if tensor.size <= 1 or (tensor.dtype.is_integer() and tensor.size <= _SMALL):
        return True
    return len(tensor.shape.numpy()) >= 2


def _merge_nodes(graph: ir.Graph) -> list[Note]:
    notes = []
    seen: dict[Hashable, ir.Node] = {}
    for node in tuple(graph):
        key = _key(node)
        if key is None:
            continue
        first = seen.setdefault(key, node)
        if first is not node and _merge(graph, node, first):
            notes.append(done("node that repeats another merged with it", node.name))
    return notes


def _merge(graph: ir.Graph, node: ir.Node, first: ir.Node) -> bool:
    if len(node.outputs) == 1:
        return bypass(node, first.outputs[0])
    if any(output.is_graph_output() for output in node.outputs):
        return False
    for output, twin in zip(node.outputs, first.outputs, strict=True):
        output.replace_all_uses_with(twin)
    graph.remove(node, safe=True)
    return True


def _key(node: ir.Node) -> Hashable | None:
    """Return what decides the outputs of a node, or None where it must stay on its own."""
    if node.domain or node.op_type in _DISTINCT:
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        value = attribute.value
        if attribute.type == ir.AttributeType.TENSOR:
            if value.size > _SMALL or value.dtype.is_string():
                return None
            value = (value.dtype, tuple(value.shape), value.tobytes())
        elif attribute.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
            value = tuple(value)
        elif attribute.type not in (ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.STRING):
            return None  # bodies, types
        attributes.append((name, attribute.type, value))
    named = tuple(bool(output.name) for output in node.outputs)
    return node.op_type, tuple(node.inputs), tuple(attributes), named
