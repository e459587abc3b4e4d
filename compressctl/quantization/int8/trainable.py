"""The graph that static quantization makes, with float weights that are rounded in the graph; and its folding.

A weight reaches its node through QuantizeLinear [-> Clip] -> DequantizeLinear, or, on the grid of signs, through
Where(weight >= 0, 1, -1) -> DequantizeLinear. That is standard ONNX: it runs in onnxruntime, and training moves its
weights, biases and scales. Folding stores the integers and finishes the graph as onnxruntime's kernels want it; the
result computes bit for bit the same, but for the bias of a Gemm (rounded to 32 bits), HardSigmoid (now a sum), and Gelu
(now one node).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from compressctl.model.graph import all_nodes
from compressctl.notes import Note, done, skipped
from compressctl.quantization.int8.activations import activation_limit
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.packing import pack_weights
from compressctl.quantization.int8.placement import Placement, place
from compressctl.quantization.int8.plan import QuantizationPlan, named
from compressctl.quantization.int8.quantizers import (
    Quantizer,
    Settings,
    bias_and_input_scale,
    fold_weights,
    round_in_graph,
)
from compressctl.quantization.int8.static import (
    add_hard_sigmoids,
    insert_qdq,
    integer_bias,
    output_axis,
    pad_integers,
    shield_float_nodes,
)
from compressctl.quantization.int8.written_out import write_in_one


@dataclass(frozen=True)
class ScaleLimit:
    """What a learned scale must keep to for integer kernels to form and hold its layer's bias.

    Attributes:
        scale: the initializer.
        most: the largest value; infinity where there is none.
        bias, input_scale: the initializers that give the smallest value by `least_weight_scale`, or None.
    """

    scale: ir.Value
    most: float = math.inf
    bias: ir.Value | None = None
    input_scale: ir.Value | None = None


@dataclass(frozen=True)
class Trainable:
    """A model whose activations and weights are rounded in the graph.

    Attributes:
        graph: the main graph.
        placement: its quantized tensors and nodes.
        quantizers: those of its weights, in graph order.
        inputs: the value that each weighted node read before it was quantized.
    """

    graph: ir.Graph
    placement: Placement
    quantizers: tuple[Quantizer, ...]
    inputs: Mapping[ir.Node, ir.Value | None]

    @property
    def scales(self) -> list[ir.Value]:
        """All scales, of activations and weights."""
        values = [pair.inputs[1] for pair in self._pairs()] + [quantizer.scale for quantizer in self.quantizers]
        return list(dict.fromkeys(value for value in values if value is not None))

    def limits(self) -> list[ScaleLimit]:
        """What the scales must keep to while they are trained; a scale may have several."""
        limits = []
        for pair in self._pairs():
            scale, source = pair.inputs[1], pair.inputs[0]
            bound = activation_limit(source) if source is not None else math.inf
            if scale is not None and bound < math.inf:
                limits.append(ScaleLimit(scale, most=bound / 255))
        for quantizer in self.quantizers:
            found = bias_and_input_scale(quantizer.node, quantizer.floats.shape[output_axis(quantizer.node)])
            if found is not None:
                limits.append(ScaleLimit(quantizer.scale, bias=found[0], input_scale=found[1]))
        return limits

    def _pairs(self) -> list[ir.Node]:
        """The QuantizeLinear nodes of activations."""
        weights = {quantizer.weight for quantizer in self.quantizers}
        nodes = list(all_nodes(self.graph))
        return [node for node in nodes if node.op_type == "QuantizeLinear" and node.inputs[0] not in weights]


def placement_of(model: ir.Model, plan: QuantizationPlan) -> Placement:
    """Where the static part of a plan puts Q/DQ pairs."""
    return place(model.graph, set(named(model.graph, plan.static)), plan.in_float)


def make_trainable(
    model: ir.Model, plan: QuantizationPlan, observations: Observations, settings: Settings
) -> Trainable:
    """Quantize the static nodes of `plan` in place, leaving the weights float behind the nodes that round them.

    Args:
        model: edited in place; weights are shared with clones and never written into.
        plan: what to quantize, made for a clone of the same model.
        observations: ranges of the tensors of `placement_of(model, plan)`.
        settings: the grids of the weights.

    Raises:
        ModelError: a weight holds NaN or infinity.
    """
    placement = placement_of(model, plan)
    inputs = {node: node.inputs[0] for node in placement.weighted}
    insert_qdq(model, placement, observations.ranges)
    return Trainable(model.graph, placement, tuple(round_in_graph(model, placement.weighted, settings)), inputs)


def finish(model: ir.Model, trainable: Trainable) -> list[Note]:
    """Give the graph, whose weights are folded and biases final, the form that onnxruntime's integer kernels need."""
    placement = trainable.placement
    pad_integers(model, placement)
    add_hard_sigmoids(model, placement)
    for activation in placement.activations:
        write_in_one(model, activation)
    misfits = integer_bias(model, placement)
    shield_float_nodes(model, placement.weighted)
    counts = Counter(node.op_type for node in placement.weighted + placement.joins)
    listed = ", ".join(f"{count} {op}" for op, count in counts.most_common())
    notes = [done(f"static INT8: {listed}")]
    narrow = [(value, one.grid) for one in trainable.quantizers if one.grid.bits < 7 for value in _integers(one)]
    notes += pack_weights(model.graph, narrow)
    return notes + [
        skipped("its bias does not fit 32-bit integers, so it runs in float", node.name) for node in misfits
    ]


def _integers(quantizer: Quantizer) -> list[ir.Value]:
    """The initializer of a folded weight."""
    pair = quantizer.dequantized.producer()
    value = pair.inputs[0] if pair is not None else None
    return [value] if value is not None and value.is_initializer() else []


def fold(model: ir.Model, trainable: Trainable) -> list[Note]:
    """Turn a trained graph into the integer graph that `apply` would make of its weights and scales, in place."""
    fold_weights(model, trainable.quantizers)
    return finish(model, trainable)
