"""Activations that quantization to unsigned integers does by itself: what it cannot represent, it saturates.

onnxruntime folds a Relu, or a Clip from 0 upwards, into the QuantizeLinear behind it where saturation does the same:
where the zero point is 0 and, for a Clip, 255 * scale keeps to its upper bound.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import constant, operand

FOLDED = {"Relu", "Clip"}
_KEEPING = ops.MOVEMENT | ops.AVERAGES | {"DepthToSpace", "MaxPool", "ReduceMax", "ReduceMin"}  # within bounds, and 0
_ALL = (-math.inf, math.inf)


def after_activation(node: ir.Node) -> ir.Value:
    """The output of the node, or of the Relu or Clip that alone reads it."""
    value = node.outputs[0]
    uses = list(value.uses())
    if value.is_graph_output() or len(uses) != 1 or uses[0].idx != 0 or uses[0].node.graph is not node.graph:
        return value
    follower = uses[0].node
    return follower.outputs[0] if foldable(follower) else value


def foldable(node: ir.Node) -> bool:
    """A Relu, or a Clip from 0 upwards: saturation of an unsigned integer with zero point 0 does the same."""
    if node.op_type == "Relu":
        return True
    if node.op_type != "Clip" or len(node.inputs) < 2:
        return False
    low = constant(node.inputs[1])
    high = constant(operand(node, 2))
    return low is not None and float(low) == 0.0 and (operand(node, 2) is None or high is not None)


def activation_limit(value: ir.Value) -> float:
    """Return the largest real that quantization of `value` may reach: infinity unless a Clip bounds it.

    onnxruntime folds a Clip into the quantization only where saturation alone does the same, so 255 * scale in float32
    must never pass the bound; hence it is a hair less.
    """
    producer = value.producer()
    if producer is None or producer.op_type != "Clip" or len(producer.inputs) < 3:
        return math.inf
    bound = constant(producer.inputs[2])
    return float(bound) * (1 - 1e-6) if bound is not None else math.inf


def bounds(graph: ir.Graph) -> dict[ir.Value, tuple[float, float]]:
    """Return what operators alone say of the least and largest elements of values; nothing of those left out."""
    found: dict[ir.Value, tuple[float, float]] = {}
    for node in graph:
        if node.domain or not node.inputs:
            continue
        several = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        before = [found.get(value, _ALL) if value is not None else _ALL for value in several]
        low, high = min(low for low, _ in before), max(high for _, high in before)
        if node.op_type in ("HardSigmoid", "Sigmoid"):
            low, high = 0.0, 1.0
        elif foldable(node):
            most = constant(operand(node, 2)) if node.op_type == "Clip" else None
            low, high = max(low, 0.0), high if most is None else min(high, float(most))
        elif node.op_type != "Concat" and node.op_type not in _KEEPING:
            continue
        if (low, high) != _ALL:
            found.update(dict.fromkeys(node.outputs, (low, high)))
    return found
