"""Observing tensors inside onnxruntime: append to a graph the small reductions that measure them.

Only the observed tensors get one more consumer, so onnxruntime fuses everything else as it does without, and no
activation leaves it.

A tensor in a body is reduced in that body, and what is found leaves by one more output of each node around: of an If,
whose other branch gives what changes nothing (-inf as a maximum, no values); of a Loop or Scan by iteration, to be
reduced again behind it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from compressctl.errors import ModelError
from compressctl.model.graph import bodies, free_names, initializer, names_in
from compressctl.model.ops import CHANNEL_NORMS, CONVOLUTIONS
from compressctl.quantization.int8.bodies import in_loop, observable_bodies

_CHANNELS_SECOND = CONVOLUTIONS | CHANNEL_NORMS
_PICKED = 256  # values of a tensor an iteration of Loop or Scan
_GOLDEN = (np.sqrt(5) - 1) / 2  # its multiples, modulo 1, lie evenly and share no period with rows or channels
_NEUTRAL = {"ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceSum": 0.0}


@dataclass
class Observed:
    """The names of the outputs that measure each observed tensor.

    Attributes:
        low: scalar minimum; absent where the tensor cannot be negative.
        high: scalar maximum.
        sum: scalar sum, NaN wherever the tensor holds one (the extrema pass over NaN).
        sample: vector of values spread evenly over the tensor; NaN stands for none.
        mean: vector of means, one a channel, empty where the tensor was not computed; of no tensor in Loop or Scan.
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
    """Return the values of `graph`, and of bodies of If, Loop and Scan in it, that bear `names`, without repeats.

    Raises:
        ModelError: no such value, or it is not numeric.
    """
    values: dict[str | None, ir.Value] = {}
    for holder in (*reversed(observable_bodies(graph)), graph):
        values |= {value.name: value for node in holder for value in node.outputs}
        values |= {value.name: value for value in (*holder.inputs, *holder.initializers.values())}
    found = {}
    for name in names:
        value = values.get(name)
        if value is None:
            raise ModelError(
                f"tensor {name!r} cannot be observed: it is not in the main graph, nor in a body of If, Loop or Scan"
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
        self._owners = observable_bodies(model.graph)
        nodes, values = names_in(model.graph)
        self._taken = values
        self._names = free_names("observer", nodes | values)
        self._constants: dict[str, ir.Value] = {}
        self._floats: dict[ir.Value, ir.Value] = {}
        self._flats: dict[ir.Value, ir.Value] = {}
        self._stride: ir.Value | None = None
        self.graph.outputs.clear()

    def extrema(self, value: ir.Value) -> None:
        """Measure the minimum, maximum and sum of all elements."""
        name, real = _name(value), self._float(value)
        self.observed.high[name] = self._statistic("ReduceMax", real)
        producer = value.producer()
        if producer is None or producer.op_type != "Relu":
            self.observed.low[name] = self._statistic("ReduceMin", real)
        self.observed.sum[name] = self._statistic("ReduceSum", real)

    def sample(self, value: ir.Value) -> None:
        """Pick values spread evenly over the tensor, all where it is small enough for the stride fed.

        The distance is a real number, so that it has no common factor with rows or channels. Of a tensor in a Loop or
        Scan the same number is picked in each iteration, whatever its size, so that they can be stacked.
        """
        name = _name(value)
        if in_loop(self._owners, value.graph):
            self.observed.sample[name] = self._output(self._picked(value), "sample")
            return
        if self._stride is None:
            self._stride = ir.Value(
                name=self._free("sampling_stride"), type=ir.TensorType(ir.DataType.DOUBLE), shape=ir.Shape([])
            )
            self.graph.inputs.append(self._stride)
            self.observed.stride = self._stride.name
        size = self._add("Cast", [self._add("Size", [value])], to=ir.DataType.DOUBLE)
        distance = self._add("Max", [self._add("Mul", [size, self._stride]), self._constant("one", np.float64(1))])
        steps = self._add("Range", [self._constant("zero", np.float64(0)), size, distance], value.graph)
        places = self._add("Cast", [steps], to=ir.DataType.INT64)
        flat = self._add("Reshape", [value, self._constant("flat", np.array([-1]))])
        picked = self._add("GatherElements", [flat, places])  # 4 times as fast as Gather for single values
        real = self._add("Cast", [picked], to=ir.DataType.FLOAT)
        self.observed.sample[name] = self._output(real, "sample")

    def channel_mean(self, value: ir.Value) -> None:
        """Measure the mean of each channel: axis 1 of what a convolution or normalisation reads, else the last axis.

        Not of a tensor in a Loop or Scan.
        """
        if in_loop(self._owners, value.graph):
            return
        name, real = _name(value), self._float(value)
        if any(node.op_type in _CHANNELS_SECOND for node in value.consumers()):
            folded = self._add("Reshape", [real, self._constant("channels", np.array([0, 0, -1]))])
            self.observed.mean[name] = self._output(self._reduced("ReduceMean", folded, (0, 2)), "mean")
        else:
            self.observed.mean[name] = self._output(self._reduced("ReduceMean", self._rows(real), (0,)), "mean")
        self.observed.size[name] = self._output(self._add("Size", [value]), "ReduceSum", ir.DataType.INT64)

    def channel_extrema(self, value: ir.Value) -> None:
        """Measure minimum and maximum over all but the last axis, of a tensor of the main graph."""
        name, rows = _name(value), self._rows(self._float(value))
        self.observed.channel_low[name] = self._output(self._reduced("ReduceMin", rows, (0,)), "ReduceMin")
        self.observed.channel_high[name] = self._output(self._reduced("ReduceMax", rows, (0,)), "ReduceMax")

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

    def _picked(self, value: ir.Value) -> ir.Value:
        """As many values of a tensor as fit any, NaN where it has none."""
        places = np.modf((np.arange(_PICKED) + 0.5) * _GOLDEN)[0]
        flat = self._add("Reshape", [self._float(value), self._constant("flat", np.array([-1]))])
        padded = self._add("Concat", [flat, self._constant("none", np.full(1, np.nan, np.float32))], axis=0)
        size = self._add("Cast", [self._add("Size", [value])], to=ir.DataType.DOUBLE)
        scaled = self._add("Mul", [size, self._constant("places", places)])
        return self._add("GatherElements", [padded, self._add("Cast", [scaled], to=ir.DataType.INT64)])

    def _reduced(self, op_type: str, value: ir.Value, axes: tuple[int, ...]) -> ir.Value:
        if self._axes_are_inputs:
            return self._add(op_type, [value, self._constant(f"axes_{axes}", np.array(axes))], keepdims=0)
        return self._add(op_type, [value], axes=axes, keepdims=0)

    def _constant(self, key: str, array: np.ndarray | np.generic) -> ir.Value:
        if key not in self._constants:
            self._constants[key] = initializer(self.graph, f"observer_{key}", np.asarray(array), self._taken)
        return self._constants[key]

    def _free(self, base: str) -> str:
        name = next(free_names(base, self._taken))
        self._taken.add(name)
        return name

    def _add(
        self,
        op_type: str,
        inputs: list[ir.Value],
        holder: ir.Graph | None = None,
        **attributes: int | tuple[int, ...],
    ) -> ir.Value:
        """Append a node to the graph of what it reads first, or to `holder`."""
        node = ir.node(op_type, inputs, attributes=attributes, name=next(self._names))
        node.outputs[0].name = f"{node.name}_output"
        holder = holder or inputs[0].graph
        assert isinstance(holder, ir.Graph)
        holder.append(node)
        return node.outputs[0]

    def _statistic(self, op_type: str, real: ir.Value) -> str:
        return self._output(self._add(op_type, [real], keepdims=0), op_type)

    def _output(self, value: ir.Value, over: str, dtype: ir.DataType = ir.DataType.FLOAT) -> str:
        """Make an output of the model of a value, through the nodes around it, and return its name.

        Args:
            value: a scalar, or a vector.
            over: what iterations are reduced by, and what a branch gives that was not taken follows from: an operator,
                "sample" or "mean", which has no iterations.
            dtype: of the value.
        """
        value.type = ir.TensorType(dtype)
        holder = value.graph
        while holder in self._owners:
            assert isinstance(holder, ir.Graph)
            owner = self._owners[holder]
            if owner.op_type == "If":
                value = self._out_of_branch(owner, holder, value, over, dtype)
            else:
                value = self._out_of_iterations(owner, holder, value, over)
            value.type = ir.TensorType(dtype)
            holder = value.graph
        self.graph.outputs.append(value)
        return _name(value)

    def _out_of_branch(
        self, owner: ir.Node, branch: ir.Graph, value: ir.Value, over: str, dtype: ir.DataType
    ) -> ir.Value:
        for body in bodies(owner):
            if body is branch:
                body.outputs.append(value)
                continue
            nothing = np.full(_PICKED if in_loop(self._owners, body) else 0, np.nan)  # what is stacked has one shape
            array = np.asarray(_NEUTRAL[over]) if over in _NEUTRAL else nothing
            node = ir.node("Constant", [], {"value": ir.tensor(array.astype(dtype.numpy()))}, name=next(self._names))
            node.outputs[0].name, node.outputs[0].type = f"{node.name}_output", ir.TensorType(dtype)
            body.append(node)
            body.outputs.append(node.outputs[0])
        return self._new_output(owner)

    def _out_of_iterations(self, owner: ir.Node, body: ir.Graph, value: ir.Value, over: str) -> ir.Value:
        value.shape = ir.Shape([_PICKED] if over == "sample" else [])  # onnxruntime needs it where nothing iterates
        body.outputs.append(value)
        for name in ("scan_output_axes", "scan_output_directions"):
            if owner.op_type == "Scan" and name in owner.attributes:
                owner.attributes[name] = ir.AttrInt64s(name, [*owner.attributes.get_ints(name, []), 0])
        stacked = self._new_output(owner)
        stacked.type = ir.TensorType(ir.DataType.FLOAT)
        if over != "sample":
            return self._add(over, [stacked], keepdims=0)
        flat = self._add("Reshape", [stacked, self._constant("flat", np.array([-1]))])
        flat.type = stacked.type
        return self._picked(flat) if in_loop(self._owners, owner.graph) else flat

    def _new_output(self, owner: ir.Node) -> ir.Value:
        owner.resize_outputs(len(owner.outputs) + 1)
        owner.outputs[-1].name = self._free(f"{next(self._names)}_output")
        return owner.outputs[-1]


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name
