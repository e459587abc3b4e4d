"""Layers with constant weights, and scaling them by channel: Conv, ConvTranspose, Gemm, MatMul.

Everything is computed in float64 and rounded once. Weights are replaced, never written into.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats
from compressctl.model.graph import constant, operand
from compressctl.model.ops import BIASED
from compressctl.simplification.edit import is_op, set_constant


def scale_outputs(graph: ir.Graph, layer: ir.Node, scale: Floats, shift: Floats) -> str | None:
    """Make the outputs of `layer` scale * y + shift, by output channel.

    Args:
        graph: the graph that holds the layer.
        layer: Conv, ConvTranspose, Gemm, or MatMul (whose `shift` must be left to the caller: it has no bias).
        scale: [channels] or [1].
        shift: [channels] or [1].

    Returns:
        None, or why it was not done.
    """
    weight = _weight(layer)
    if weight is None:
        return "the weights of the layer are not stored constants"
    channels = output_channels(layer, weight)
    if scale.size not in (1, channels) or shift.size not in (1, channels):
        return "it has another number of channels than the layer"
    bias = _bias(layer, channels)
    if bias is None:
        return "the bias of the layer is not constant, or not one number a channel"
    per_channel = np.broadcast_to(scale, channels)
    new_weight = _round(weight * _along_outputs(layer, weight, per_channel), weight)
    new_bias = _round(bias * scale + shift, weight)
    if new_weight is None or new_bias is None:
        return "the weights of the layer would overflow"
    set_constant(graph, layer, 1, new_weight, _weight_name(layer))
    if is_op(layer, *BIASED) and (operand(layer, 2) is not None or new_bias.any()):
        _set_bias(graph, layer, new_bias)
    return None


def scale_batch_norm(graph: ir.Graph, node: ir.Node, scale: Floats, shift: Floats) -> str | None:
    """Make the outputs of a BatchNormalization scale * y + shift: gamma' = scale * gamma, beta' = scale * beta + shift.

    Returns:
        None, or why it was not done.
    """
    gamma, beta = constant(operand(node, 1)), constant(operand(node, 2))
    if gamma is None or beta is None:
        return "the parameters of the layer are not constant"
    if scale.size not in (1, gamma.size):
        return "it has another number of channels than the layer"
    new_gamma, new_beta = _round(gamma * scale, gamma), _round(beta * scale + shift, beta)
    if new_gamma is None or new_beta is None:
        return "the parameters of the layer would overflow"
    set_constant(graph, node, 1, new_gamma, f"{node.name}_scale")
    set_constant(graph, node, 2, new_beta, f"{node.name}_bias")
    return None


def scale_inputs(graph: ir.Graph, layer: ir.Node, scale: Floats, shift: Floats) -> str | None:
    """Make `layer`, a Conv or a Gemm, compute what it did of scale * x + shift, by input channel, from x.

    Returns:
        None, or why it was not done.
    """
    weight = _weight(layer)
    if weight is None:
        return "the weights of the layer are not stored constants"
    if layer.attributes.get_int("transA", 0):
        return "the layer reads its input transposed"
    padded = any(layer.attributes.get_ints("pads", ())) or "SAME" in layer.attributes.get_string("auto_pad", "NOTSET")
    if padded and shift.any():
        return "the layer pads its input with zeros"
    bias = _bias(layer, output_channels(layer, weight))
    if bias is None:
        return "the bias of the layer is not constant, or not one number a channel"
    group = layer.attributes.get_int("group", 1)
    # [group, outputs of the group, inputs of the group, kernel]
    table = weight.astype(np.float64)
    if is_op(layer, "Gemm") and not layer.attributes.get_int("transB", 0):
        table = table.T
    table = table.reshape(group, table.shape[0] // group, table.shape[1], -1)
    if scale.size != group * table.shape[2]:
        return "it has another number of channels than the layer reads"
    alpha = layer.attributes.get_float("alpha", 1.0)
    extra = alpha * np.einsum("goik,gi->go", table, shift.reshape(group, -1)).reshape(-1)
    scaled = table * scale.reshape(group, 1, -1, 1)
    if is_op(layer, "Gemm") and not layer.attributes.get_int("transB", 0):
        scaled = scaled.reshape(weight.shape[::-1]).T
    new_weight, new_bias = _round(scaled.reshape(weight.shape), weight), _round(bias + extra, weight)
    if new_weight is None or new_bias is None:
        return "the weights of the layer would overflow"
    set_constant(graph, layer, 1, new_weight, _weight_name(layer))
    _set_bias(graph, layer, new_bias)
    return None


def output_channels(layer: ir.Node, weight: Array) -> int:
    """Return the number of output channels."""
    if is_op(layer, "Conv"):
        return int(weight.shape[0])
    if is_op(layer, "ConvTranspose"):
        return int(weight.shape[1]) * layer.attributes.get_int("group", 1)
    return int(weight.shape[0 if layer.attributes.get_int("transB", 0) else 1])


def _weight(layer: ir.Node) -> Array | None:
    """Return the weight where it is a floating-point initializer."""
    value = operand(layer, 1)
    array = constant(value) if value is not None and value.is_initializer() else None
    return array if array is not None and array.dtype.kind == "f" and array.ndim >= 2 else None


def _along_outputs(layer: ir.Node, weight: Array, vector: Floats) -> Floats:
    """Return `vector`, one number an output channel, in a shape that broadcasts to the weight."""
    if is_op(layer, "ConvTranspose"):  # [inputs, outputs / group, kernel]: the groups lie along the inputs
        group = layer.attributes.get_int("group", 1)
        by_input = np.repeat(vector.reshape(group, -1), weight.shape[0] // group, axis=0)
        return by_input.reshape(*weight.shape[:2], *(1,) * (weight.ndim - 2))
    transposed: int = layer.attributes.get_int("transB", 0)
    if is_op(layer, "Conv") or transposed:
        return vector.reshape(-1, *(1,) * (weight.ndim - 1))
    return vector


def _bias(layer: ir.Node, channels: int) -> Floats | None:
    """Return [channels] numbers, zeros where there is no bias; beta of Gemm applied."""
    value = operand(layer, 2)
    if value is None:
        return np.zeros(channels)
    array = constant(value)
    if array is None or (array.size != 1 and (array.size != channels or array.shape[-1] != channels)):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), channels) * layer.attributes.get_float("beta", 1.0)


def _set_bias(graph: ir.Graph, layer: ir.Node, bias: Array) -> None:
    weight_name = _weight_name(layer)
    stem = weight_name.removesuffix("weight")
    name = f"{stem}bias" if stem != weight_name else f"{layer.name}_bias"
    layer.attributes.pop("beta", None)
    set_constant(graph, layer, 2, bias, name)


def _weight_name(layer: ir.Node) -> str:
    value = operand(layer, 1)
    return (value.name if value is not None else None) or f"{layer.name}_weight"


def _round(array: Floats, like: Array) -> Array | None:
    """Return the array in the type of `like`, or None where that overflows."""
    with np.errstate(over="ignore"):
        rounded = array.astype(like.dtype)
    return rounded if np.isfinite(rounded).all() else None
