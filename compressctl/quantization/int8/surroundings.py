"""One layer with what is around it in a model, as a small model of its own: to time it, in float and on integers.

    input -> stand-in -> pooling -> layer -> its activation -> stand-in -> output

A stand-in is a layer of few channels in the place of the real neighbour. It costs little, and it is there for its
form: integers or floats, in the layout of convolutions, which the layer has to take in and to give. Pooling before the
layer belongs to it: it runs on integers only where the layer does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.model import ops
from compressctl.model.graph import constant, is_only_use
from compressctl.quantization.int8.activations import FOLDED
from compressctl.quantization.int8.calibration import Observations
from compressctl.quantization.int8.placement import CARRIERS, COMPUTE, JOINS, Placement
from compressctl.quantization.int8.static import output_axis

_FEW = 16  # channels of a stand-in: a whole block of onnxruntime's layouts, which hold 8 or 16 channels
LAYER, _BEFORE, _AFTER = "layer", "before", "after"
_POOLING = ops.POOLS & (JOINS | CARRIERS)
_ACTIVATIONS = ops.ACTIVATIONS | {"Mul", "Tanh"}


@dataclass(frozen=True)
class Surroundings:
    """A layer's own small model, and the names of what is quantized around it.

    Attributes:
        model: in float; the layer is called LAYER.
        integers: the stand-ins that run on integers.
        observations: ranges that have no meaning, for all tensors.
        key: JSON-able; what the time depends on: operators, attributes and shapes.
    """

    model: ir.Model
    integers: tuple[str, ...]
    observations: Observations
    key: list[object]


def timeable(node: ir.Node) -> bool:
    """Whether a node can stand alone: a Conv, Gemm or MatMul that reads one tensor, and constants."""
    fixed = all(value is None or constant(value) is not None for value in node.inputs[1:])
    return node.op_type in COMPUTE and fixed and constant(node.inputs[0]) is None


def read_by(node: ir.Node) -> ir.Value:
    """What the small model of a node reads in its place: the input of the node, or of the pooling before it."""
    return _head(node)[1]


def joined(node: ir.Node, placement: Placement) -> bool:
    """Whether a placed node reads what another one gives as integers, or gives integers to another."""
    source, last = node.inputs[0], _tail(node)[1]
    return source in placement.everywhere or any(user in placement.readers for user in last.consumers())


def surroundings(
    node: ir.Node, shape: Sequence[int], placement: Placement, opset_imports: dict[str, int]
) -> Surroundings:
    """Return the small model of a `timeable` node.

    Args:
        node: a Conv, Gemm or MatMul with a constant weight; left as it is.
        shape: of what the small model reads: see `read_by`.
        placement: of the model's Q/DQ pairs, with this node in float.
        opset_imports: of the model.
    """
    head, source = _head(node)
    tail, last = _tail(node)
    before = _neighbour(source in placement.everywhere, _behind_layer(source, node.op_type))
    after = _neighbour(last in placement.scale_of, any(user.op_type == node.op_type for user in last.consumers()))
    build = _Builder(node, shape)
    if before is not None:
        build.stand_in(_BEFORE, channels_in=_FEW, channels_out=build.channels_in)
    build.read(source)
    for pooling in head:
        build.copy(pooling)
    build.copy(node, name=LAYER)
    for follower in tail:
        build.copy(follower)
    if after is not None:
        build.stand_in(_AFTER, channels_in=build.channels_out, channels_out=_FEW)
    model = build.finish(opset_imports)
    integers = tuple(name for name, form in ((_BEFORE, before), (_AFTER, after)) if form == "integer")
    ranges = {value.name or "": _range(inner) for inner in model.graph for value in inner.outputs}
    ranges |= {value.name or "": (-4.0, 4.0) for value in model.graph.inputs}
    weight = constant(node.inputs[1])
    assert weight is not None
    key = [
        [[one.op_type, _attributes(one)] for one in (*head, node, *tail)],
        [list(weight.shape), len(node.inputs) > 2],
        list(shape),
        [before, after],
    ]
    return Surroundings(model, integers, Observations(ranges, {}, {}, 0), key)


def _neighbour(integer: bool, layer: bool) -> str | None:
    """The form of a stand-in; None where there is no layer, and the tensor is a plain one of floats."""
    return "integer" if integer else "float" if layer else None


def _behind_layer(value: ir.Value, op_type: str) -> bool:
    """Whether a tensor comes from a node of a type, by way of activations, joins and carriers."""
    seen: set[ir.Value] = set()
    pending: list[ir.Value | None] = [value]
    while pending:
        one = pending.pop()
        producer = one.producer() if one is not None else None
        if one is None or one in seen or producer is None:
            continue
        seen.add(one)
        if producer.op_type == op_type:
            return True
        if producer.op_type in CARRIERS | JOINS | _ACTIVATIONS:
            pending += producer.inputs
    return False


def _head(node: ir.Node) -> tuple[list[ir.Node], ir.Value]:
    """Return the pooling that the node alone reads, in graph order, and what the first of all reads."""
    head: list[ir.Node] = []
    source = node.inputs[0]
    assert source is not None
    while node.op_type == "Conv" and is_only_use(source, head[0] if head else node):
        producer = source.producer()
        if producer is None or producer.op_type not in _POOLING or producer.inputs[0] is None:
            break
        if len(producer.outputs) > 1:
            break
        head.insert(0, producer)
        source = producer.inputs[0]
    return head, source


def _tail(node: ir.Node) -> tuple[list[ir.Node], ir.Value]:
    """Return the activation behind a node, which may be of several nodes (x * sigmoid(x)), and its result."""
    tail: list[ir.Node] = []
    made = {node.outputs[0]}
    for follower in _following(node):
        if follower.op_type not in _ACTIVATIONS or follower.domain or len(follower.outputs) != 1:
            continue
        reads = [value for value in follower.inputs if value is not None and constant(value) is None]
        if reads and all(value in made for value in reads):
            tail.append(follower)
            made.add(follower.outputs[0])
            leaving = [value for value in made if _leaves(value, tail)]
            if len(leaving) == 1:
                return tail, leaving[0]
    return [], node.outputs[0]


def _following(node: ir.Node) -> list[ir.Node]:
    """The users of a node's output and their users, in graph order: as far as one activation goes."""
    near = list(node.outputs[0].consumers())
    far = [user for one in near for value in one.outputs for user in value.consumers()]
    return list(dict.fromkeys([*near, *far])) if all(one.graph is node.graph for one in (*near, *far)) else []


