"""Matrix products and convolutions: contracted axes are read, the others are made."""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import operand
from compressctl.structure.axes import Axes, UnknownShapeError
from compressctl.structure.rules.common import follow, freeze_sums, is_constant, tie_broadcast, weigh


def conv(node: ir.Node, axes: Axes) -> None:
    """Conv: weight [out, in / groups, kernel…]."""
    source, weight, output = axes.of(node.inputs[0]), axes.of(node.inputs[1]), axes.of(node.outputs[0])
    _convolution(node, axes, source, weight, output, makes=0)


def conv_transpose(node: ir.Node, axes: Axes) -> None:
    """ConvTranspose: weight [in, out / groups, kernel…]."""
    source, weight, output = axes.of(node.inputs[0]), axes.of(node.inputs[1]), axes.of(node.outputs[0])
    _convolution(node, axes, source, weight, output, makes=1)


def _convolution(
    node: ir.Node, axes: Axes, source: tuple[int, ...], weight: tuple[int, ...], output: tuple[int, ...], *, makes: int
) -> None:
    groups = node.attributes.get_int("group", 1)
    axes.tie(source[0], output[0])
    axes.freeze([*source[2:], *output[2:], *weight[2:]], "a convolution slides along it")
    inner = weight[1]
    whole = weight[0]  # all outputs of Conv, all inputs of ConvTranspose
    made, read = (output[1], source[1]) if makes == 0 else (source[1], output[1])
    axes.tie(whole, made)
    if groups == 1:
        axes.tie(inner, read)
    else:
        group = axes.virtual(node, "group", (groups, groups))
        each = axes.sizes[whole][0] // groups
        member = axes.virtual(node, "member", (each, each))
        axes.factor(whole, (group, member))
        axes.factor(read, (group, inner))
    weigh(axes, node, node.inputs[1], makes, "makes")
    weigh(axes, node, node.inputs[1], 1 - makes, "reads")
    bias = operand(node, 2)
    if bias is not None:
        axes.tie(axes.of(bias)[0], output[1])
        follow(axes, node, bias)


def gemm(node: ir.Node, axes: Axes) -> None:
    """Gemm: op(A) [M, K] times op(B) [K, N] plus C, which is broadcast."""
    left, right, output = axes.of(node.inputs[0]), axes.of(node.inputs[1]), axes.of(node.outputs[0])
    row, inner = (1, 0) if node.attributes.get_int("transA", 0) else (0, 1)
    read, column = (1, 0) if node.attributes.get_int("transB", 0) else (0, 1)
    axes.tie(left[row], output[0])
    axes.tie(left[inner], right[read])
    freeze_sums(axes, node, node.inputs[:2], [left[inner]])
    axes.tie(right[column], output[1])
    weigh(axes, node, node.inputs[0], row, "makes")
    weigh(axes, node, node.inputs[0], inner, "reads")
    weigh(axes, node, node.inputs[1], read, "reads")
    weigh(axes, node, node.inputs[1], column, "makes")
    bias = operand(node, 2)
    if bias is not None:
        tie_broadcast(axes, axes.of(bias), output)
        follow(axes, node, bias)


def matmul(node: ir.Node, axes: Axes) -> None:
    """MatMul: numpy.matmul [..., M, K] x [..., K, N]; vectors have the axis K alone."""
    left, right, output = axes.of(node.inputs[0]), axes.of(node.inputs[1]), axes.of(node.outputs[0])
    axes.tie(left[-1], right[-2] if len(right) > 1 else right[0])
    freeze_sums(axes, node, node.inputs, left[-1:])
    weigh(axes, node, node.inputs[0], -1, "reads")
    weigh(axes, node, node.inputs[1], -2 if len(right) > 1 else 0, "reads")
    rest = output
    if len(right) > 1:
        axes.tie(right[-1], rest[-1])
        weigh(axes, node, node.inputs[1], -1, "makes")
        rest = rest[:-1]
    if len(left) > 1:
        axes.tie(left[-2], rest[-1])
        weigh(axes, node, node.inputs[0], -2, "makes")
        rest = rest[:-1]
    tie_broadcast(axes, left[:-2], rest)
    tie_broadcast(axes, right[:-2], rest)
    if not is_constant(node.inputs[0]) and not is_constant(node.inputs[1]):
        axes.heads.update(rest)


def einsum(node: ir.Node, axes: Axes) -> None:
    """Einsum: equal letters are one axis."""
    equation = node.attributes["equation"].as_string().replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    repeated = any(len(set(term)) != len(term) for term in (*terms, right))
    if not arrow or "." in equation or repeated:
        raise UnknownShapeError(equation)
    place: dict[str, int] = {}
    operands = [(term, node.inputs[i]) for i, term in enumerate(terms)]
    for term, value in (*operands, (right, node.outputs[0])):
        for letter, axis in zip(term, axes.of(value), strict=True):
            if letter in place:
                axes.tie(place[letter], axis)
            place.setdefault(letter, axis)
    for letter, axis in place.items():
        if letter not in right:
            freeze_sums(axes, node, [value for term, value in operands if letter in term], [axis])
    constants = [is_constant(value) for _, value in operands]
    for (term, value), held in zip(operands, constants, strict=True):
        if held:
            for index, letter in enumerate(term):
                weigh(axes, node, value, index, "makes" if letter in right else "reads")
    if len(terms) > 1 and not any(constants):
        axes.heads.update(place[letter] for letter in right if all(letter in term for term in terms))
