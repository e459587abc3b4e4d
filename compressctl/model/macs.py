"""Multiply-accumulates of a node, from the shapes of its inputs and outputs.

Counted: convolutions, matrix products, Einsum and recurrent layers, in float or integer form; biases and all else are
not. Formulas: one per multiplication of the operator's definition (ONNX operator specification).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import bodies

Shape = tuple[int, ...]
ShapeOf = Callable[[ir.Value | None], Shape | None]


def macs(node: ir.Node, shape_of: ShapeOf) -> int | None:
    """Return the multiply-accumulates of one run of `node`; None where that cannot be told.

    It cannot where a shape is unknown, for fused attention and layers without a formula here, and for If, Loop and Scan
    with such work in their bodies.

    Args:
        node: any node.
        shape_of: returns the concrete shape of a value, or None.
    """
    op = node.op_type
    try:
        if op in ops.CONV_FORMS:
            return _product(shape_of(node.outputs[0])) * _product(shape_of(_weight(node)), start=1)
        if op == "ConvTranspose":
            return _product(shape_of(node.inputs[0])) * _product(shape_of(node.inputs[1]), start=1)
        if op == "MatMulNBits":
            return _product(shape_of(node.inputs[0])) * node.attributes["N"].as_int()
        if op in ops.MATMUL_FORMS:
            return _matmul(node, shape_of(node.inputs[0]), shape_of(_weight(node)))
        if op in ops.GEMM_FORMS:
            columns = _known(shape_of(_weight(node)))[0 if node.attributes.get_int("transB", 0) else 1]
            return _product(shape_of(node.inputs[0])) * columns
        if op in ops.RECURRENT_FORMS:
            sequence, weights, recurrence = (shape_of(value) for value in node.inputs[:3])
            steps, batch = _known(sequence)[:2]
            return steps * batch * (_product(weights) + _product(recurrence))
        if op == "Einsum":
            return _einsum(node, [shape_of(value) for value in node.inputs])
    except (_UnknownShapeError, LookupError, ValueError):  # the latter: shapes that do not fit the operator
        return None
    inner = (macs(inner, shape_of) for body in bodies(node) for inner in body)
    return None if op in ops.ATTENTION | ops.LAYERS or any(count != 0 for count in inner) else 0


def _weight(node: ir.Node) -> ir.Value | None:
    return node.inputs[ops.OPERANDS[node.op_type].weights[0]]


class _UnknownShapeError(Exception):
    """A shape that the count needs is not known."""


def _matmul(node: ir.Node, left: Shape | None, right: Shape | None) -> int:
    """numpy.matmul: [..., m, k] x [..., k, n], leading axes broadcast; vectors have one axis."""
    left, right = _known(left), _known(right)
    if node.attributes.get_int("transA", 0):
        left = (*left[:-2], left[-1], left[-2])
    if node.attributes.get_int("transB", 0):
        right = (*right[:-2], right[-1], right[-2])
    rows, columns = left[-2:-1] or (1,), right[-1:] if len(right) > 1 else (1,)
    ranks = max(len(left), len(right)) - 2
    padded = [(1,) * (ranks - len(shape[:-2])) + shape[:-2] for shape in (left, right)]
    batch = [max(pair) for pair in zip(*padded, strict=True)]
    return math.prod((*batch, *rows, left[-1], *columns))


def _einsum(node: ir.Node, shapes: list[Shape | None]) -> int | None:
    """One product for each combination of indices, for two factors without ellipsis; others are not counted."""
    terms = node.attributes["equation"].as_string().replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or "." in "".join(terms):
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        sizes.update(zip(term, _known(shape), strict=True))
    return math.prod(sizes.values())


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        raise _UnknownShapeError
    return shape


def _product(shape: Shape | None, start: int = 0) -> int:
    return math.prod(_known(shape)[start:])
