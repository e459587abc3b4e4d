"""Nodes that state sizes or positions of an axis, stated anew for what stays of it: one function an operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model import ops
from compressctl.model.graph import constant, initializer, insert_before, operand
from compressctl.structure.axes import Axis, Positions
from compressctl.structure.rules.indexing import pad_begins, slice_bounds
from compressctl.structure.shapes import Shapes, Size, is_fixed


@dataclass(frozen=True)
class Kept:
    """The positions that stay.

    Attributes:
        positions: of the axes that lose some.
        shapes: of the model before.
    """

    positions: Mapping[Axis, Positions]
    shapes: Shapes

    def of(self, value: ir.Value | None, axis: int) -> Positions | None:
        """Return the positions that stay of an axis; None where all do."""
        return None if value is None else self.positions.get(Axis(value.name or "", axis))

    def before(self, value: ir.Value | None) -> tuple[Size, ...]:
        """Return the sizes that the axes of a value had; nothing where that is not known."""
        return () if value is None else self.shapes.of(value) or ()

    def axes(self, value: ir.Value | None) -> dict[int, Positions]:
        """Return the axes of a value that lose positions, with those that stay."""
        found = ((axis, self.of(value, axis)) for axis in range(len(self.before(value))))
        return {axis: positions for axis, positions in found if positions is not None}

    def count(self, node: ir.Node, label: str) -> int | None:
        """Return how many positions stay of a node's virtual axis; None where all do."""
        positions = self.positions.get(Axis(node.outputs[0].name or "", label))
        return None if positions is None else len(positions)

    def ratios(self, value: ir.Value | None) -> dict[int, Ratio]:
        """Return (size after, size before) of the axes that lose positions; for dynamic axes they are a ratio."""
        before = self.before(value)
        found = {}
        for axis, positions in self.axes(value).items():
            after, size = len(positions), before[axis][0]
            shared = 1 if is_fixed(before[axis]) else math.gcd(after, size)
            found[axis] = Ratio(after // shared, size // shared, is_fixed(before[axis]))
        return found


class Ratio(NamedTuple):
    """Sizes of an axis after and before, or their ratio where its size is dynamic."""

    after: int
    before: int
    fixed: bool


Rewrite = Callable[[ir.Node, Kept], None]


def _shape(node: ir.Node, kept: Kept) -> None:
    """Shape: it still tells the sizes that were, which the graph may compute with; what states a shape is set anew."""
    start, end, _ = slice(node.attributes.get_int("start", 0), node.attributes.get_int("end", None)).indices(
        len(kept.before(node.inputs[0]))
    )
    cut = {axis - start: ratio for axis, ratio in kept.ratios(node.inputs[0]).items() if start <= axis < end}
    for use in list(node.outputs[0].uses()):
        picked = constant(use.node.inputs[1]) if use.node.op_type == "Gather" and use.idx == 0 else None
        if picked is None or not cut.keys().isdisjoint((picked % (end - start)).ravel().tolist()):
            back = {axis: Ratio(ratio.before, ratio.after, ratio.fixed) for axis, ratio in cut.items()}
            _restate(use.node, use.idx, back, end - start)


def _reshape(node: ir.Node, kept: Kept) -> None:
    cut, old = kept.ratios(node.outputs[0]), constant(node.inputs[1])
    before = kept.before(node.outputs[0])
    if old is None:
        _restate(node, 1, cut, len(before))
        return
    copied = kept.axes(node.inputs[0]).keys() - cut.keys()  # a 0 there must not copy the new size
    new = old.copy()
    for axis, size in enumerate(before):
        if axis in cut and cut[axis].fixed:
            new[axis] = cut[axis].after
        elif axis in copied and old[axis] == 0 and is_fixed(size):
            new[axis] = size[0]
    if cut or copied:
        _set_input(node, 1, new)


def _expand(node: ir.Node, kept: Kept) -> None:
    length = next((size for size, _ in kept.before(node.inputs[1])), 0)
    skipped = len(kept.before(node.outputs[0])) - length
    cut = kept.ratios(node.outputs[0]).items()
    _restate(node, 1, {axis - skipped: ratio for axis, ratio in cut if axis >= skipped}, length)


def _constant_of_shape(node: ir.Node, kept: Kept) -> None:
    _restate(node, 0, kept.ratios(node.outputs[0]), len(kept.before(node.outputs[0])))


def _resize(node: ir.Node, kept: Kept) -> None:
    if operand(node, 3) is not None:
        rank = len(kept.before(node.outputs[0]))
        axes = [axis % rank for axis in node.attributes.get_ints("axes", None) or range(rank)]
        cut = kept.ratios(node.outputs[0])
        _restate(node, 3, {axes.index(axis): ratio for axis, ratio in cut.items() if axis in axes}, len(axes))


def _restate(node: ir.Node, index: int, cut: Mapping[int, Ratio], length: int) -> None:
    """Set the entries of a shape operand for axes that are cut; those of dynamic axes in proportion."""
    if not cut:
        return
    old = constant(node.inputs[index])
    if old is not None:
        new = old.copy()
        for axis, ratio in cut.items():
            if new[axis] > 1 or (new[axis] == 1 and node.op_type != "Expand"):
                new[axis] = ratio.after if ratio.fixed else new[axis] * ratio.after // ratio.before
        _set_input(node, index, new)
        return
    graph, source = node.graph, node.inputs[index]
    assert isinstance(graph, ir.Graph) and source is not None

    def state(op: str, *operands: ir.Value | Array) -> ir.Value:
        values = [
            each if isinstance(each, ir.Value) else initializer(graph, f"{node.name}_{op}", each) for each in operands
        ]
        made = ir.node(op, values, name=f"{node.name}_shape")
        insert_before(graph, node, [made])
        kind = ir.DataType.BOOL if op == "Less" else ir.DataType.INT64
        made.outputs[0].type, made.outputs[0].shape = ir.TensorType(kind), ir.Shape([length])
        return made.outputs[0]

    every = [cut.get(axis, Ratio(1, 1, False)) for axis in range(length)]
    result = source
    if not all(ratio.fixed for ratio in cut.values()):
        factors, divisors = (np.array([1 if r.fixed else r[k] for r in every], np.int64) for k in (0, 1))
        scaled = state("Div", state("Mul", source, factors), divisors)
        result = state("Where", state("Less", source, np.array([0], np.int64)), source, scaled)  # -1: the rest
    fixed = np.array([ratio.fixed for ratio in every])
    if fixed.any():
        result = state("Where", fixed, np.array([ratio.after for ratio in every], np.int64), result)
    node.replace_input_with(index, result)


def _squeeze(node: ir.Node, kept: Kept) -> None:
    """Squeeze without axes: those of size 1 before, not those of which one position stays."""
    if operand(node, 1) is None and kept.axes(node.inputs[0]):
        axes = [axis for axis, size in enumerate(kept.before(node.inputs[0])) if size == (1, 1)]
        node.resize_inputs(2)
        _set_input(node, 1, np.array(axes, np.int64))


def _split(node: ir.Node, kept: Kept) -> None:
    source = node.inputs[0]
    assert source is not None
    axis = node.attributes.get_int("axis", 0) % len(kept.before(source))
    if kept.of(source, axis) is None:
        return
    sizes = [kept.before(output)[axis][0] for output in node.outputs]
    for place, output in enumerate(node.outputs):
        if (positions := kept.of(output, axis)) is not None:
            sizes[place] = len(positions)
    node.attributes.pop("num_outputs", None)
    if len(node.inputs) < 2:
        node.resize_inputs(2)
    _set_input(node, 1, np.array(sizes, np.int64))


def _slice(node: ir.Node, kept: Kept) -> None:
    source = node.inputs[0]
    assert source is not None
    before = kept.before(source)
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
    axis = node.attributes.get_int("axis", 0) % len(kept.before(source))
    positions, indices = kept.of(source, axis), constant(node.inputs[1])
    if positions is None or indices is None:
        return
    remaining = kept.of(output, axis)
    chosen = indices % (kept.before(source))[axis][0]
    chosen = chosen if remaining is None else chosen[remaining]
    _set_input(node, 1, np.searchsorted(positions, chosen).astype(indices.dtype))


def _pad(node: ir.Node, kept: Kept) -> None:
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    before = kept.before(source)
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


def _grouped(queries: str) -> Rewrite:
    """Return the rewrite of an attention that counts heads of queries in the attribute `queries`, and others."""

    def rewrite(node: ir.Node, kept: Kept) -> None:
        _counted(queries, "heads")(node, kept)
        _counted("kv_num_heads", "kv heads")(node, kept)

    return rewrite


def _set_input(node: ir.Node, index: int, array: Array) -> None:
    assert node.graph is not None
    name = (old.name if (old := node.inputs[index]) is not None else None) or f"{node.name}_{index}"
    node.replace_input_with(index, initializer(node.graph, f"{name}_cut", array))


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "Shape"): _shape,
    ("", "Reshape"): _reshape,
    ("", "Squeeze"): _squeeze,
    ("", "Expand"): _expand,
    ("", "ConstantOfShape"): _constant_of_shape,
    ("", "Resize"): _resize,
    ("", "Split"): _split,
    ("", "Slice"): _slice,
    ("", "Gather"): _gather,
    ("", "Pad"): _pad,
    **{("", op): _counted("group", "group") for op in ops.CONVOLUTIONS},
    ("", "GroupNormalization"): _counted("num_groups", "group"),
    **{("", op): _recurrent for op in ops.RECURRENT},
    ("", "Attention"): _grouped("q_num_heads"),
    ("com.microsoft", "GroupQueryAttention"): _grouped("num_heads"),
    ("com.microsoft", "RotaryEmbedding"): _counted("num_heads", "heads"),
    ("", "RotaryEmbedding"): _counted("num_heads", "heads"),
    ("com.microsoft", "MultiHeadAttention"): _counted("num_heads", "heads"),
}
