"""Observing tensors inside onnxruntime: append to a graph the small reductions that measure them.

Only the observed tensors get one more consumer, so onnxruntime fuses everything else as it does without, and no
activation leaves it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from compressctl.errors import ModelError
from compressctl.model.graph import initializer, unique_name
from compressctl.model.ops import CHANNEL_NORMS, CONVOLUTIONS

_CHANNELS_SECOND = CONVOLUTIONS | CHANNEL_NORMS


@dataclass
class Observed:
    """The names of the outputs that measure each observed tensor.

    Attributes:
        low: scalar minimum; absent where the tensor cannot be negative.
        high: scalar maximum.
        sum: scalar sum, NaN wherever the tensor holds one (the extrema pass over NaN).
        sample: vector of values spread evenly over the tensor.
        mean: vector of means, one a channel.
        size: scalar number of elements, of tensors with a mean.
        channel_low: vector of minima over all but the last axis.
        channel_high: vector of maxima over all but the last axis.
        stride: input that scales the distance of sampled values: a float64 scalar, distance / number of elements;
            None where nothing is sampled.
    """

    low: dict[str, str] = field(default_factory=dict)
    high: dict[str, str] = field(default_factory=dict)
    sum: dict[str, str] = field(default_factory=dict)
    sample: dict[str, str] = field(default_factory=dict)
    mean: dict[str, str] = field(default_factory=dict)
    size: dict[str, str] = field(default_factory=dict)
    channel_low: dict[str, str] = field(default_factory=dict)
    channel_high: dict[str, str] = field(default_factory=dict)
    stride: str | None = None


def observable(graph: ir.Graph, names: Collection[str]) -> dict[str, ir.Value]:
    """Return the values of `graph` that bear `names`, without repeats.

    Raises:
        ModelError: no such value in the graph itself (bodies of If, Loop and Scan do not count), or it is not numeric.
    """
    values = {value.name: value for node in graph for value in node.outputs}
    values |= {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    found = {}
    for name in names:
        value = values.get(name)
        if value is None:
            raise ModelError(
                f"tensor {name!r} cannot be observed: it is not in the main graph",
                "values inside If, Loop and Scan bodies stay in float",
            )
        if value.dtype == ir.DataType.STRING:
            raise ModelError(f"tensor {name!r} cannot be observed: it holds strings")
        found[name] = value
    return found


class Observer:
    """Appends observers to a model, which it edits in place: they are its outputs, and its own are gone."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.observed = Observed()
        self._axes_are_inputs = model.opset_imports.get("", 0) >= 18
        self._constants: dict[str, ir.Value] = {}
        self._floats: dict[ir.Value, ir.Value] = {}
        self._flats: dict[ir.Value, ir.Value] = {}
        self._stride: ir.Value | None = None
        self.graph.outputs.clear()

    def extrema(self, value: ir.Value) -> None:
        """Measure the minimum, maximum and sum of all elements."""
        name, real = _name(value), self._float(value)
        self.observed.high[name] = self._output("ReduceMax", [real], ir.DataType.FLOAT, keepdims=0)
        producer = value.producer()
        if producer is None or producer.op_type != "Relu":
            self.observed.low[name] = self._output("ReduceMin", [real], ir.DataType.FLOAT, keepdims=0)
        self.observed.sum[name] = self._output("ReduceSum", [real], ir.DataType.FLOAT, keepdims=0)

    def sample(self, value: ir.Value) -> None:
        """Pick values spread evenly over the tensor, all where it is small enough for the stride fed.

        The distance is a real number, so that it has no common factor with rows or channels.
        """
        if self._stride is None:
            self._stride = ir.Value(
                name=unique_name(self.graph, "sampling_stride"),
                type=ir.TensorType(ir.DataType.DOUBLE),
                shape=ir.Shape([]),
            )
            self.graph.inputs.append(self._stride)
            self.observed.stride = self._stride.name
        size = self._add("Cast", [self._add("Size", [value])], to=ir.DataType.DOUBLE)
        distance = self._add("Max", [self._add("Mul", [size, self._stride]), self._constant("one", np.float64(1))])
        steps = self._add("Range", [self._constant("zero", np.float64(0)), size, distance])
        places = self._add("Cast", [steps], to=ir.DataType.INT64)
        flat = self._add("Reshape", [value, self._constant("flat", np.array([-1]))])
        picked = self._add("GatherElements", [flat, places])  # 4 times as fast as Gather for single values
        self.observed.sample[_name(value)] = self._output("Cast", [picked], ir.DataType.FLOAT, to=ir.DataType.FLOAT)

    def channel_mean(self, value: ir.Value) -> None:
        """Measure the mean of each channel: axis 1 of what a convolution or normalisation reads, else the last axis."""
        name, real = _name(value), self._float(value)
        if any(node.op_type in _CHANNELS_SECOND for node in value.consumers()):
            folded = self._add("Reshape", [real, self._constant("channels", np.array([0, 0, -1]))])
            self.observed.mean[name] = self._reduce("ReduceMean", folded, (0, 2))
        else:
            self.observed.mean[name] = self._reduce("ReduceMean", self._rows(real), (0,))
        self.observed.size[name] = self._output("Size", [value], ir.DataType.INT64)

    def channel_extrema(self, value: ir.Value) -> None:
        """Measure minimum and maximum over all but the last axis."""
        name, rows = _name(value), self._rows(self._float(value))
        self.observed.channel_low[name] = self._reduce("ReduceMin", rows, (0,))
        self.observed.channel_high[name] = self._reduce("ReduceMax", rows, (0,))

    def _float(self, value: ir.Value) -> ir.Value:
        if value.dtype == ir.DataType.FLOAT:
            return value
        if value not in self._floats:
            self._floats[value] = self._add("Cast", [value], to=ir.DataType.FLOAT)
        return self._floats[value]

    def _rows(self, value: ir.Value) -> ir.Value:
        if value not in self._flats:
            self._flats[value] = self._add("Flatten", [value], axis=-1)
        return self._flats[value]

    def _reduce(self, op_type: str, value: ir.Value, axes: tuple[int, ...]) -> str:
        if self._axes_are_inputs:
            inputs = [value, self._constant(f"axes_{axes}", np.array(axes))]
            return self._output(op_type, inputs, ir.DataType.FLOAT, keepdims=0)
        return self._output(op_type, [value], ir.DataType.FLOAT, axes=axes, keepdims=0)

    def _constant(self, key: str, array: np.ndarray | np.generic) -> ir.Value:
        if key not in self._constants:
            self._constants[key] = initializer(self.graph, f"observer_{key}", np.asarray(array))
        return self._constants[key]

    def _add(self, op_type: str, inputs: list[ir.Value], **attributes: int | tuple[int, ...]) -> ir.Value:
        node = ir.node(op_type, inputs, attributes=attributes)
        self.graph.append(node)
        return node.outputs[0]

    def _output(
        self, op_type: str, inputs: list[ir.Value], dtype: ir.DataType, **attributes: int | tuple[int, ...]
    ) -> str:
        value = self._add(op_type, inputs, **attributes)
        value.type = ir.TensorType(dtype)
        self.graph.outputs.append(value)
        return _name(value)


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name
