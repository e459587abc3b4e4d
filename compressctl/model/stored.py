"""Tensors that nodes make of constants alone: weights that are stored packed, and unpacked as the model is loaded.

The operators are those that `storage` builds with, and those that rearrange. DequantizeLinear is not among them: its
input is an integer weight, stored plainly or packed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.errors import ModelError
from compressctl.model.graph import all_nodes, bodies, constant, is_plain_constant, operand
from compressctl.model.ops import GEMM_FORMS, MATMUL_FORMS, OPERANDS, VIEWS
from compressctl.model.tensors import read_array

PACKED = "its weight is stored packed, which `compressctl store --format dense` undoes"
"""Why passes that edit weights leave a packed one alone."""
QUANTIZED = "its weight is quantized already"
REARRANGING = VIEWS | {"Identity"}
_PRODUCTS = GEMM_FORMS | MATMUL_FORMS | {"Einsum"}
_UNPACKING = ("Cast", "Expand", "Gather", "ScatterElements")


def making_nodes(graph: ir.Graph) -> dict[ir.Node, None]:
    """Return the nodes of `graph` that read nothing but constants, or what such nodes make of them, in its order."""
    found: dict[ir.Node, None] = {}
    for node in graph:
        if node.domain or node.op_type not in _OPERATORS or not node.inputs or _is_special(node):
            continue
        if all(value is None or value.producer() in found or is_plain_constant(value) for value in node.inputs):
            found[node] = None
    return found


def made_tensors(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield the tensors that nodes make of constants alone and that other nodes, or the user, read.

    The output of ConstantOfShape is left out: no element of it is stored.
    """
    making = making_nodes(graph)
    for node in making:
        output = node.outputs[0]
        if node.op_type == "ConstantOfShape":
            continue
        if output.is_graph_output() or any(user not in making for user in output.consumers()):
            yield output


def is_packed(value: ir.Value) -> bool:
    """Return whether a tensor that nodes make of constants alone is unpacked, rather than rearranged."""
    return any(node.op_type in _UNPACKING for node in _needed(value))


def is_stored_packed(value: ir.Value | None) -> bool:
    """Return whether nodes that read nothing but constants unpack `value`."""
    pending = [value] if value is not None and not is_plain_constant(value) else []
    found = bool(pending)
    while pending and found:
        node = pending.pop().producer()
        found = node is not None and not node.domain and node.op_type in _OPERATORS
        if node is not None:
            pending += [source for source in node.inputs if source is not None and not is_plain_constant(source)]
    return found and value is not None and is_packed(value)


def why_not_constant(weight: ir.Value | None) -> str:
    """Return why a weight that is no constant is left as it is."""
    producer = weight.producer() if weight is not None else None
    if producer is None:
        return "its weight is an input"
    if producer.op_type == "DequantizeLinear":
        return QUANTIZED
    return PACKED if is_stored_packed(weight) else f"its weight is made by {producer.op_type} as the model runs"


def computed(graph: ir.Graph) -> set[ir.Value]:
    """Return the values of `graph` and of bodies inside it that depend on what is fed, not on constants alone.

    What a node with bodies gives counts as such.
    """
    found: set[ir.Value] = set()
    for node in all_nodes(graph):
        given = [value for value in node.inputs if value is not None]
        found.update(value for value in given if value.producer() is None and not is_plain_constant(value))
        if any(value in found for value in given) or any(True for _ in bodies(node)):
            found.update(node.outputs)
    return found


def multiplies_activations(node: ir.Node, fed: set[ir.Value]) -> bool:
    """Return whether a node is a product without a factor that is made of constants: no weight, as in attention.

    Args:
        node: the node.
        fed: what is `computed` in its graph.
    """
    indices = OPERANDS[node.op_type].matrices if node.op_type in _PRODUCTS else ()
    factors = [operand(node, index) for index in indices]
    return bool(factors) and all(factor is None or factor in fed for factor in factors)


