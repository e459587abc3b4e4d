"""Weights that a file keeps in half precision behind a Cast to float32, while they are looked at and edited.

Exporters write float32 graphs so ("fp16 storage"), and so does scheme fp16. onnxruntime folds the Cast at load, so such
a weight is float32 to whatever computes: passes get it so, and what they leave goes back to the form it came in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import all_nodes, all_values, holder_of, initializer, is_plain_constant, remove_dead
from compressctl.model.ops import QDQ
from compressctl.model.stored import REARRANGING, making_nodes
from compressctl.model.tensor_file import TensorFiles
from compressctl.model.tensors import read_array
from compressctl.notes import Note, skipped
from compressctl.storage.decoder import Decoder
from compressctl.storage.floats import emit_cast

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_LEAST = 256  # elements of a new constant; fewer save less than a Cast takes


@dataclass(frozen=True)
class Halves:
    """What was in half precision, by the names that the float32 constants bear.

    Attributes:
        tensors: the stored tensors.
        names: of all constants that there were.
    """

    tensors: Mapping[str, ir.TensorProtocol] = field(default_factory=dict)
    names: frozenset[str] = frozenset()


def open_halves(model: ir.Model, files: TensorFiles | None = None) -> Halves:
    """Let float32 constants take the place of those that a Cast makes of half precision, in place.

    Args:
        model: edited; one that is read in half precision, too, stays as it is.
        files: keeps large ones on disk.
    """
    graph, tensors = model.graph, {}
    unpacking = {node for node in making_nodes(graph) if node.op_type not in REARRANGING}
    casts = [(node, tensor) for node in all_nodes(graph) if (tensor := _stored(node, unpacking)) is not None]
    bearers = Counter(value.name for value in all_values(graph)) if casts else Counter[str | None]()
    taken, opened = set(bearers), dict[ir.Value | None, ir.Value]()
    for node, tensor in casts:
        output = node.outputs[0]
        name, output.name = output.name or "", None
        bearers[name] -= 1
        if not bearers[name]:  # the other branch of an If may use the same one
            taken.discard(name)
        plain = opened.get(node.inputs[0])
        if plain is None:
            plain = initializer(graph, name, read_array(tensor).astype(np.float32), taken)
            if files is not None:
                files.keep(plain)
            opened[node.inputs[0]] = plain
            tensors[plain.name or ""] = tensor
        output.replace_all_uses_with(plain)
        holder_of(node).remove(node, safe=True)
    if tensors:
        remove_dead(model)
    return Halves(tensors, frozenset(graph.initializers))


def close_halves(model: ir.Model, halves: Halves, *, new: bool = False, files: TensorFiles | None = None) -> list[Note]:
    """Put constants that are float32 still in half precision again, in place; return notes on those that do not fit.

    Args:
        model: edited.
        halves: what was opened, of it or of what it was made from.
        new: whether constants that came in between are stored so, too: they are parts of weights.
        files: keeps large ones on disk.
    """
    notes: list[Note] = []
    usual = next((tensor.dtype for tensor in halves.tensors.values()), None)
    for name, value in list(model.graph.initializers.items()):
        old, tensor = halves.tensors.get(name), value.const_value
        added = new and usual is not None and name not in halves.names and tensor is not None and tensor.size >= _LEAST
        if (old is None and not added) or not _is_float(value):
            continue
        assert tensor is not None and usual is not None
        dtype = usual if old is None else old.dtype
        array = read_array(tensor)
        with np.errstate(over="ignore", under="ignore"):
            stored = array.astype(dtype.numpy())
        if np.any(np.isinf(stored.astype(np.float32)) & ~np.isinf(array)):
            notes.append(skipped(f"stays float32: it holds values beyond what {dtype.name.lower()} does", name))
            continue
        decoder = Decoder(model.graph, name, files)
        decoder.replace(value, emit_cast(decoder, stored, ir.DataType.FLOAT))
    return notes


def fits(model: ir.Model, halves: Halves) -> bool:
    """Return whether half precision holds, bit for bit, all constants of `model` that are opened or came since."""
    types = {tensor.dtype.numpy() for tensor in halves.tensors.values()}
    for name, value in model.graph.initializers.items():
        large = value.const_value is not None and value.const_value.size >= _LEAST
        if not (name in halves.tensors or (name not in halves.names and large)) or not _is_float(value):
            continue
        assert value.const_value is not None
        array = read_array(value.const_value)
        own = {halves.tensors[name].dtype.numpy()} if name in halves.tensors else types
        with np.errstate(over="ignore", under="ignore"):
            if not all(np.array_equal(array.astype(one).astype(np.float32), array, equal_nan=True) for one in own):
                return False
    return True


def _stored(node: ir.Node, unpacking: Collection[ir.Node]) -> ir.TensorProtocol | None:
    """Return the constant in half precision that a node makes float32 of, if it does just that.

    One that something else reads, too, stays in the file whatever becomes of the float32 values: it is none.
    """
    value = node.inputs[0] if _widens(node, unpacking) else None
    if value is None or not is_plain_constant(value) or value.is_graph_output():
        return None
    if not all(_widens(reader, unpacking) for reader, _ in value.uses()):
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return tensor if tensor is not None and tensor.dtype in _HALVES and tensor.size else None


def _widens(node: ir.Node, unpacking: Collection[ir.Node]) -> bool:
    """Whether a node makes float32, but neither an output of the model nor scales or tables of packed weights."""
    if node.op_type != "Cast" or node.domain or node.attributes["to"].as_int() != ir.DataType.FLOAT:
        return False
    packed = any(user in unpacking or user.op_type in QDQ for user in node.outputs[0].consumers())
    return not packed and not node.outputs[0].is_graph_output()


def _is_float(value: ir.Value) -> bool:
    fed = value.is_graph_input() or value.is_graph_output()
    return not fed and value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT
