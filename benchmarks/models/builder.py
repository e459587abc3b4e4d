"""A small ONNX graph builder: nodes by operator name, weights by shape, everything random from one seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Graph:
    """A graph under construction. Methods return the name of the value that they add."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name = name
        self.random = np.random.default_rng(seed)
        self._inputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def input(self, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        name = f"{op_type}_{len(self._nodes)}"
        output = f"{name}_output"
        self._nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))
        return output

    def constant(self, array: NDArray[Any]) -> str:
        """Add an initializer."""
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        """Add a one-dimensional int64 initializer (axes, shapes, pads)."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """Add a float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def normal(self, shape: Sequence[int], std: float, mean: float = 0.0) -> str:
        """Add a normally distributed float32 initializer."""
        return self.constant(self.random.normal(mean, std, shape).astype(np.float32))

    def uniform(self, shape: Sequence[int], low: float, high: float) -> str:
        """Add a uniformly distributed float32 initializer."""
        return self.constant(self.random.uniform(low, high, shape).astype(np.float32))

    def evaluate(self, value: str, feeds: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Run what there is of the graph."""
        model = self._model(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
        return onnxruntime.InferenceSession(model.SerializeToString()).run([value], feeds)[0]

    def save(self, path: Path, value: str, name: str, shape: Sequence[int | str]) -> None:
        """Check the graph and write it, with `value` as its only output, under the given name."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name="result"))
        model = self._model(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        onnx.checker.check_model(model)
        onnx.save_model(model, path)

    def _model(self, output: onnx.ValueInfoProto) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, self.name, self._inputs, [output], self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
