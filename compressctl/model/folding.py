"""Evaluating shape arithmetic, which onnx's shape inference does not follow through every operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compressctl.arrays import Array
from compressctl.model import ops
from compressctl.model.reasons import MALFORMED

_ELEMENTS = 1024  # what describes a shape is smaller
_FOLDED = (
    ops.UNARY
    | ops.BROADCAST
    | ops.REDUCTIONS
    | ops.VIEWS
    | {"Concat", "ConstantOfShape", "Expand", "Gather", "Range", "Slice"}
)


def fold_shape_arithmetic(proto: onnx.ModelProto, types: Mapping[str, onnx.TypeProto]) -> bool:
    """Replace small constant sub-expressions of the main graph by initializers, in place; return whether any were.

    Args:
        proto: a weightless model.
        types: of its values, as far as known: the Shape of a value whose type says it all is constant.
    """
    graph = proto.graph
    known = _Known(graph)
    outputs = {info.name for info in graph.output}
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    folded: list[int] = []
    made: list[str] = []
    for index, node in enumerate(graph.node):
        if node.domain or node.output[0] in outputs or not (value := _evaluate(node, known, types, opsets)):
            continue
        known[node.output[0]] = value[0]
        graph.initializer.append(numpy_helper.from_array(value[0], node.output[0]))
        folded.append(index)
        made.append(node.output[0])
    for index in reversed(folded):
        del graph.node[index]
    stated = {info.name: info for info in graph.value_info}  # inference would believe these, unknown sizes included
    for name in (name for name in made if name in stated):
        kind = stated[name].type.tensor_type
        stated[name].type.CopyFrom(helper.make_tensor_type_proto(kind.elem_type, known[name].shape))
    return bool(folded)


class _Known(dict[str, Array]):
    """What is known of values, by name; constants are read when they are asked for."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants: dict[str, onnx.TensorProto | onnx.AttributeProto] = {
            tensor.name: tensor for tensor in graph.initializer
        }
        self._constants |= {
            node.output[0]: node.attribute[0] for node in graph.node if node.op_type == "Constant" and not node.domain
        }

    def __contains__(self, name: object) -> bool:
        return name in self._constants or super().__contains__(name)

    def __missing__(self, name: str) -> Array:
        constant = self._constants[name]
        is_tensor = isinstance(constant, onnx.TensorProto)
        self[name] = numpy_helper.to_array(constant) if is_tensor else _constant(constant)
        return self[name]


def _constant(attribute: onnx.AttributeProto) -> Array:
    if attribute.name == "value":
        return numpy_helper.to_array(attribute.t)
    dtype = np.float32 if attribute.name.startswith("value_float") else None
    return np.array(helper.get_attribute_value(attribute), dtype)


def _evaluate(
    node: onnx.NodeProto,
    known: Mapping[str, Array],
    types: Mapping[str, onnx.TypeProto],
    opsets: dict[str, int],
) -> list[Array] | None:
    """Return the value of a node's first output, in a list; None where it is not known, or large."""
    if node.op_type == "Shape":
        dims = types[node.input[0]].tensor_type.shape.dim if node.input[0] in types else ()
        if not dims or not all(dim.HasField("dim_value") for dim in dims):
            return None
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = np.array([dim.dim_value for dim in dims], np.int64)
        return [sizes[bounds.get("start", 0) : bounds.get("end", len(sizes))]]
    if node.op_type not in _FOLDED or not all(name in known for name in node.input if name):
        return None
    inputs = [known[name] for name in node.input if name]
    if any(array.size > _ELEMENTS for array in inputs) or _elements(node.op_type, inputs) > _ELEMENTS:
        return None
    try:
        result = _evaluator(_anonymous(node), tuple(opsets.items()))(inputs)
    except MALFORMED:  # inference says nothing of this value either, as if it had not been tried
        return None
    return result if isinstance(result[0], np.ndarray) and result[0].size <= _ELEMENTS else None


def _anonymous(node: onnx.NodeProto) -> bytes:
    """Return a node without the names in it: exporters repeat the same shape arithmetic layer after layer."""
    copy = onnx.NodeProto(op_type=node.op_type, attribute=node.attribute, output=["output"])
    copy.input.extend(f"input{index}" if name else "" for index, name in enumerate(node.input))
    data: bytes = copy.SerializeToString(deterministic=True)
    return data


@lru_cache(maxsize=256)
def _evaluator(node: bytes, opsets: tuple[tuple[str, int], ...]) -> Callable[[list[Array]], list[Array]]:
    """Return a function that evaluates a serialized node on those of its inputs that are not omitted."""
    from onnx.reference import ReferenceEvaluator

    proto = onnx.NodeProto.FromString(node)
    evaluator, names = ReferenceEvaluator(proto, opsets=dict(opsets)), [name for name in proto.input if name]
    return lambda inputs: list(evaluator.run(None, dict(zip(names, inputs, strict=True))))


def _elements(op_type: str, inputs: list[Array]) -> float:
    """Return how many elements an operator that can make much out of little would make."""
    if op_type in ("ConstantOfShape", "Expand"):
        return float(math.prod(inputs[-1].tolist()))
    if op_type == "Range":
        start, limit, delta = (float(array) for array in inputs)
        return (limit - start) / delta if delta else math.inf
    return 0
