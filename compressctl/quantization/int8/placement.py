"""Decide which activations of a graph become 8-bit tensors, such that onnxruntime's integer kernels form around them.

What onnxruntime fuses on the CPU decides the rules (its QDQ transformers):

1. A chosen Conv needs a quantized input and output; a Relu or Clip that alone follows it belongs to it. Behind any
   other activation (HardSwish, Tanh, …) its output is quantized right after the Conv.
2. A chosen Gemm or MatMul needs a quantized input; its output stays float unless a consumer wants it quantized, or a
   Relu or Clip follows: onnxruntime then forms the kernel only if that one's result is quantized (or the graph's).
3. A *join* (Add, Mul, Concat, pooling, LeakyRelu, Sigmoid, HardSigmoid) between quantized tensors is quantized when
   its result is wanted quantized further on: all its inputs and its output. What feeds a Concat alone shares the scale
   of its result (`sharing.py`). The result of pooling is wanted where nothing but the model's output follows, too.
4. A *carrier* (MaxPool, Reshape, Transpose, …) keeps the scale and zero point of its input.
5. A tensor whose producer emits integers is read dequantized by all its consumers. Any other tensor is read dequantized
   only by the nodes that want it so: residual paths of transformers keep full precision. Nothing is quantized between
   the nodes of a Gelu (`written_out.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import constant, operand, walk_subgraphs
from compressctl.quantization.int8.activations import after_activation, foldable
from compressctl.quantization.int8.sharing import shared_scales
from compressctl.quantization.int8.written_out import WrittenOut, written_out

COMPUTE = {"Conv", "Gemm", "MatMul"}
_SEVERAL = {"Add", "Mul", "Concat"}  # joins of several tensors
JOINS = _SEVERAL | ops.AVERAGES | {"LeakyRelu", "Sigmoid", "HardSigmoid"}
CARRIERS = ops.MOVEMENT | {"DepthToSpace", "MaxPool", "ReduceMax", "ReduceMin", "Resize"}
_LAST = ops.VIEWS | ops.SOFTMAX | {"Identity", "Sigmoid"}


@dataclass
class Placement:
    """Where Q/DQ pairs go.

    Attributes:
        weighted: the nodes whose weights become int8, in graph order.
        scale_of: quantized tensor -> the tensor that it has its scale and zero point from: itself, unless that is
            carried or shared.
        everywhere: the quantized tensors that all consumers read dequantized; the others are read so by `readers` only.
        readers: nodes that read a dequantized tensor.
        joins: the other nodes that run on integers, in graph order.
        activations: those of several nodes, all in float, that read a dequantized tensor.
    """

    weighted: list[ir.Node] = field(default_factory=list)
    scale_of: dict[ir.Value, ir.Value] = field(default_factory=dict)
    everywhere: set[ir.Value] = field(default_factory=set)
    readers: set[ir.Node] = field(default_factory=set)
    joins: list[ir.Node] = field(default_factory=list)
    activations: list[WrittenOut] = field(default_factory=list)

    @property
    def observed(self) -> list[ir.Value]:
        """The tensors whose ranges are needed."""
        return list(dict.fromkeys(self.scale_of.values()))


def place(graph: ir.Graph, chosen: Collection[ir.Node], in_float: Collection[str] = ()) -> Placement:
    """Place Q/DQ pairs around the `chosen` Conv, Gemm and MatMul nodes of `graph` and of bodies in it; edits nothing.

    Each graph is placed by itself: kernels form within one, and what bodies read from around is `bodies.detach`ed.
    Joins that read or make a tensor named in `in_float` stay in float.
    """
    placement = Placement()
    for holder in (graph, *(body for _, _, body in walk_subgraphs(graph))):
        if inside := {node for node in chosen if node.graph is holder}:
            _place_in(holder, inside, in_float, placement)
    return placement


def _place_in(graph: ir.Graph, chosen: Collection[ir.Node], in_float: Collection[str], whole: Placement) -> None:
    """Add to `whole` what the `chosen` nodes of one graph need."""
    placement = Placement()
    activations = written_out(graph)
    inside = {node for one in activations for node in one.nodes}
    wanted = _wanted(graph, chosen, inside)
    integer: dict[ir.Value, ir.Value] = placement.scale_of
    for node in graph:
        if node in chosen:
            placement.weighted.append(node)
            _quantize_input(placement, node)
            if _emits(node):
                _quantize_output(placement, node)
        elif node in inside:
            continue
        elif _joins(node):
            inputs = [value for value in node.inputs if value is not None]
            joined = after_activation(node) if node.op_type in _SEVERAL else node.outputs[0]
            if (
                any(value in placement.everywhere for value in inputs)
                and joined in wanted
                and not any(value.name in in_float for value in (*inputs, joined))
                and all(constant(value) is None and _is_float(value) and value.graph is graph for value in inputs)
            ):
                placement.joins.append(node)
                placement.readers.add(node)
                for value in inputs:
                    integer.setdefault(value, value)
                _quantize_output(placement, node)
        elif _carries(node):
            source = node.inputs[0]
            if source in placement.everywhere and any(output in wanted for output in node.outputs):
                placement.joins.append(node)
                placement.readers.add(node)
                for output in node.outputs:
                    integer[output] = integer[source]
                    placement.everywhere.add(output)
    placement.activations = [one for one in activations if one.source in placement.everywhere]
    whole.weighted += placement.weighted
    for value, root in shared_scales(graph, placement.scale_of, placement.joins).items():
        whole.scale_of.setdefault(value, root)
    whole.everywhere |= placement.everywhere
    whole.readers |= placement.readers
    whole.joins += placement.joins
    whole.activations += placement.activations


def quantized_around(node: ir.Node) -> list[ir.Value]:
    """Return the tensors that must be quantized for a Conv, Gemm or MatMul to run on integers."""
    return [_source(node), after_activation(node)] if _emits(node) else [_source(node)]


def _emits(node: ir.Node) -> bool:
    """Whether the kernel of a Conv, Gemm or MatMul forms only if its result is quantized, too."""
    return node.op_type == "Conv" or (followed_by_activation(node) and bool(after_activation(node).uses()))


def followed_by_activation(node: ir.Node) -> bool:
    """Whether a Relu or Clip that onnxruntime folds into the quantization alone reads the node's output."""
    return after_activation(node) is not node.outputs[0]


