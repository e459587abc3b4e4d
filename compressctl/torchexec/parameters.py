"""Which constants of a graph are weights that train.

An ONNX graph does not tell a weight from a constant of a formula, so what counts is where it is used: as an operand
that its operator's specification calls a weight, scale, bias or table, directly or behind nodes that only rearrange it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import operand
from compressctl.model.tensors import FLOATS

_REARRANGE = ops.VIEWS | {"Identity", "Cast", "Slice", "Expand", "Split"}
_MASK = 1e4  # an added constant of this size switches positions off, it is no bias


def trainable(graph: ir.Graph) -> dict[str, ir.Value]:
    """Return the constants of the main graph that train, by name: initializers, and outputs of Constant nodes."""
    constants = [value for value in graph.initializers.values() if value.const_value is not None]
    constants += [node.outputs[0] for node in graph if node.op_type == "Constant" and node.domain == ""]
    return {value.name or "": value for value in constants if _is_float(value) and _trains(value)}


def running_statistics(graph: ir.Graph) -> dict[str, ir.Value]:
    """Return the initializers that hold a BatchNormalization's running mean or variance, by name."""
    nodes = (node for node in graph if node.domain == "")
    values = (operand(node, index) for node in nodes for index in ops.operands(node.op_type).statistics)
    return {value.name or "": value for value in values if value is not None and value.is_initializer()}


def tensor_of(value: ir.Value) -> ir.TensorProtocol:
    """Return the tensor of an initializer or of a Constant node's output."""
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None, f"{value.name} is no constant"
    return tensor


def _is_float(value: ir.Value) -> bool:
    tensor = ir.convenience.get_const_tensor(value)
    return tensor is not None and tensor.dtype in FLOATS and tensor.size > 0


def _trains(constant: ir.Value) -> bool:
    return any(_is_weight(constant, node, index) for node, index in _uses(constant))


def _uses(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Yield where a constant arrives, directly or behind nodes that only rearrange it: node and operand."""
    for use in value.uses():
        yield use.node, use.idx
        if use.node.domain == "" and (
            use.node.op_type == "Concat" or (use.node.op_type in _REARRANGE and use.idx == 0)
        ):
            for output in use.node.outputs:
                yield from _uses(output)


def _is_weight(constant: ir.Value, node: ir.Node, index: int) -> bool:
    if node.domain != "":
        return False
    if node.op_type in ("MatMul", "Gemm") and index == 0 and not tensor_of(constant).numpy().any():
        return False  # an initial state
    if node.op_type in ops.OPERANDS:
        return index in ops.OPERANDS[node.op_type].parameters or (node.op_type == "Gemm" and index == 0)
    if node.op_type == "QuantizeLinear":
        return _is_pair(node) and index < 2
    if node.op_type == "DequantizeLinear":
        return index == 1 and _signs_before(node)
    if node.op_type == "GreaterOrEqual":  # the reals whose signs are 1-bit weights
        return index == 0 and any(use.node.op_type == "Where" for use in node.outputs[0].uses())
    tensor = tensor_of(constant)
    if node.op_type == "Concat":  # tokens put before a sequence; vectors are shapes and scales of a Resize
        return len(tensor.shape) > 1
    if node.op_type == "Add":
        return _is_bias(node, tensor, index)
    if node.op_type == "Mul":  # a scale for each channel; tables of cosines and the like have more dimensions
        return tensor.size > 1 and sum(size > 1 for size in tensor.shape.numpy()) == 1 and not _meets_input(node, index)
    return False


def _is_bias(node: ir.Node, tensor: ir.TensorProtocol, index: int) -> bool:
    other = node.inputs[1 - index]
    producer = other.producer() if other is not None else None
    after_product = producer is not None and producer.op_type in ops.CONVOLUTIONS | {"MatMul", "Einsum"}
    if (tensor.size == 1 and not after_product) or _meets_input(node, index):
        return False
    return bool(np.abs(tensor.numpy().astype(np.float64)).max() < _MASK)


def _meets_input(node: ir.Node, index: int) -> bool:
    """Whether the other operand is a graph input: then the constant normalises data."""
    other = node.inputs[1 - index]
    while other is not None and (producer := other.producer()) is not None and producer.op_type in _REARRANGE:
        other = producer.inputs[0]
    return other is not None and other.is_graph_input()


def _is_pair(node: ir.Node) -> bool:
    """Whether a QuantizeLinear's integers go to DequantizeLinear: a simulation of quantization."""
    readers = [use.node for use in node.outputs[0].uses()]
    readers = [
        use.node for reader in readers if reader.op_type == "Clip" for use in reader.outputs[0].uses()
    ] or readers
    return bool(readers) and all(reader.op_type == "DequantizeLinear" for reader in readers)


def _signs_before(node: ir.Node) -> bool:
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    return producer is not None and producer.op_type == "Where"
