"""Linear layers: nodes that multiply what they read by a constant float matrix, whatever their operator.

Each is seen as matrices [groups, outputs, inputs] that multiply rows [groups, inputs] cut from the activation:

- Conv: a row is the window under the kernel (im2col: channels x kernel), a group is the operator's.
- ConvTranspose: a row is the channels at one place, the outputs are channels x kernel, which then overlap and add up.
- Gemm and MatMul: a row is a vector along the axis that is multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats32
from compressctl.model import ops
from compressctl.model.graph import all_nodes, bodies, constant, is_plain_constant
from compressctl.model.stored import QUANTIZED, why_not_constant
from compressctl.model.tensors import FLOATS


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A node that multiplies what it reads by a constant float matrix.

    Attributes:
        node: a Conv, ConvTranspose, Gemm or MatMul.
        weight_index: which input of `node` the weight is: 1, or 0 in a MatMul with the constant on the left.
        groups: 1 but in grouped convolutions.
        inner: whether it lies in the body of a control flow node, where what it reads cannot be observed.
    """

    node: ir.Node
    weight_index: int
    groups: int
    inner: bool = False

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name or ""

    @property
    def input(self) -> ir.Value:
        """The activation that it reads, now: the layer before it may have been replaced."""
        return self._operand(1 - self.weight_index)

    @property
    def weight(self) -> ir.Value:
        """The constant, of any float type of at least 16 bits; other nodes may use it too."""
        return self._operand(self.weight_index)

    @property
    def stored(self) -> Array:
        """The constant as it is stored; not to be written into."""
        array = constant(self.weight)
        assert array is not None
        return array

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the constant as it is stored."""
        return self.stored.shape

    @property
    def shape(self) -> tuple[int, int, int]:
        """(groups, outputs a group, inputs a group): the shape of `matrix`."""
        stored = self.weight_shape
        first, others = stored[0] // self.groups, int(np.prod(stored[1:]))
        return (self.groups, others, first) if self.inputs_first else (self.groups, first, others)

    def matrix(self, array: Array | None = None) -> Floats32:
        """Return the weight as float32 [groups, outputs, inputs], a new array.

        Args:
            array: another array of the weight's shape, in its place (gradients, a mask).
        """
        stored = self.stored if array is None else array
        groups, outputs, inputs = self.shape
        if self.inputs_first:
            stored = stored.reshape(groups, inputs, outputs).swapaxes(1, 2)
        return np.array(stored.reshape(groups, outputs, inputs), np.float32, order="C")

    def restore(self, matrix: Array) -> Array:
        """Return `matrix` [groups, outputs, inputs] in the shape and type of the weight."""
        ordered = matrix.swapaxes(1, 2) if self.inputs_first else matrix
        return np.ascontiguousarray(ordered).reshape(self.weight_shape).astype(self.stored.dtype)

    def _operand(self, index: int) -> ir.Value:
        value = self.node.inputs[index]
        assert value is not None
        return value

    @property
    def inputs_first(self) -> bool:
        """Whether the constant is stored [inputs, outputs]."""
        if self.node.op_type == "MatMul":
            return self.weight_index == 1
        if self.node.op_type == "Gemm":
            return not self.node.attributes.get_int("transB", 0)
        return self.node.op_type == "ConvTranspose"


def linear_layers(graph: ir.Graph, *, inner: bool = False) -> tuple[LinearLayer, ...]:
    """Return the linear layers of `graph`, in its order; a weight that several nodes share appears once a node.

    Layers whose weights are made from constants while the model runs (transposed, cast, dequantized) are left out: see
    `other_layers`, and run `simplify` first.

    Args:
        graph: the main graph.
        inner: whether those in bodies of control flow count: to who edits weights alone, not to who observes or moves.
    """
    found = map(_linear, all_nodes(graph) if inner else graph)
    return tuple(replace(one, inner=one.node.graph is not graph) for one in found if one is not None)


def other_layers(graph: ir.Graph, *, inner: bool = False) -> Iterator[tuple[ir.Node, str]]:
    """Yield (node, why) for the nodes that multiply by weights and are no linear layers; arguments as there."""
    made: set[ir.Value] = set()  # what nodes make of constants alone
    for node in all_nodes(graph) if inner else graph:
        if node.op_type in ops.RECURRENT and not node.domain:
            yield node, "it is recurrent"
        elif node.op_type in ops.QUANTIZED_LAYERS:
            yield node, QUANTIZED
        elif not inner and any(_linear(one) is not None for body in bodies(node) for one in all_nodes(body)):
            yield node, "its layers are in the body of a control flow node"
        elif node.op_type in ops.LINEAR and not node.domain and _linear(node) is None:
            if reason := _reason(node, made):
                yield node, reason
        elif node.inputs and all(value is None or value in made or _is_constant(value) for value in node.inputs):
            made.update(node.outputs)


def _linear(node: ir.Node) -> LinearLayer | None:
    if node.domain or node.op_type not in ops.LINEAR:
        return None
    for index in ops.OPERANDS[node.op_type].matrices:
        weight, activation = node.inputs[index], node.inputs[1 - index]
        if weight is None or activation is None or _is_constant(activation) or not _is_matrix(node, weight):
            continue
        groups = node.attributes.get_int("group", 1) if node.op_type in ops.CONVOLUTIONS else 1
        return LinearLayer(node, index, groups)
    return None


def _is_matrix(node: ir.Node, weight: ir.Value) -> bool:
    tensor = ir.convenience.get_const_tensor(weight) if is_plain_constant(weight) else None
    if tensor is None or tensor.size == 0 or tensor.dtype not in FLOATS:
        return False
    return len(tensor.shape) >= 3 if node.op_type in ops.CONVOLUTIONS else len(tensor.shape) == 2


def _reason(node: ir.Node, made: set[ir.Value]) -> str | None:
    """Return why `node`, of a linear operator, is no linear layer; None where it multiplies activations."""
    fixed = [value for value in node.inputs[:2] if value is not None and (value in made or _is_constant(value))]
    if len(fixed) != 1:
        return None
    producer = fixed[0].producer()
    if fixed[0] in made and producer is not None:
        return why_not_constant(fixed[0])
    if node.op_type == "Gemm" and fixed[0] is node.inputs[0]:
        return "its constant is the first operand"
    shape = "x".join(map(str, fixed[0].shape or ()))
    return f"its constant of shape {shape or 'unknown'} is no matrix of floats"


def _is_constant(value: ir.Value) -> bool:
    return is_plain_constant(value) or constant(value) is not None
