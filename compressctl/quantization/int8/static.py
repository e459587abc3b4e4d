"""Emit static quantization: Q/DQ pairs on activations as placed, and the forms that integer kernels need.

The form follows what onnxruntime's CPU kernels fuse: u8 activations, s8 weights with zero point 0, float biases.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Floats, Floats32
from compressctl.model.graph import (
    all_nodes,
    bias_of,
    constant,
    holder_of,
    initializer,
    insert_after,
    insert_before,
    replace_node,
    unique_name,
)
from compressctl.model.ops import BIASED
from compressctl.model.stored import why_not_constant
from compressctl.numerics.qparams import affine
from compressctl.quantization.int8.activations import activation_limit
from compressctl.quantization.int8.placement import Placement, hard_sigmoid
from compressctl.quantization.int8.weights import FIRST_OPERAND, not_float32

_WEIGHT_AXIS = {"Conv": 0, "MatMul": 1}


def obstacle(node: ir.Node) -> str | None:
    """Return why a Conv, Gemm or MatMul cannot be quantized statically, or None."""
    weight = constant(node.inputs[1])
    if weight is None:
        return FIRST_OPERAND if constant(node.inputs[0]) is not None else why_not_constant(node.inputs[1])
    if weight.dtype != np.float32:
        return not_float32(ir.DataType.from_numpy(weight.dtype))
    if node.op_type != "Conv" and weight.ndim != 2:
        return f"its weight has {weight.ndim} axes, an INT8 weight must have 2"
    if not np.any(weight):
        return "its weight is all zero"
    source = node.inputs[0]
    if source is not None and constant(source) is not None:
        return "its input is constant"
    if node.op_type == "Gemm":
        if node.attributes.get_int("transA", 0):
            return "it transposes its input (transA)"
        if node.attributes.get_float("alpha", 1.0) != 1.0 or _beta(node) != 1.0:
            return "its alpha or beta is not 1"
    return None


def output_axis(node: ir.Node) -> int:
    """The axis of the weight of a Conv, Gemm or MatMul along which output channels lie."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return _WEIGHT_AXIS[node.op_type]


