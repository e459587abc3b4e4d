"""The contents of small integer tensors, element by element, where they are known without running the graph.

Exporters compute target shapes at run time (Shape -> Gather -> Unsqueeze -> Concat -> Reshape), though most elements
are known: an element is an int, a bool, the symbolic name of a dimension, or None where it is unknown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant
from compressctl.tensorspec import Dim

Contents = Array  # of dtype object
ShapeOf = Callable[[ir.Value | None], tuple[Dim, ...] | None]
_MAX_ELEMENTS = 64
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)
_INT32, _INT64 = np.iinfo(np.int32), np.iinfo(np.int64)


def infer_contents(graph: ir.Graph, shape_of: ShapeOf) -> dict[ir.Value, Contents]:
    """Return the contents of the values of `graph` that are small, integer, and at least in part known."""
    known: dict[ir.Value, Contents] = {}
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype in _INTEGERS and tensor.size <= _MAX_ELEMENTS:
            array = constant(value)
            if array is not None:
                known[value] = array.astype(object)
    for node in graph:
        if node.domain != "" or node.op_type not in (*_RULES, "Shape"):
            continue
        if node.op_type == "Shape":
            result = _shape(node, shape_of)
        else:
            result = _apply(node, [None if value is None else known.get(value) for value in node.inputs])
        if result is not None and result.size <= _MAX_ELEMENTS:
            known[node.outputs[0]] = result
    return known


def _apply(node: ir.Node, inputs: Sequence[Contents | None]) -> Contents | None:
    if any(array is None and value is not None for array, value in zip(inputs, node.inputs, strict=True)):
        return None
    try:
        return _RULES[node.op_type](node, *inputs)
    except (IndexError, ValueError, TypeError):  # out of range, shapes that do not fit, or an index that is a symbol
        return None


def _shape(node: ir.Node, shape_of: ShapeOf) -> Contents | None:
    shape = shape_of(node.inputs[0])
    if shape is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(shape))
    return _array(shape[start:end])


def _gather(node: ir.Node, data: Contents, indices: Contents) -> Contents | None:
    return np.asarray(np.take(data, indices.astype(np.int64), axis=node.attributes.get_int("axis", 0)), object)


def _slice(
    node: ir.Node,
    data: Contents,
    starts: Contents,
    ends: Contents,
    axes: Contents | None = None,
    steps: Contents | None = None,
) -> Contents | None:
    if data.ndim != 1 or starts.size != 1:
        return None
    start, end, step = int(starts[0]), int(ends[0]), 1 if steps is None else int(steps[0])
    if step < 0 and end < -len(data):  # "before the first": Python has no number for it
        return data[start::step]
    return data[start:end:step]


def _concat(node: ir.Node, *parts: Contents) -> Contents | None:
    return np.concatenate(parts, axis=node.attributes.get_int("axis", 0))


def _unsqueeze(node: ir.Node, data: Contents, axes: Contents | None = None) -> Contents | None:
    return np.expand_dims(data, _axes(node, axes) or ())


def _squeeze(node: ir.Node, data: Contents, axes: Contents | None = None) -> Contents | None:
    return np.squeeze(data, _axes(node, axes))


def _axes(node: ir.Node, axes: Contents | None) -> tuple[int, ...] | None:
    given = node.attributes.get_ints("axes", None) if axes is None else [int(axis) for axis in axes]
    return None if given is None else tuple(given)


def _reshape(node: ir.Node, data: Contents, target: Contents) -> Contents | None:
    sizes = [data.shape[i] if size == 0 else int(size) for i, size in enumerate(target)]
    return data.reshape(sizes)


def _transpose(node: ir.Node, data: Contents) -> Contents | None:
    return data.transpose(node.attributes.get_ints("perm", None))


def _cast(node: ir.Node, data: Contents) -> Contents | None:
    """Between int32 and int64, where the numbers fit."""
    if node.attributes.get_int("to") not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    fits = all(isinstance(e, str) or (type(e) is int and _INT32.min <= e <= _INT32.max) for e in data.flat)
    return data if fits else None


def _identity(node: ir.Node, data: Contents) -> Contents | None:
    return data


def _constant_of_shape(node: ir.Node, shape: Contents) -> Contents | None:
    fill = node.attributes.get_tensor("value")
    sizes = [int(size) for size in shape]
    if fill is None or fill.dtype not in _INTEGERS or np.prod(sizes, initial=1.0) > _MAX_ELEMENTS:
        return None
    return np.full(sizes, fill.numpy().item(), object)


def _where(node: ir.Node, condition: Contents, yes: Contents, no: Contents) -> Contents | None:
    return _elementwise(lambda c, a, b: (a if c else b) if isinstance(c, bool) else (a if a == b else None))(
        node, condition, yes, no
    )


def _elementwise(function: Callable[..., Dim | bool]) -> Callable[..., Contents | None]:
    def rule(node: ir.Node, *operands: Contents) -> Contents | None:
        arrays = np.broadcast_arrays(*operands)
        results = [function(*elements) for elements in zip(*(array.flat for array in arrays), strict=True)]
        return _array(results).reshape(arrays[0].shape)

    return rule


def _arithmetic(function: Callable[[int, int], int], neutral: int, *, commutes: bool) -> Callable[..., Dim]:
    """Return the operator on elements: exact on ints, and a symbol stays itself beside the neutral element."""

    def combine(a: Dim, b: Dim) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            result = function(a, b)
            return result if _INT64.min <= result <= _INT64.max else None
        if b == neutral:
            return a
        return b if commutes and a == neutral else None

    return combine


def _truncate(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else _INT64.max + 1  # out of range: unknown


def _equal(a: Dim, b: Dim) -> bool | None:
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if a == b:
        return True
    size = a if isinstance(a, int) else b
    return False if isinstance(size, int) and size < 0 else None  # a dimension is never negative


def _array(elements: Sequence[Dim | bool]) -> Contents:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


_RULES: dict[str, Callable[..., Contents | None]] = {
    "Add": _elementwise(_arithmetic(operator.add, 0, commutes=True)),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _elementwise(_arithmetic(_truncate, 1, commutes=False)),
    "Equal": _elementwise(_equal),
    "Gather": _gather,
    "Identity": _identity,
    "Mul": _elementwise(_arithmetic(operator.mul, 1, commutes=True)),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _elementwise(_arithmetic(operator.sub, 0, commutes=False)),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
