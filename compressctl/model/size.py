"""How large a model is: bytes, parameters, non-zeros, multiply-accumulates, in all and by layer.

A *parameter* is one element of a stored tensor (initializer, or value of a Constant node) that is a weight: floats with
at least one axis, integers of up to 8 bits, and int32 that a quantized operator reads (a bias). Scales, zero points,
scalars, shapes and indices are stored but are no parameters. A tensor that several nodes share counts once.

A weight that is stored packed counts with the elements of the unpacked tensor and the bytes of the stored ones.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compressctl.model import ops, protos, read
from compressctl.model.coo import stored_bytes
from compressctl.model.external import external_files
from compressctl.model.graph import constant, walk_subgraphs
from compressctl.model.macs import macs
from compressctl.model.packed_rows import looked_up_elements
from compressctl.model.qops import is_blockwise, is_quantized, quantized_inputs
from compressctl.model.shapes import concrete_shapes
from compressctl.model.stored import evaluate, made_tensors, making_nodes
from compressctl.model.tensors import chunks
from compressctl.numerics.qparams import along
from compressctl.tensorspec import Dim

_Stored = tuple[ir.Value, ir.TensorProtocol | None]  # a tensor that is stored; None for one that is made of constants

# A weight's row is that of the first node behind these, which only bring it into another form.
_FORMS = ops.FORMS | {"QuantizeLinear"}


@dataclass(frozen=True)
class LayerSize:
    """One node of the main graph; what bodies inside it hold counts as its own.

    Attributes:
        node: its name.
        op: its operator.
        shape: of its first output, with symbolic names where the model has them, else at the sizes counted with.
        parameters: elements of the weights it is the first to use.
        nonzeros: how many of them stand for a value other than zero.
        bytes: of all stored tensors it is the first to use.
        macs: of one run, None where they cannot be told.
    """

    node: str
    op: str
    shape: tuple[Dim, ...]
    parameters: int
    nonzeros: int
    bytes: int
    macs: int | None


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a whole model.

    Attributes:
        parameters: see the module's text.
        nonzeros: parameters that stand for a value other than zero; packed blocks and packed embeddings are not looked
            into, and count fully.
        macs: of one run at `dims`; a lower bound where `uncounted` names nodes.
        by_layer: one row a node, in graph order.
        dims: the sizes that were given to the inputs' dynamic dimensions, by name; those without a name are called
            `input[axis]`.
        uncounted: nodes whose multiply-accumulates cannot be told.
    """

    parameters: int
    nonzeros: int
    macs: int
    by_layer: tuple[LayerSize, ...]
    dims: tuple[tuple[str, int], ...] = ()
    uncounted: tuple[str, ...] = ()


def file_bytes(path: Path) -> int:
    """Return the size of a model file, with its external data where it is ONNX.

    Raises:
        ModelError: the file or its external data cannot be read.
    """
    read.require_file(path)
    if read.is_torchscript(path):
        return path.stat().st_size
    data = external_files(protos.tensors(read.read_proto(path)), path)
    return sum(file.stat().st_size for file in (path, *data))


def count(model: ir.Model, dims: Mapping[str, int] | None = None) -> ModelSize:
    """Count parameters, non-zeros and multiply-accumulates; tensors are read piece by piece.

    Args:
        model: not changed.
        dims: sizes of symbolic input dimensions by name; those left out, and unnamed ones, are taken as 1.
    """
    shapes, used = concrete_shapes(model, dims or {})
    making = making_nodes(model.graph)
    stored = _stored_by_node(model, making)
    rows = []
    for node in model.graph:
        sizes = np.array([_size(*one, making) for one in stored.get(node, ())], np.int64).reshape(-1, 3)
        output = node.outputs[0]
        shape = shapes.get(output.name or "", ()) if output.shape is None else _symbolic(output.shape)
        work = macs(node, lambda value: None if value is None else shapes.get(value.name or ""))
        parameters, nonzeros, held = map(int, sizes.sum(axis=0))
        rows.append(LayerSize(node.name or "", node.op_type, shape, parameters, nonzeros, held, work))
    unused = [_size(*one, making) for one in stored.get(None, ())]
    return ModelSize(
        parameters=sum(row.parameters for row in rows) + sum(size[0] for size in unused),
        nonzeros=sum(row.nonzeros for row in rows) + sum(size[1] for size in unused),
        macs=sum(row.macs or 0 for row in rows),
        by_layer=tuple(rows),
        dims=tuple(sorted(used.items())),
        uncounted=tuple(row.node for row in rows if row.macs is None),
    )


