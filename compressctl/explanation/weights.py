"""The weights of a layer in the result, as floats: whatever form they are stored and computed in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.explanation.layers import WeightedNode, constant_values
from compressctl.measure.captures import section
from compressctl.measure.session import Session
from compressctl.model import ops
from compressctl.model.graph import bias_of, constant
from compressctl.model.qops import quantized_inputs

_MOST_ROWS = 1 << 14  # that a product of matrices is tried with at once


@dataclass(frozen=True)
class Weights:
    """Weights of a layer, in the shapes of the operator in the original.

    Attributes:
        arrays: W, of recurrent layers W and R.
        bias: of a convolution or a product of matrices, or None.
    """

    arrays: tuple[Array, ...]
    bias: Array | None = None


def weight_indices(layer: WeightedNode) -> tuple[int, ...]:
    """Return which inputs of a layer its weights are."""
    return ops.OPERANDS[layer.op].weights if layer.op in ops.RECURRENT else (layer.weight,)


class ResultWeights:
    """Reads the weights of layers out of a result.

    Args:
        result: the model.
        threads: of onnxruntime.
    """

    def __init__(self, result: ir.Model, threads: int) -> None:
        self._model, self._threads = result, threads
        self._nodes = {node.name: node for node in result.graph}
        self._givers = {output.name: node for node in result.graph for output in node.outputs}
        self._fixed = constant_values(result.graph)

    def of(self, layer: WeightedNode, given: str, original: ir.Node) -> Weights | None:
        """Return the weights of a layer; None where the result computes it in a way that has no such weights.

        Args:
            layer: of the original.
            given: the value of the result that the layer gives there.
            original: its node there.
        """
        node = self._nodes.get(layer.name)
        giver = self._givers.get(given)
        if node is not None and node.op_type == original.op_type and self._reads_constant(node, layer.weight):
            return self._stored(node, layer)
        if giver is not None and giver.op_type == "DynamicQuantizeLSTM" and original.op_type == "LSTM":
            return self._dynamic_lstm(giver)
        if original.op_type == "Gather":
            return self._looked_up(layer, given, original)
        if original.op_type in ops.PRODUCTS and layer.weight == 1:
            return self._product(layer, given, original)
        return None

    def _reads_constant(self, node: ir.Node, index: int) -> bool:
        return index < len(node.inputs) and node.inputs[index] in self._fixed

    def _stored(self, node: ir.Node, layer: WeightedNode) -> Weights:
        arrays = tuple(self._evaluate(node.inputs[index]) for index in weight_indices(layer))
        bias = bias_of(node) if node.op_type in ops.BIASED else None
        return Weights(arrays, None if bias is None else self._evaluate(bias))

    def _evaluate(self, value: ir.Value | None) -> Array:
        """Return a value that depends on constants alone, as onnxruntime computes it."""
        array = constant(value)
        if array is not None:
            return array
        assert value is not None
        part = Session(section(self._model, [], [value.name or ""]), threads=self._threads)
        return next(iter(part.run({}).values()))

    def _dynamic_lstm(self, node: ir.Node) -> Weights:
        """Undo the layout [directions, inputs, 4 hidden] and the scales of DynamicQuantizeLSTM."""
        arrays = []
        for tensor, scale, zero in quantized_inputs(node):
            integers, scales, zeros = (self._evaluate(value) for value in (tensor, scale, zero))
            scales, zeros = (x.reshape(len(integers), 1, -1) for x in (scales, zeros))
            floats = (integers.astype(np.float32) - zeros.astype(np.float32)) * scales
            arrays.append(np.ascontiguousarray(floats.swapaxes(1, 2)))
        return Weights(tuple(arrays))

    def _looked_up(self, layer: WeightedNode, given: str, original: ir.Node) -> Weights | None:
        """Look every row of an embedding up."""
        table = constant(original.inputs[0])
        ids = original.inputs[1]
        if table is None or ids is None or original.attributes.get_int("axis", 0) != 0:
            return None
        dtype = (ids.dtype or ir.DataType.INT64).numpy()
        sizes = [dim if isinstance(dim, int) else 1 for dim in (ids.shape or (1,))[1:]]
        every = np.resize(np.arange(len(table)), (-(-len(table) // math.prod(sizes)), *sizes))
        rows = self._run(layer.input, given, every.astype(dtype))
        if rows is None or rows.size != every.size * math.prod(table.shape[1:]):
            return None
        return Weights((rows.reshape(-1, *table.shape[1:])[: len(table)],))

    def _product(self, layer: WeightedNode, given: str, original: ir.Node) -> Weights | None:
        """Multiply by the identity matrix, and by 0 for the bias: what is quantized on the fly is exact for both."""
        weight = original.inputs[1]
        if weight is None or weight.shape is None or not weight.shape.is_static() or len(weight.shape) != 2:
            return None
        transposed = original.attributes.get_int("transB", 0) != 0
        size = int(weight.shape[1 if transposed else 0])  # type: ignore[arg-type]
        if size > _MOST_ROWS or original.attributes.get_int("transA", 0) != 0:
            return None
        rows = self._run(layer.input, given, np.eye(size + 1, size, dtype=np.float32))
        if rows is None or rows.ndim != 2:
            return None
        bias, matrix = rows[-1], rows[:-1] - rows[-1]
        return Weights((np.ascontiguousarray(matrix.T) if transposed else matrix,), bias if bias.any() else None)

    def _run(self, name: str, given: str, feed: Array) -> Array | None:
        """Run the part of the result between two values; None where other activations have a part in it."""
        inputs = {value.name for value in self._model.graph.inputs}
        if name not in self._givers and name not in inputs:
            return None
        try:
            part = section(self._model, [name], [given], {name: ir.DataType.from_numpy(feed.dtype)})
        except ValueError:  # it reads something else, too
            return None
        for value in part.graph.inputs:
            value.shape = ir.Shape([None] * feed.ndim)
        for value in part.graph.outputs:
            value.shape = None
        return next(iter(Session(part, threads=self._threads).run({name: feed}).values()))
