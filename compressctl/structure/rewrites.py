"""Nodes that state sizes or positions of an axis, stated anew for what stays of it: one function an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compressctl.model.graph import Array, constant, initializer, insert_before
from compressctl.structure.axes import Axis, Positions
from compressctl.structure.rules.common import operand
from compressctl.structure.rules.indexing import pad_begins, slice_bounds
from compressctl.structure.shapes import Shapes, is_fixed


@dataclass(frozen=True)
class Kept:
    """What stays.

    Attributes:
        positions: of the axes that lose some.
        shapes: of the model before.
    """

    positions: Mapping[Axis, Positions]
    shapes: Shapes

    def of(self, value: ir.Value | None, axis: int) -> Positions | None:
        """Return the positions that stay of an axis; None where all do."""
        return None if value is None else self.positions.get(Axis(value.name or "", axis))

    def axes(self, value: ir.Value) -> dict[int, Positions]:
        """Return the axes of a value that lose positions, with those that stay."""
        rank = len(self.shapes.of(value) or ())
        found = ((axis, self.of(value, axis)) for axis in range(rank))
        return {axis: positions for axis, positions in found if positions is not None}

    def count(self, node: ir.Node, label: str) -> int | None:
        """Return how many positions stay of a node's virtual axis; None where all do."""
        positions = self.positions.get(Axis(node.name or "", label))
        return None if positions is None else len(positions)

    def sizes(self, value: ir.Value) -> list[int | None]:
        """Return the sizes that a value has afterwards, None where they are dynamic."""
        before = self.shapes.of(value) or ()
        after = self.axes(value)
        return [
            (len(after[axis]) if axis in after else size[0]) if is_fixed(size) else None
            for axis, size in enumerate(before)
        ]


Rewrite = Callable[[ir.Node, Kept], None]


def _reshape(node: ir.Node, kept: Kept) -> None:
    source, target, output = node.inputs[0], node.inputs[1], node.outputs[0]
    assert source is not None and target is not None
    if not kept.axes(source) and not kept.axes(output):
        return
    after, cut = kept.sizes(output), kept.axes(output)
    old = constant(target)
    if old is not None:
        new = [int(was) if size is None else size for was, size in zip(old, after, strict=True)]
        _set_input(node, 1, np.array(new, np.int64))
        return
    known = [size is not None or axis in cut for axis, size in enumerate(after)]
    _override(node, 1, [-1 if size is None else size for size in after], known)


def _expand(node: ir.Node, kept: Kept) -> None:
    cut = kept.axes(node.outputs[0])
    target = node.inputs[1]
    length = (kept.shapes.of(target) or ((0, 0),))[0][0] if target is not None else 0
    skipped = len(kept.sizes(node.outputs[0])) - length
    _shape(node, 1, {axis - skipped: len(positions) for axis, positions in cut.items() if axis >= skipped}, length)


def _constant_of_shape(node: ir.Node, kept: Kept) -> None:
    cut = kept.axes(node.outputs[0])
    _shape(node, 0, {axis: len(positions) for axis, positions in cut.items()}, len(kept.sizes(node.outputs[0])))


def _resize(node: ir.Node, kept: Kept) -> None:
    cut = kept.axes(node.outputs[0])
    if operand(node, 3) is None or not cut:
        return
    rank = len(kept.sizes(node.outputs[0]))
    axes = [axis % rank for axis in node.attributes.get_ints("axes", tuple(range(rank))) or ()]
    _shape(node, 3, {axes.index(axis): len(kept_) for axis, kept_ in cut.items() if axis in axes}, len(axes))


def _shape(node: ir.Node, index: int, sizes: Mapping[int, int], length: int) -> None:
    """Set some entries of a shape operand; an Expand's 1 means: as it is."""
    if not sizes:
        return
    old = constant(node.inputs[index])
    if old is None:
        known = [axis in sizes for axis in range(length)]
        _override(node, index, [sizes.get(axis, 1) for axis in range(length)], known)
        return
    new = old.copy()
    for axis, size in sizes.items():
        new[axis] = new[axis] if node.op_type == "Expand" and new[axis] == 1 else size
    _set_input(node, index, new)


def _split(node: ir.Node, kept: Kept) -> None:
    source = node.inputs[0]
    assert source is not None
    axis = node.attributes.get_int("axis", 0) % len(kept.shapes.of(source) or (0,))
    if kept.of(source, axis) is None:
        return
    sizes = [kept.sizes(output)[axis] for output in node.outputs]
    node.attributes.pop("num_outputs", None)
    if len(node.inputs) < 2:
        node.resize_inputs(2)
    _set_input(node, 1, np.array(sizes, np.int64))


