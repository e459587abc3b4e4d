"""Find activations whose channels can be scaled at their producer, and move scales from there into the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.arrays import AnyFloats, Floats, Floats32
from compressctl.layers.unseen import unseen
from compressctl.model.graph import constant, constant_input, is_only_use, replace_constant
from compressctl.model.ops import LAST_AXIS_NORMS, PRODUCTS
from compressctl.notes import Note, done, skipped
from compressctl.numerics.equalization import smoothing_scales


@dataclass(frozen=True)
class Place:
    """An activation that can be smoothed.

    Attributes:
        value: the activation; its channels are its last axis.
        producers: (node, input index) of the constant vectors that absorb the division.
        readers: the weight MatMul and Gemm nodes that alone read the activation, their weights as input 1.
    """

    value: ir.Value
    producers: tuple[tuple[ir.Node, int], ...]
    readers: tuple[ir.Node, ...]

    @property
    def tensor(self) -> str:
        """The name of the activation."""
        return self.value.name or ""


def places(graph: ir.Graph) -> tuple[list[Place], tuple[Note, ...]]:
    """Return the activations that can be smoothed, and why others that weight MatMuls read cannot."""
    found, notes = [], []
    sources = dict.fromkeys(node.inputs[0] for node in graph if _weight_axis(node) is not None)
    for value in sources:
        assert value is not None
        place = _place(value)
        if isinstance(place, Place):
            found.append(place)
        else:
            notes.append(skipped(f"not smoothed: {place}", value.name))
    return found, tuple(notes)


def smooth(model: ir.Model, found: Sequence[Place], absmax: Mapping[str, Floats32], alpha: float) -> list[Note]:
    """Divide the channels of each activation by SmoothQuant's scales and multiply its readers' weights, in place.

    Args:
        model: edited; weights are replaced, never written into.
        found: of `places`.
        absmax: largest magnitude of each channel, by name of the activation.
        alpha: share of the difficulty that moves into the weights, 0 to 1.
    """
    graph, notes = model.graph, []
    for place in found:
        if not absmax[place.tensor].any():
            notes.append(unseen(place.tensor, "not smoothed"))
            continue
        weights = [_rows(node) for node in place.readers]
        largest = np.max([np.abs(weight).max(axis=1, initial=0) for weight in weights], axis=0)
        scales = smoothing_scales(absmax[place.tensor], largest, alpha)
        move_scales(graph, place, scales)
        told = f"smoothed: channels divided by {scales.min():.3g} to {scales.max():.3g}"
        notes.append(done(told, place.tensor))
    return notes


def move_scales(graph: ir.Graph, place: Place, scales: Floats) -> None:
    """Divide the channels of an activation by `scales`, at its producers, and multiply the weights that read them."""
    for node, index in place.producers:
        replace_constant(graph, node, index, constant_input(node, index) / scales, "smoothed")
    for node in place.readers:
        scaled = _rows(node) * scales[:, None]
        replace_constant(graph, node, 1, scaled.T if _weight_axis(node) == 1 else scaled, "smoothed")


def _weight_axis(node: ir.Node) -> int | None:
    """The axis of a MatMul's or Gemm's constant weight along which its input channels lie; None for other nodes."""
    if node.domain != "" or node.op_type not in PRODUCTS:
        return None
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or weight.dtype.kind != "f" or constant(node.inputs[0]) is not None:
        return None
    if node.op_type == "MatMul":
        return 0
    return None if node.attributes.get_int("transA", 0) else node.attributes.get_int("transB", 0)


def _place(value: ir.Value) -> Place | str:
    if value.is_graph_output():
        return "it is an output of the model"
    readers = value.consumers()
    for node in readers:
        if node.graph is not value.graph or _weight_axis(node) is None or node.inputs[1:].count(value):
            return f"{node.op_type} {node.name} reads it too"
        weight = node.inputs[1]
        if weight is None or not is_only_use(weight, node):
            return f"{node.name} shares its weight with other nodes"
    producers = _absorbers(value)
    if not producers:
        producer = value.producer()
        made = "it is an input of the model" if producer is None else f"{producer.op_type} makes it"
        return f"{made}: no constant there can take up the scales"
    return Place(value, producers, tuple(readers))


def _absorbers(value: ir.Value) -> tuple[tuple[ir.Node, int], ...]:
    """The constant vectors along the last axis which divided by s divide the whole value by s; empty if none."""
    node = value.producer()
    if node is None or node.domain != "" or value is not node.outputs[0]:
        return ()
    if node.op_type in LAST_AXIS_NORMS:
        vectors = tuple((node, index) for index in range(1, len(node.inputs)) if node.inputs[index] is not None)
        rank = value.shape.rank() if value.shape is not None else 0
        last = node.attributes.get_int("axis", -1) in (-1, rank - 1)
        return vectors if last and all(_is_vector(*vector) for vector in vectors) else ()
    if node.op_type == "Mul":
        return next((((node, index),) for index in (0, 1) if _is_vector(node, index)), ())
    if node.op_type == "Add":  # of a normalisation written out: Add(Mul(x, weight), bias)
        for index in (0, 1):
            other = node.inputs[1 - index]
            if _is_vector(node, index) and other is not None and is_only_use(other, node):
                inner = _absorbers(other)
                return (*inner, (node, index)) if inner else ()
    return ()


def _is_vector(node: ir.Node, index: int) -> bool:
    """Whether an input is a constant float vector along the last axis of the node's output."""
    array = constant(node.inputs[index])
    return array is not None and array.dtype.kind == "f" and array.ndim > 0 and array.size == array.shape[-1] > 1


def _rows(node: ir.Node) -> AnyFloats:
    """The weight of a reader as [input channels, outputs]."""
    array = constant_input(node, 1)
    return array.T if _weight_axis(node) == 1 else array