def _leaves(value: ir.Value, inside: Collection[ir.Node]) -> bool:
    return value.is_graph_output() or any(user not in inside for user in value.consumers())


def _range(node: ir.Node) -> tuple[float, float]:
    return (0.0 if node.op_type in FOLDED else -4.0, 4.0)


def _attributes(node: ir.Node) -> list[list[object]]:
    """The attributes that are numbers or text, which say what is computed."""
    plain = {name: one.value for name, one in node.attributes.items() if one.type != ir.AttributeType.TENSOR}
    return [[name, list(value) if isinstance(value, tuple) else value] for name, value in sorted(plain.items())]


class _Builder:
    """Makes the small model, node after node; each reads what the one before it gave."""

    def __init__(self, node: ir.Node, shape: Sequence[int]) -> None:
        weight = constant(node.inputs[1])
        assert weight is not None
        self._op_type, self._shape = node.op_type, list(shape)
        self._axis = 1 if node.op_type == "Conv" else len(shape) - 1
        self.channels_in = int(shape[self._axis])
        self.channels_out = int(weight.shape[output_axis(node)])
        self._nodes: list[ir.Node] = []
        self._constants: dict[str, ir.Value] = {}
        self._values: dict[ir.Value, ir.Value] = {}
        self._input: ir.Value | None = None
        self._last: ir.Value | None = None

    def stand_in(self, name: str, *, channels_in: int, channels_out: int) -> None:
        """Add a 1x1 convolution, or a product with a small matrix."""
        shape: tuple[int, ...] = (channels_in, channels_out)
        if self._op_type == "Conv":
            shape = (channels_out, channels_in, *(1 for _ in self._shape[2:]))
        source = self._source(channels_in)
        weight = self._constant(f"{name}_weight", np.full(shape, 0.01, np.float32))
        self._add(ir.node(self._op_type, [source, weight], name=name))

    def read(self, value: ir.Value) -> None:
        """Let the next nodes read what there is, where they read `value` in the model."""
        self._values[value] = self._source(self.channels_in)

    def copy(self, node: ir.Node, name: str | None = None) -> None:
        """Add a node of the model."""
        inputs = []
        for index, value in enumerate(node.inputs):
            array = constant(value)
            held = value is None or array is None
            inputs.append(self._values[value] if value is not None and array is None else None)
            if not held:
                inputs[-1] = self._constant(f"{node.name}_{index}", np.asarray(array))
        copied = ir.node(node.op_type, inputs, attributes=node.attributes, name=name or node.name)
        self._add(copied)
        self._values[node.outputs[0]] = copied.outputs[0]

    def finish(self, opset_imports: dict[str, int]) -> ir.Model:
        assert self._input is not None and self._last is not None
        self._last.type = ir.TensorType(ir.DataType.FLOAT)
        graph = ir.Graph(
            [self._input],
            [self._last],
            nodes=self._nodes,
            initializers=list(self._constants.values()),
            opset_imports=opset_imports,
            name="surroundings",
        )
        return ir.Model(graph, ir_version=8)

    def _source(self, channels: int) -> ir.Value:
        """What the next node reads: what the last one gave, or the input, made for the first."""
        if self._last is None:
            shape = [channels if axis == self._axis else size for axis, size in enumerate(self._shape)]
            self._input = self._last = ir.Value(name="x", shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        return self._last

    def _add(self, node: ir.Node) -> None:
        self._nodes.append(node)
        self._last = node.outputs[0]
        self._last.name = f"{node.name}_output"
        self._last.type = ir.TensorType(ir.DataType.FLOAT)

    def _constant(self, name: str, array: np.ndarray) -> ir.Value:
        tensor = ir.tensor(np.ascontiguousarray(array), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._constants[name] = value
        return value