def _wanted(graph: ir.Graph, chosen: Collection[ir.Node], inside: Collection[ir.Node]) -> set[ir.Value]:
    """The tensors that a chosen node or the end of the graph reads, through joins, carriers and their activations."""
    wanted = _pooled_last(graph)
    for node in reversed(list(graph)):
        if node in chosen:
            wanted.add(_source(node))
        elif node not in inside and any(output in wanted for output in node.outputs) and node.domain == "":
            if _joins(node):
                wanted.update(value for value in node.inputs if value is not None)
            elif _carries(node) or foldable(node):
                source = node.inputs[0]
                if source is not None:
                    wanted.add(source)
    return wanted


def _pooled_last(graph: ir.Graph) -> set[ir.Value]:
    """The results of pooling that nothing but an output follows: one that is rearranged, or made probabilities."""
    last: set[ir.Value] = set()
    for node in reversed(list(graph)):
        followers = [user for value in node.outputs for user in value.consumers()]
        if all(user.op_type in _LAST and user.outputs[0] in last for user in followers):
            last.add(node.outputs[0])
    return {node.outputs[0] for node in graph if node.op_type in ops.POOLS and node.outputs[0] in last}


def _source(node: ir.Node) -> ir.Value:
    """The tensor that a Conv, Gemm or MatMul reads beside its weight."""
    source = node.inputs[0]
    assert source is not None
    return source


def _quantize_input(placement: Placement, node: ir.Node) -> None:
    placement.readers.add(node)
    placement.scale_of.setdefault(_source(node), _source(node))


def _quantize_output(placement: Placement, node: ir.Node) -> None:
    value = after_activation(node) if node.op_type in COMPUTE | _SEVERAL else node.outputs[0]
    placement.scale_of.setdefault(value, value)
    placement.everywhere.add(value)


def _joins(node: ir.Node) -> bool:
    if node.op_type not in JOINS or node.domain != "":
        return False
    return node.op_type != "HardSigmoid" or min(hard_sigmoid(node)) > 0


def hard_sigmoid(node: ir.Node) -> tuple[float, float]:
    """Return alpha and beta of a HardSigmoid: clip(alpha * x + beta, 0, 1)."""
    return node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)


def _carries(node: ir.Node) -> bool:
    if node.op_type not in CARRIERS or node.domain != "" or not node.inputs or node.inputs[0] is None:
        return False
    if constant(node.inputs[0]) is not None or not _is_float(node.inputs[0]):
        return False
    if node.op_type == "Resize":
        return node.attributes.get_string("mode", "nearest") in ("nearest", "linear")
    if node.op_type == "Pad":
        return _pads_with_zero(node)
    return not (node.op_type == "MaxPool" and len(node.outputs) > 1)


def _pads_with_zero(node: ir.Node) -> bool:
    mode = node.attributes.get_string("mode", "constant")
    value = np.zeros(()) if operand(node, 2) is None else constant(operand(node, 2))
    return mode == "constant" and value is not None and float(value) == 0.0


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (None, ir.DataType.FLOAT)
