"""Evaluating shape arithmetic, which onnx's shape inference does not follow through every operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compressctl.model.reasons import MALFORMED

_ELEMENTS = 1024  # what describes a shape is smaller
# fmt: off
_ARITHMETIC = frozenset({
    "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather", "Greater",
    "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceProd", "ReduceSum", "Reshape",
    "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
})
# fmt: on


def fold_shape_arithmetic(proto: onnx.ModelProto, types: Mapping[str, onnx.TypeProto]) -> bool:
    """Replace small constant sub-expressions of the main graph by initializers, in place; return whether any were.

    Args:
        proto: a weightless model.
        types: of its values, as far as known: the Shape of a value whose type says it all is constant.
    """
    graph = proto.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and (tensor := next((a.t for a in node.attribute if a.name == "value"), None)):
            known[node.output[0]] = numpy_helper.to_array(tensor)
    outputs = {info.name for info in graph.output}
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    folded: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.domain or node.output[0] in outputs or not (value := _evaluate(node, known, types, opsets)):
            continue
        known[node.output[0]] = value[0]
        graph.initializer.append(numpy_helper.from_array(value[0], node.output[0]))
        folded.append(node)
    for node in folded:
        graph.node.remove(node)
    return bool(folded)


def _evaluate(
    node: onnx.NodeProto,
    known: Mapping[str, NDArray[Any]],
    types: Mapping[str, onnx.TypeProto],
    opsets: dict[str, int],
) -> list[NDArray[Any]] | None:
    if node.op_type == "Shape":
        dims = types[node.input[0]].tensor_type.shape.dim if node.input[0] in types else ()
        if not dims or not all(dim.HasField("dim_value") for dim in dims):
            return None
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = np.array([dim.dim_value for dim in dims], np.int64)
        return [sizes[bounds.get("start", 0) : bounds.get("end", len(sizes))]]
    if node.op_type not in _ARITHMETIC or not all(name in known for name in node.input if name):
        return None
    if any(known[name].size > _ELEMENTS for name in node.input if name):
        return None
    if node.op_type in ("ConstantOfShape", "Expand") and known[node.input[-1]].prod() > _ELEMENTS:
        return None
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(node, opsets=opsets)
        result = list(evaluator.run(None, {name: known[name] for name in node.input if name}))
    except MALFORMED:  # inference says nothing of this value either, as if it had not been tried
        return None
    return result if isinstance(result[0], np.ndarray) and result[0].size <= _ELEMENTS else None
