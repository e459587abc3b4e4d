"""Weights of operators that are no linear layers to the passes that fit them: stored on few levels all the same.

Einsum with one constant operand, products with a stack of constant matrices, deformable convolutions, and the products
and convolutions that onnxruntime fuses with what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import is_plain_constant
from compressctl.model.tensors import FLOATS

MICROSOFT = "com.microsoft"
_KERNELS = {"": {"DeformConv"}, MICROSOFT: {"FusedConv", "NhwcFusedConv"}}
_PRODUCTS = {"": {"MatMul"}, MICROSOFT: {"FusedGemm", "FusedMatMul"}}


def other_weights(node: ir.Node) -> Iterator[tuple[ir.Value, tuple[int, int, int]]]:
    """Yield the constant floats of two axes or more that a node multiplies by, each as [outer, inputs, inner].

    One output reads what lies along `inputs`, the axes that are summed.
    """
    kernels, products = node.op_type in _KERNELS.get(node.domain, ()), node.op_type in _PRODUCTS.get(node.domain, ())
    if not (kernels or products or (node.op_type == "Einsum" and not node.domain)):
        return
    indices = range(len(node.inputs)) if node.op_type == "Einsum" else ops.OPERANDS[node.op_type].matrices
    found = [index for index in indices if _is_matrix(node.inputs[index])]
    others = [value for index, value in enumerate(node.inputs[: max(indices) + 1]) if index not in found]
    if len(found) != 1 or all(value is None or is_plain_constant(value) for value in others):
        return
    value = node.inputs[found[0]]
    assert value is not None and value.shape is not None
    shape = value.shape.numpy()
    if kernels:
        yield value, (shape[0], prod(shape[1:]), 1)
    elif node.op_type == "Einsum":
        if (first_last := _summed(node, found[0])) is not None:
            first, last = first_last
            yield value, (prod(shape[:first]), prod(shape[first:last]), prod(shape[last:]))
    else:
        transposed = node.attributes.get_int("transB" if found[0] else "transA", 0)
        axis = len(shape) - 2 if bool(found[0]) != bool(transposed) else len(shape) - 1
        yield value, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))


def _is_matrix(value: ir.Value | None) -> bool:
    if value is None or not is_plain_constant(value):
        return False
    tensor = ir.convenience.get_const_tensor(value)
    return tensor is not None and len(tensor.shape) >= 2 and tensor.size > 0 and tensor.dtype in FLOATS


def _summed(node: ir.Node, index: int) -> tuple[int, int] | None:
    """Return the first axis and the one behind the last, side by side, of an operand of Einsum that it sums over.

    Where they are apart, the last one alone; None where it sums none, or the equation does not name all axes.
    """
    equation = node.attributes["equation"].as_string().replace(" ", "")
    left, arrow, right = equation.partition("->")
    term = left.split(",")[index]
    if not arrow:
        right = "".join(letter for letter in left if left.count(letter) == 1)
    summed = [axis for axis, letter in enumerate(term) if letter not in right]
    if "." in equation or not summed:
        return None
    together = summed[-1] - summed[0] == len(summed) - 1
    return summed[0] if together else summed[-1], summed[-1] + 1