def insert_qdq(model: ir.Model, placement: Placement, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Insert a QuantizeLinear and DequantizeLinear behind every placed tensor.

    Args:
        model: edited in place.
        placement: which tensors, read by whom.
        ranges: (low, high) of each tensor in `placement.observed`, by name.
    """
    graph = model.graph
    parameters: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
    limits: dict[ir.Value, float] = {}
    for value, root in placement.scale_of.items():
        limits[root] = min(activation_limit(value), limits.get(root, math.inf))
    for value, root in placement.scale_of.items():
        if root not in parameters:
            name = root.name or ""
            low, high = ranges[name]
            parameters[root] = _activation_parameters(graph, name, (low, min(high, limits[root])))
        _insert_pair(graph, value, parameters[root], placement)


def add_to_bias(model: ir.Model, node: ir.Node, correction: Floats) -> bool:
    """Add `correction` [output channels] to the bias of a Conv or Gemm; returns False where there is no such bias."""
    if node.op_type == "MatMul" or (node.op_type == "Gemm" and _beta(node) != 1.0):
        return False
    value = bias_of(node)
    bias = np.zeros(len(correction), np.float32) if value is None else constant(value)
    if bias is None or bias.shape != correction.shape:
        return False
    name = f"{node.name}_bias" if value is None else f"{value.name}_corrected"
    corrected = initializer(model.graph, name, (bias + correction).astype(np.float32))
    node.resize_inputs(3)
    node.replace_input_with(2, corrected)
    return True


def pad_integers(model: ir.Model, placement: Placement) -> None:
    """Move each placed Pad between the integers: onnxruntime folds Q/DQ pairs around the other carriers only."""
    graph = model.graph
    for pad in placement.joins:
        if pad.op_type != "Pad":
            continue
        (use,) = pad.outputs[0].uses()
        source = pad.inputs[0].producer() if pad.inputs[0] is not None else None
        assert source is not None and use.node.op_type == "QuantizeLinear"
        integers, _, zero_point = source.inputs
        moved = ir.node("Pad", [integers, pad.inputs[1], zero_point, *pad.inputs[3:]])
        moved.outputs[0].dtype = ir.DataType.UINT8
        replace_node(graph, use.node, [moved])
        holder_of(pad).remove(pad, safe=True)


def add_hard_sigmoids(model: ir.Model, placement: Placement) -> None:
    """Turn each placed HardSigmoid, which has no integer kernel, into the Add of a constant, which has one.

    clip(alpha * x + beta, 0, 1) = alpha * clip(x + beta / alpha, 0, 1 / alpha): saturation of the unsigned result is
    the clip, and alpha is the quotient of the scales with which it is quantized and dequantized.
    """
    graph = model.graph
    for node in placement.joins:
        if node.op_type != "HardSigmoid":
            continue
        (use,) = node.outputs[0].uses()
        assert use.node.op_type == "QuantizeLinear"
        _, scale, zero_point = use.node.inputs
        divisor = constant(scale)
        assert divisor is not None
        alpha, beta = hard_sigmoid(node)
        shift = affine(0.0, beta / alpha)
        parameters = {"value": np.uint8(255), "scale": shift.scale, "zero_point": shift.zero_point}
        names = f"{node.name}_shift"
        values = [initializer(graph, f"{names}_{what}", np.asarray(array)) for what, array in parameters.items()]
        constant_shift = _named(ir.node("DequantizeLinear", values), f"{names}_dequantize")
        add = _named(ir.node("Add", [node.inputs[0], constant_shift.outputs[0]]), f"{node.name}_add")
        wider = initializer(graph, f"{node.name}_unscaled", np.asarray(divisor / np.float32(alpha), np.float32))
        quantize_sum = ir.node("QuantizeLinear", [add.outputs[0], wider, zero_point])
        replace_node(graph, use.node, [constant_shift, add, quantize_sum])
        holder_of(node).remove(node, safe=True)


def integer_bias(model: ir.Model, placement: Placement) -> list[ir.Node]:
    """Make the float bias of each placed Gemm int32, at exactly the scale input * weight: only so QGemm forms.

    Returns:
        the Gemm nodes whose bias does not fit; they run in float.
    """
    graph, misfits = model.graph, []
    for node in placement.weighted:
        value = bias_of(node) if node.op_type == "Gemm" else None
        if value is None:
            continue
        bias = constant(value)
        scales = [constant(node.inputs[index].producer().inputs[1]) for index in (0, 1)]  # type: ignore[union-attr]
        scale = np.asarray(scales[0] * scales[1], np.float32)  # type: ignore[operator]
        channels = constant(node.inputs[1].producer().inputs[0]).shape[output_axis(node)]  # type: ignore[union-attr]
        if bias is None or bias.shape not in ((), (1,), (1, 1), (channels,), (1, channels)):
            misfits.append(node)
            continue
        integers = np.rint(np.broadcast_to(bias.reshape(-1), channels).astype(np.float64) / scale)
        if np.abs(integers).max(initial=0) >= 2**31:
            misfits.append(node)
            continue
        parameters = [
            initializer(graph, f"{value.name}_int32", integers.astype(np.int32)),
            initializer(graph, f"{value.name}_scale", scale),
            initializer(graph, f"{value.name}_zero_point", np.zeros(scale.shape, np.int32)),
        ]
        pair = ir.node("DequantizeLinear", parameters, attributes={"axis": 0} if scale.ndim else {})
        pair.outputs[0].dtype = ir.DataType.FLOAT
        insert_before(graph, node, [_named(pair, f"{node.name}_bias_dequantize")])
        node.replace_input_with(2, pair.outputs[0])
    return misfits


def shield_float_nodes(model: ir.Model, weighted: Collection[ir.Node]) -> None:
    """Keep onnxruntime from quantizing, per tensor, the weights of nodes that stay float between Q/DQ pairs.

    It does so for a Conv, ConvTranspose or Gemm with float weights whose input is dequantized with one scale. The same
    values dequantized with the scale repeated for each channel are left alone.
    """
    graph = model.graph
    for node in list(all_nodes(graph)):
        if node.op_type not in BIASED or node.domain != "" or node in weighted:
            continue
        source = node.inputs[0]
        pair = source.producer() if source is not None else None
        weight = constant(node.inputs[1])
        if pair is None or pair.op_type != "DequantizeLinear" or pair.graph is not node.graph or weight is None:
            continue
        channels = _input_channels(node, weight)
        scale, zero_point = (constant(value) for value in pair.inputs[1:3])
        if scale is None or zero_point is None or scale.ndim or channels is None:
            continue
        repeated = [
            initializer(graph, f"{node.name}_input_scale", np.full(channels, scale, np.float32)),
            initializer(graph, f"{node.name}_input_zero_point", np.full(channels, zero_point, np.uint8)),
        ]
        shield = ir.node("DequantizeLinear", [pair.inputs[0], *repeated], attributes={"axis": 1})
        insert_before(graph, node, [_named(shield, f"{node.name}_input_dequantize")])
        node.replace_input_with(0, shield.outputs[0])


def _input_channels(node: ir.Node, weight: Floats32) -> int | None:
    if node.op_type == "Gemm":
        if node.attributes.get_int("transA", 0):
            return None
        return int(weight.shape[1 - output_axis(node)])
    if node.op_type == "ConvTranspose":
        return int(weight.shape[0])
    return int(weight.shape[1]) * node.attributes.get_int("group", 1)


def _activation_parameters(graph: ir.Graph, name: str, bounds: tuple[float, float]) -> tuple[ir.Value, ir.Value]:
    qparams = affine(*bounds, name=name)
    return (
        initializer(graph, f"{name}_scale", qparams.scale),
        initializer(graph, f"{name}_zero_point", qparams.zero_point),
    )


def _insert_pair(graph: ir.Graph, value: ir.Value, parameters: tuple[ir.Value, ir.Value], placement: Placement) -> None:
    name = value.name or ""
    uses = list(value.uses())
    to_integers = _named(ir.node("QuantizeLinear", [value, *parameters]), f"{name}_quantize")
    integers = to_integers.outputs[0]
    integers.dtype, integers.shape = ir.DataType.UINT8, value.shape
    to_reals = _named(ir.node("DequantizeLinear", [integers, *parameters]), f"{name}_dequantize")
    reals = to_reals.outputs[0]
    reals.dtype, reals.shape = ir.DataType.FLOAT, value.shape
    producer, holder = value.producer(), value.graph
    assert isinstance(holder, ir.Graph)
    if producer is not None:
        insert_after(graph, producer, [to_integers, to_reals])
    else:
        insert_before(graph, holder[0], [to_integers, to_reals])
    for use in uses:
        if value in placement.everywhere or use.node in placement.readers:
            use.node.replace_input_with(use.idx, reals)
    if value in placement.everywhere and value.is_graph_output():
        for index, output in enumerate(holder.outputs):
            if output is value:
                holder.outputs[index] = reals
        value.name, reals.name = unique_name(graph, f"{name}_float"), name


def _named(node: ir.Node, name: str) -> ir.Node:
    node.name = name
    node.outputs[0].name = f"{name}d"
    return node


def _beta(node: ir.Node) -> float:
    return node.attributes.get_float("beta", 1.0)