def evaluate(value: ir.Value) -> Array:
    """Return a tensor that nodes make of constants alone, bit for bit as onnxruntime makes it.

    Raises:
        ModelError: a node cannot be evaluated.
    """
    nodes = _needed(value)
    last = {source: node for node in nodes for source in node.inputs}
    held: dict[ir.Value, Array] = {}
    for node in nodes:
        arrays = [None if v is None else held[v] if v in held else _read(v) for v in node.inputs]
        try:
            held[node.outputs[0]] = _OPERATORS[node.op_type](node, *arrays)
        except (TypeError, ValueError, IndexError) as error:
            raise ModelError(f"node {node.name!r} ({node.op_type}) cannot be evaluated: {error}") from error
        for source in node.inputs:
            if source is not None and last[source] is node:
                held.pop(source, None)
    return held[value]


def _needed(value: ir.Value) -> list[ir.Node]:
    """Return the nodes that make `value`, those that others read first."""
    order: dict[ir.Node, None] = {}
    pending = [value.producer()]
    while pending:
        node = pending[-1]
        assert node is not None
        before = [source.producer() for source in node.inputs if source is not None]
        missing = [
            other for other in before if other is not None and other not in order and other.op_type != "Constant"
        ]
        if missing:
            pending.extend(missing)
            continue
        order[node] = None
        while pending and pending[-1] in order:
            pending.pop()
    return list(order)


def _is_special(node: ir.Node) -> bool:
    return any(node.attributes.get_int(name, 0) for name in ("exclusive", "reverse")) or (
        node.attributes.get_string("reduction", "none") != "none"
    )


def _read(value: ir.Value) -> Array:
    if value.is_initializer() and value.const_value is not None:
        return read_array(value.const_value)
    array = constant(value)
    assert array is not None
    return array


def _cast(node: ir.Node, x: Array) -> Array:
    return x.astype(ir.DataType(node.attributes["to"].as_int()).numpy())


def _gather(node: ir.Node, data: Array, indices: Array) -> Array:
    taken: Array = np.take(data, indices, axis=node.attributes.get_int("axis", 0))
    return taken


def _reshape(node: ir.Node, data: Array, shape: Array) -> Array:
    kept = not node.attributes.get_int("allowzero", 0)
    return data.reshape([data.shape[i] if kept and not size else int(size) for i, size in enumerate(shape)])


def _slice(node: ir.Node, data: Array, starts: Array, ends: Array, *rest: Array | None) -> Array:
    axes, steps = (*rest, None, None)[:2]
    places: list[slice] = [slice(None)] * data.ndim
    for index, axis in enumerate(range(len(starts)) if axes is None else axes):
        step = 1 if steps is None else int(steps[index])
        end: int | None = int(ends[index])
        if step < 0 and end is not None and end < -data.shape[axis]:
            end = None
        places[axis] = slice(int(starts[index]), end, step)
    return data[tuple(places)]


def _scatter(node: ir.Node, data: Array, indices: Array, updates: Array) -> Array:
    result = data.copy()
    np.put_along_axis(result, indices.astype(np.int64), updates, node.attributes.get_int("axis", 0))
    return result


def _filled(node: ir.Node, shape: Array) -> Array:
    fill = node.attributes.get("value")
    value = np.zeros(1, np.float32) if fill is None else fill.as_tensor().numpy()
    return np.full(shape, value.reshape(()), value.dtype)


def _squeeze(node: ir.Node, data: Array, axes: Array | None = None) -> Array:
    return np.squeeze(data, None if axes is None else tuple(map(int, axes)))


_OPERATORS: dict[str, Callable[..., Array]] = {
    "Add": lambda node, a, b: a + b,
    "Cast": _cast,
    "Concat": lambda node, *parts: np.concatenate(parts, node.attributes["axis"].as_int()),
    "ConstantOfShape": _filled,
    "CumSum": lambda node, x, axis: np.cumsum(x, int(axis), dtype=x.dtype),
    "Expand": lambda node, x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(map(int, shape)))),
    "Gather": _gather,
    "Identity": lambda node, x: x,
    "Mul": lambda node, a, b: a * b,
    "Reshape": _reshape,
    "ScatterElements": _scatter,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": lambda node, a, b: a - b,
    "Transpose": lambda node, x: np.transpose(x, node.attributes.get_ints("perm")),
    "Unsqueeze": lambda node, x, axes: np.expand_dims(x, tuple(map(int, axes))),
}
