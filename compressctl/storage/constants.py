"""Which constants of a graph can be stored in another form."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import walk_subgraphs
from compressctl.model.stored import REARRANGING, making_nodes
from compressctl.model.tensors import read_array, stored_tensors
from compressctl.notes import Note, skipped

_TYPES = ("float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64")


def storable(graph: ir.Graph, least: int) -> tuple[list[ir.Value], list[Note]]:
    """Return the constants of at least `least` bytes that can be stored in another form, and notes on the others.

    The largest come first, so that they pay for what all share.
    """
    making = making_nodes(graph)
    found: list[tuple[int, ir.Value]] = []
    notes, packed = [], 0
    for value, tensor in _constants(graph):
        if tensor.nbytes < least or value.is_graph_input():
            continue
        if _is_part(value, making):
            packed += 1
        elif reason := _obstacle(value, tensor):
            notes.append(skipped(f"stored as it is: {reason}", value.name))
        else:
            found.append((tensor.nbytes, value))
    if packed:
        notes.append(
            skipped(f"{packed} constants are parts of packed ones: `store --format dense` unpacks those first")
        )
    for node, _, body in walk_subgraphs(graph):
        if any(tensor.nbytes >= least for _, tensor in stored_tensors(body)):
            notes.append(skipped("the constants in its body are stored as they are", node.name))
    return [value for _, value in sorted(found, key=lambda one: (-one[0], one[1].name))], list(dict.fromkeys(notes))


def array_of(value: ir.Value) -> Array:
    """Return what an initializer or the output of a Constant node holds: contiguous, not to be written into."""
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    return np.ascontiguousarray(read_array(tensor)).reshape(tensor.shape.numpy())


def readers(value: ir.Value) -> list[str]:
    """Return the names of the nodes that read a constant, those behind nodes that rearrange it included."""
    names = []
    for user in value.consumers():
        names.append(user.name or "")
        if user.op_type in REARRANGING:
            names += readers(user.outputs[0])
    return names


def _constants(graph: ir.Graph) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value, value.const_value
    for node in graph:
        if (
            node.op_type == "Constant"
            and not node.domain
            and (tensor := node.attributes.get_tensor("value")) is not None
        ):
            yield node.outputs[0], tensor


def _is_part(value: ir.Value, making: Collection[ir.Node]) -> bool:
    """Return whether nodes unpack other tensors by this one."""
    return any(user in making and user.op_type not in REARRANGING for user in value.consumers())


def _obstacle(value: ir.Value, tensor: ir.TensorProtocol) -> str | None:
    if value.is_graph_output():
        return "it is an output of the model"
    if not value.uses():
        return "no node reads it"
    if tensor.dtype.is_string() or tensor.dtype.bitwidth < 8 or tensor.dtype.numpy().name not in _TYPES:
        return f"its elements are of type {tensor.dtype.name.lower()}"
    return None
