"""The bias of a linear layer: an operand of the node, or of the Add behind a MatMul."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array, Floats
from compressctl.layers.linear import LinearLayer
from compressctl.model.graph import constant, holder_of, initializer, is_only_use, operand, set_constant


@dataclass(frozen=True, eq=False)
class Bias:
    """A constant that is added to each output of a layer.

    Attributes:
        node: who reads it.
        index: as which input.
        array: [outputs], as float64.
    """

    node: ir.Node
    index: int
    array: Floats

    def replace(self, array: Floats) -> None:
        """Let the node read another bias; other readers of the constant keep theirs."""
        value = self.node.inputs[self.index]
        old = constant(value)
        assert value is not None and old is not None
        new = array.reshape(old.shape).astype(old.dtype)
        if is_only_use(value, self.node):
            set_constant(value, new)
        else:
            self.node.replace_input_with(self.index, initializer(holder_of(self.node), f"{value.name}_own", new))


def find_bias(layer: LinearLayer) -> Bias | None:
    """Return the bias of a layer; None where there is none, or it is no constant with one element an output."""
    node = layer.node
    if node.op_type == "Conv":
        return _bias(node, 2, layer)
    if node.op_type == "Gemm":
        plain = node.attributes.get_float("alpha", 1.0) == 1 and node.attributes.get_float("beta", 1.0) == 1
        return _bias(node, 2, layer) if plain else None
    if node.op_type == "MatMul" and layer.weight_index == 1:
        output = node.outputs[0]
        readers = output.consumers()
        if (
            len(readers) == 1
            and not output.is_graph_output()
            and (readers[0].op_type, readers[0].domain) == ("Add", "")
        ):
            return _bias(readers[0], 1 if readers[0].inputs[0] is output else 0, layer)
    return None


def _bias(node: ir.Node, index: int, layer: LinearLayer) -> Bias | None:
    array: Array | None = constant(operand(node, index))
    groups, outputs, _ = layer.shape
    if array is None or array.size != groups * outputs or (array.ndim and array.shape[-1] != array.size):
        return None
    return Bias(node, index, array.reshape(-1).astype(np.float64))
