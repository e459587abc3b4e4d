"""MatMul and Gemm with int8 weights, their inputs quantized at run time.

    x -> DynamicQuantizeLinear -> MatMulInteger(int8 weight) -> Cast -> Mul(x's scale * weight's scales) -> Add(bias)

DynamicQuantizeLinear is shared by all that use x (such as query, key and value). onnxruntime fuses the chain, bias
included, into MatMulIntegerToFloat or DynamicQuantizeMatMul; for that, x's scale must be the first factor, and the
weight's scales and the bias must be constants of one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.model.footprint import node_bytes
from compressctl.model.graph import bias_of, constant, holder_of, initializer, insert_before, replace_node
from compressctl.notes import Note, done
from compressctl.quantization.int8.embedding import is_embedding
from compressctl.quantization.int8.weights import (
    FIRST_OPERAND,
    Channels,
    Int8Weights,
    int8_saving,
    make_node,
    obstacle_of,
    shape_of,
    stand_in,
    tensor_of,
)

Quantizers = dict[tuple[ir.Graph, ir.Value], ir.Node]
"""What quantizes a value, by the graph that reads it: what another branch makes may not be there."""


@dataclass(frozen=True)
class _Product:
    """What a MatMul or Gemm computes: alpha * (x @ weight) + beta * bias.

    Attributes:
        x: float32; of two axes in a Gemm, of any number in a MatMul.
        weight: a constant of two axes; transposed before use where `channels` is "rows".
        channels: which axis of `weight` is the axis of the outputs.
        alpha: positive.
        bias: broadcasts to the result, or None.
        beta: any factor.
    """

    x: ir.Value
    weight: ir.Value
    channels: Channels
    alpha: float = 1.0
    bias: ir.Value | None = None
    beta: float = 1.0


def obstacle(node: ir.Node) -> str | None:
    """Return why the MatMul or Gemm `node` cannot be quantized, or None."""
    product = _product(node)
    return product if isinstance(product, str) else None


def saved_bytes(node: ir.Node) -> int:
    """Return by how many bytes quantizing `node`, which has no obstacle, shrinks the file.

    Nodes that use the same weight share what is saved on it. A bias counts as unchanged.
    """
    product = _product(node)
    assert isinstance(product, _Product)
    weight = product.weight
    rows, columns = shape_of(weight)
    quantizer = _quantizer(stand_in(product.x))
    bias = product.bias and stand_in(product.bias)
    emitted = _emit(node, quantizer.outputs, stand_in(weight, "_int8"), stand_in(weight, "_scale"), bias)
    saved = int8_saving(weight, (rows, columns), (rows if product.channels == "rows" else columns,))
    return saved + node_bytes([node]) - node_bytes([quantizer, *emitted])


def quantize(model: ir.Model, node: ir.Node, weights: Int8Weights, quantizers: Quantizers) -> Note:
    """Give a MatMul or Gemm, which has no obstacle, int8 weights with one scale an output.

    Args:
        model: holds it.
        node: the first in the graph's order of those that still have to be quantized.
        weights: makes the int8 weights.
        quantizers: what quantizes an input that a node before it reads, too; gets that of `node`.
    """
    graph, product = model.graph, _product(node)
    assert isinstance(product, _Product)
    place = holder_of(node), product.x
    if place not in quantizers:
        quantizers[place] = _quantizer(product.x)
        insert_before(graph, node, [quantizers[place]])
    # A table that an embedding uses as well is stored once, as it is; onnxruntime transposes it when it loads.
    tied = product.channels == "rows" and any(map(is_embedding, product.weight.consumers()))
    values = weights.values(product.weight, product.channels, transposed=product.channels == "rows" and not tied)
    if tied:
        transpose = make_node("Transpose", [values], f"{values.name}_transposed")
        insert_before(graph, node, [transpose])
        values = transpose.outputs[0]
    scale = weights.scale(product.weight, product.channels, factor=product.alpha)
    bias = _bias(graph, node, product)
    replace_node(graph, node, _emit(node, quantizers[place].outputs, values, scale, bias))
    return done(f"{node.op_type} weight to int8, input quantized as it comes", node.name)


def _product(node: ir.Node) -> _Product | str:
    """Return what the MatMul or Gemm `node` computes, or why it cannot be quantized."""
    x, weight = node.inputs[:2]
    assert x is not None and weight is not None
    gemm, attributes = node.op_type == "Gemm", node.attributes
    transposed = gemm and attributes.get_int("transB", 0) == 1
    if (untransposed := _untransposed(weight)) is not None:
        weight, transposed = untransposed, not transposed
    if reason := obstacle_of(weight):
        fixed = tensor_of(x) is not None and tensor_of(weight) is None
        return FIRST_OPERAND if fixed else reason
    if (rank := len(shape_of(weight))) != 2:
        return f"its weight has {rank} axes, an INT8 weight must have 2"
    if gemm and attributes.get_int("transA", 0) == 1:
        return "it transposes its input (transA)"
    if (alpha := attributes.get_float("alpha", 1.0)) <= 0:
        return f"its alpha is {alpha:g}, scales must be positive"
    bias = bias_of(node)
    channels: Channels = "rows" if transposed else "columns"
    return _Product(x, weight, channels, alpha, bias, attributes.get_float("beta", 1.0))


def _untransposed(weight: ir.Value) -> ir.Value | None:
    """Return the constant matrix that `weight` is the transpose of, if a Transpose node says so."""
    node = weight.producer()
    if node is None or node.op_type != "Transpose" or (matrix := tensor_of(node.inputs[0])) is None:
        return None
    swaps = len(matrix.shape) == 2 and tuple(node.attributes.get_ints("perm", (1, 0))) == (1, 0)
    return node.inputs[0] if swaps else None


def _bias(graph: ir.Graph, node: ir.Node, product: _Product) -> ir.Value | None:
    """Return beta * bias, as a constant of one axis if possible (onnxruntime fuses it), or made before `node`."""
    bias, beta = product.bias, np.float32(product.beta)
    if bias is None or beta == 0:
        return None
    array = constant(bias)
    if array is None and beta != 1:
        factor = initializer(graph, f"{bias.name}_factor", np.asarray(beta))
        scaled = make_node("Mul", [bias, factor], f"{bias.name}_scaled")
        insert_before(graph, node, [scaled])
        return scaled.outputs[0]
    if array is None or (beta == 1 and array.ndim == 1):
        return bias
    if all(size == 1 for size in array.shape[:-1]):
        array = array.reshape(-1)
    return initializer(graph, f"{bias.name}_scaled", array * beta)


def _quantizer(x: ir.Value) -> ir.Node:
    return make_node("DynamicQuantizeLinear", [x], f"{x.name}_uint8", f"{x.name}_scale", f"{x.name}_zero_point")


def _emit(
    node: ir.Node, x: Sequence[ir.Value], weight: ir.Value, scale: ir.Value, bias: ir.Value | None
) -> list[ir.Node]:
    """Return the nodes from `x` = (integers, scale, zero point) to the result."""
    name = str(node.outputs[0].name)
    integers, x_scale, zero_point = x
    product = make_node("MatMulInteger", [integers, weight, zero_point], f"{name}_int32")
    cast = make_node("Cast", product.outputs, f"{name}_unscaled", to=ir.DataType.FLOAT.value)
    factor = make_node("Mul", [x_scale, scale], f"{name}_scale")
    result = make_node("Mul", [cast.outputs[0], factor.outputs[0]], f"{name}_unbiased" if bias else name)
    add = [make_node("Add", [result.outputs[0], bias], name)] if bias else []
    return [product, cast, factor, result, *add]
