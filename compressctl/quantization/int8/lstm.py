"""LSTM with int8 weights: com.microsoft.DynamicQuantizeLSTM.

Inputs and hidden states are quantized to 8 bits at run time; gates, cell states, biases and peepholes stay float.
Source: onnxruntime's contrib operator reference; the ONNX LSTM specification for all that the two share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compressctl.model.footprint import node_bytes, tensor_bytes
from compressctl.model.graph import ensure_opset, initializer, replace_node
from compressctl.notes import Note, done
from compressctl.quantization.int8.weights import Int8Weights, int8_saving, make_node, obstacle_of, shape_of, stand_in

DOMAIN = "com.microsoft"
_OPTIONAL_INPUTS = 5  # B, sequence_lens, initial_h, initial_c, P: they follow X, W, R in both operators


def obstacle(node: ir.Node) -> str | None:
    """Return why the LSTM `node` cannot be quantized, or None."""
    if node.attributes.get_int("layout", 0) != 0:
        return "its layout is 1 (batch first), for which there is no kernel"
    return obstacle_of(node.inputs[1]) or obstacle_of(node.inputs[2])


def saved_bytes(node: ir.Node) -> int:
    """Return by how many bytes quantizing `node`, which has no obstacle, shrinks the file.

    Nodes that use the same weight share what is saved on it.
    """
    saved, quantized = node_bytes([node]), []
    for weight in node.inputs[1:3]:
        assert weight is not None
        shape = shape_of(weight)
        saved += int8_saving(weight, shape, shape[:2])
        quantized += [stand_in(weight, "_int8"), stand_in(weight, "_scale")]
    saved -= tensor_bytes(_zero_name(node), ir.DataType.INT8, shape[:2])
    inputs = [value and stand_in(value) for value in node.inputs]
    return saved - node_bytes([_emit(node, inputs, quantized, ir.Value(name=_zero_name(node)))])


def quantize(model: ir.Model, node: ir.Node, weights: Int8Weights) -> Note:
    """Replace an LSTM, which has no obstacle, by DynamicQuantizeLSTM with one weight scale per gate unit
    [directions, 4*hidden]."""
    quantized: list[ir.Value] = []
    for weight in node.inputs[1:3]:
        assert weight is not None
        quantized += [weights.values(weight, "rows", transposed=True), weights.scale(weight, "rows")]
    zero = initializer(model.graph, _zero_name(node), np.zeros(shape_of(quantized[1]), np.int8))
    replace_node(model.graph, node, [_emit(node, node.inputs, quantized, zero)])
    ensure_opset(model, DOMAIN, 1)
    return done("LSTM weights to int8, inputs and hidden states quantized as they come", node.name)


def _emit(node: ir.Node, inputs: Sequence[ir.Value | None], quantized: Sequence[ir.Value], zero: ir.Value) -> ir.Node:
    """Return the node for `quantized` = (W, W's scale, R, R's scale); W and R share their zero point."""
    w, w_scale, r, r_scale = quantized
    optional = [*inputs[3:], *[None] * _OPTIONAL_INPUTS][:_OPTIONAL_INPUTS]
    new = make_node(
        "DynamicQuantizeLSTM",
        [inputs[0], w, r, *optional, w_scale, zero, r_scale, zero],
        *(output.name or "" for output in node.outputs),
        domain=DOMAIN,
    )
    new.attributes.update({name: value for name, value in node.attributes.items() if name != "layout"})
    return new


def _zero_name(node: ir.Node) -> str:
    return f"{node.name}_zero_point"