def _slice(node: ir.Node, kept: Kept) -> None:
    source = node.inputs[0]
    assert source is not None
    before = kept.shapes.of(source) or ()
    bounds = slice_bounds(node, len(before))
    if bounds is None or not any(kept.of(source, axis) is not None for axis in bounds):
        return
    for axis, (start, end, step) in bounds.items():
        positions = kept.of(source, axis)
        if positions is None:
            continue
        size = before[axis][0]
        first = max(start + size, 0) if start < 0 else min(start, size)
        last = max(end + size, 0) if end < 0 else min(end, size)
        start = int(np.searchsorted(positions, first))
        bounds[axis] = (start, int(np.searchsorted(positions, max(last, first))), step)
    axes = list(bounds)
    starts, ends, steps = (np.array([bounds[axis][k] for axis in axes], np.int64) for k in range(3))
    if len(node.inputs) < 5:
        node.resize_inputs(5)
    for index, values in enumerate((starts, ends, np.array(axes, np.int64), steps), start=1):
        _set_input(node, index, values)


def _gather(node: ir.Node, kept: Kept) -> None:
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    axis = node.attributes.get_int("axis", 0) % len(kept.shapes.of(source) or (0,))
    positions, indices = kept.of(source, axis), constant(node.inputs[1])
    if positions is None or indices is None:
        return
    remaining = kept.of(output, axis)
    chosen = indices % (kept.shapes.of(source) or ())[axis][0]
    chosen = chosen if remaining is None else chosen[remaining]
    _set_input(node, 1, np.searchsorted(positions, chosen).astype(indices.dtype))


def _pad(node: ir.Node, kept: Kept) -> None:
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    before = kept.shapes.of(source) or ()
    begins, cut = pad_begins(node, len(before)), kept.axes(output)
    if begins is None or not any(axis in begins for axis in cut):
        return
    old = constant(node.inputs[1])
    assert old is not None
    pads, axes = old.copy(), list(begins)
    for axis in cut.keys() & begins.keys():
        place, first = axes.index(axis), begins[axis]
        pads[place] = np.searchsorted(cut[axis], first)
        pads[place + len(axes)] = len(cut[axis]) - np.searchsorted(cut[axis], first + before[axis][0])
    _set_input(node, 1, pads)


def _counted(attribute: str, label: str) -> Rewrite:
    """Return the rewrite that sets an attribute to what stays of a virtual axis."""

    def rewrite(node: ir.Node, kept: Kept) -> None:
        if (count := kept.count(node, label)) is not None:
            node.attributes[attribute] = ir.AttrInt64(attribute, count)

    return rewrite


def _recurrent(node: ir.Node, kept: Kept) -> None:
    if (positions := kept.of(node.inputs[2], 2)) is not None:
        node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", len(positions))


def _attention(node: ir.Node, kept: Kept) -> None:
    _counted("q_num_heads", "heads")(node, kept)
    _counted("kv_num_heads", "kv heads")(node, kept)


def _set_input(node: ir.Node, index: int, array: Array) -> None:
    assert node.graph is not None
    name = (old.name if (old := node.inputs[index]) is not None else None) or f"{node.name}_{index}"
    node.replace_input_with(index, initializer(node.graph, f"{name}_cut", array))


def _override(node: ir.Node, index: int, sizes: list[int], known: list[bool]) -> None:
    """Replace the known entries of a computed shape operand."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    mask = initializer(graph, f"{node.name}_known", np.array(known))
    values = initializer(graph, f"{node.name}_sizes", np.array(sizes, np.int64))
    where = ir.node("Where", [mask, values, node.inputs[index]], name=f"{node.name}_shape")
    insert_before(graph, node, [where])
    where.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    node.replace_input_with(index, where.outputs[0])


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "Reshape"): _reshape,
    ("", "Expand"): _expand,
    ("", "ConstantOfShape"): _constant_of_shape,
    ("", "Resize"): _resize,
    ("", "Split"): _split,
    ("", "Slice"): _slice,
    ("", "Gather"): _gather,
    ("", "Pad"): _pad,
    ("", "Conv"): _counted("group", "group"),
    ("", "ConvTranspose"): _counted("group", "group"),
    ("", "GroupNormalization"): _counted("num_groups", "group"),
    ("", "LSTM"): _recurrent,
    ("", "GRU"): _recurrent,
    ("", "RNN"): _recurrent,
    ("", "Attention"): _attention,
    ("com.microsoft", "MultiHeadAttention"): _counted("num_heads", "heads"),
}