def _symbolic(shape: ir.Shape) -> tuple[Dim, ...]:
    return tuple(dim if isinstance(dim, int) else dim.value for dim in shape)


def _stored_by_node(model: ir.Model, making: Container[ir.Node]) -> dict[ir.Node | None, list[_Stored]]:
    """Assign what is stored, or made of it, to the main graph's node that uses it first, None where nobody does."""
    holders = {inner: node for node, _, body in walk_subgraphs(model.graph) for inner in body}
    stored: dict[ir.Node | None, list[_Stored]] = {}
    for value, tensor in _stored(model):
        user: ir.Node | None = None
        current = value
        while consumers := current.consumers():
            user = consumers[0]
            if user not in making and (user.op_type not in _FORMS or user.inputs[0] is not current):
                break
            current = user.outputs[0]
        while user in holders:
            user = holders[user]
        stored.setdefault(user, []).append((value, tensor))
    return stored


def _stored(model: ir.Model) -> Iterator[_Stored]:
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value, value.const_value
    for node in model.graph.all_nodes():
        if node.op_type == "Constant" and not node.domain and (tensor := node.attributes.get_tensor("value")):
            yield node.outputs[0], tensor
    yield from ((value, None) for value in made_tensors(model.graph))


def _size(value: ir.Value, tensor: ir.TensorProtocol | None, making: Container[ir.Node]) -> tuple[int, int, int]:
    """Return (parameters, non-zeros, bytes) of a stored tensor, or of one that is made."""
    if tensor is None:
        return *_elements(value, ir.tensor(evaluate(value))), 0
    users = value.consumers()
    if users and all(user in making for user in users):
        return 0, 0, stored_bytes(tensor)
    if (looked_up := looked_up_elements(value)) is not None:
        return looked_up, looked_up, stored_bytes(tensor)
    return *_elements(value, tensor), stored_bytes(tensor)


def _elements(value: ir.Value, tensor: ir.TensorProtocol) -> tuple[int, int]:
    """Return (parameters, non-zeros) of a tensor."""
    parameters = nonzeros = 0
    if _is_weight(value, tensor):
        parameters = nonzeros = tensor.size
        packed = next((user for user in value.consumers() if is_blockwise(user)), None)
        if packed is None:
            nonzeros = _nonzeros(value, tensor)
        elif packed.op_type == "MatMulNBits":
            parameters = nonzeros = packed.attributes["N"].as_int() * packed.attributes["K"].as_int()
        elif tensor.dtype.bitwidth == 8:
            parameters = nonzeros = tensor.size * 8 // (packed.attributes.get_int("bits", 4))
    return parameters, nonzeros


def _is_weight(value: ir.Value, tensor: ir.TensorProtocol) -> bool:
    users = value.consumers()
    if any(value in (scale, zero) for user in users for _, scale, zero in quantized_inputs(user)):
        return False
    if tensor.dtype == ir.DataType.INT32:
        return any(is_quantized(user) for user in users)
    if tensor.dtype in (ir.DataType.BOOL, ir.DataType.STRING):
        return False
    if tensor.dtype.is_floating_point():
        return len(tensor.shape) > 0
    return tensor.dtype.bitwidth <= 8


def _nonzeros(value: ir.Value, tensor: ir.TensorProtocol) -> int:
    """Count elements that differ from the value that stands for zero: the zero point, of quantized tensors."""
    zero, axis = _zero_point(value)
    if zero is None or (zero == zero.flat[0]).all():
        null = 0 if zero is None else int(zero.flat[0])
        return sum(int(np.count_nonzero(chunk != chunk.dtype.type(null))) for chunk in chunks(tensor))
    data = tensor.numpy()
    if zero.ndim == 1:
        zero = along(zero, axis, data.ndim)
    else:  # block quantization: each zero point serves a block of elements along the axis
        zero = zero.repeat(-(-data.shape[axis] // zero.shape[axis]), axis=axis).take(range(data.shape[axis]), axis=axis)
    return int(np.count_nonzero(data != zero))


def _zero_point(value: ir.Value) -> tuple[np.ndarray | None, int]:
    """Return the constant zero point of a quantized weight, and the axis that it goes along."""
    for user in value.consumers():
        for tensor, _, zero in quantized_inputs(user):
            if tensor is value and (array := constant(zero)) is not None and array.size:
                last = 0 if user.op_type in ops.CONV_FORMS else -1
                return array, user.attributes.get_int("axis", 1) if user.op_type == "DequantizeLinear" else last
    return None, 0
