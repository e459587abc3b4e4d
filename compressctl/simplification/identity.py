"""Nodes that hand on their input are removed.

Identity; Dropout at inference; Cast and CastLike to the type at hand; Reshape, Flatten, Squeeze, Unsqueeze, Expand,
Slice, Pad, Transpose and Tile that change nothing; Concat, Sum, Max, Min and Mean of one tensor; x + 0, x - 0, x * 1,
x / 1 and x ** 1.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from compressctl.arrays import Array
from compressctl.model.graph import constant, operand
from compressctl.model.ops import RESHAPES
from compressctl.notes import Note, done
from compressctl.simplification.edit import become, bypass, is_op
from compressctl.simplification.facts import Facts
from compressctl.tensorspec import Dim

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1, "Pow": 1}
_FAR = 2**31 - 1  # an end from here on means "to the end"


def remove_identity(model: ir.Model, facts: Facts) -> list[Note]:
    """Apply the rule to the main graph of `model`."""
    notes = []
    for node in tuple(model.graph):
        if is_op(node, "CastLike") and (dtype := facts.dtype(node.inputs[1])) is not None:
            become(node, "Cast", node.inputs[:1], to=int(dtype))
        finder = _FINDERS.get(node.op_type) if node.domain == "" else None
        source = finder(node, facts) if finder is not None else None
        if source is not None and bypass(node, source):
            notes.append(done(f"{node.op_type} without effect removed", node.name))
    return notes


def _always(node: ir.Node, facts: Facts) -> ir.Value | None:
    return node.inputs[0]


def _dropout(node: ir.Node, facts: Facts) -> ir.Value | None:
    mode = operand(node, 2)
    training = False if mode is None else constant(mode)
    return node.inputs[0] if training is not None and not training else None


def _cast(node: ir.Node, facts: Facts) -> ir.Value | None:
    return node.inputs[0] if facts.dtype(node.inputs[0]) == node.attributes.get_int("to", 0) else None


def _same_shape(node: ir.Node, facts: Facts) -> ir.Value | None:
    return node.inputs[0] if facts.same_shape(node.inputs[0], node.outputs[0]) else None


def _only_input(node: ir.Node, facts: Facts) -> ir.Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _transpose(node: ir.Node, facts: Facts) -> ir.Value | None:
    perm = node.attributes.get_ints("perm", ())
    return node.inputs[0] if perm and list(perm) == sorted(perm) else None


def _tile(node: ir.Node, facts: Facts) -> ir.Value | None:
    return node.inputs[0] if _all_ones(constant(operand(node, 1))) else None


def _pad(node: ir.Node, facts: Facts) -> ir.Value | None:
    pads = constant(node.inputs[1])
    return node.inputs[0] if pads is not None and not pads.any() else None


def _slice(node: ir.Node, facts: Facts) -> ir.Value | None:
    """A slice that takes all: from 0, by 1, to the end or to where the dimension ends anyway."""
    source, shape, ends = node.inputs[0], facts.shape(node.inputs[0]), facts.contents(operand(node, 2))
    starts, axes, steps = constant(operand(node, 1)), operand(node, 3), operand(node, 4)
    places = facts.contents(axes) if axes is not None else range(0 if starts is None else starts.size)
    if starts is None or starts.any() or shape is None or ends is None or places is None:
        return None
    if steps is not None and not _all_ones(constant(steps)):
        return None
    return source if all(_covers(end, shape[axis]) for end, axis in zip(ends, places, strict=True)) else None


def _covers(end: Dim, dim: Dim) -> bool:
    if isinstance(end, int) and (end >= _FAR or (isinstance(dim, int) and end >= dim)):
        return True
    return end is not None and end == dim


def _neutral(node: ir.Node, facts: Facts) -> ir.Value | None:
    """Only for single numbers: vectors are weights, and onnxruntime looks for those of LayerNormalization, say."""
    for position in (1, 0) if node.op_type in ("Add", "Mul") else (1,):
        array, source = constant(node.inputs[position]), node.inputs[1 - position]
        rank = facts.rank(source)
        if array is None or array.size != 1 or array.item() != _NEUTRAL[node.op_type] or rank is None:
            continue
        if rank >= array.ndim and facts.dtype(source) == facts.dtype(node.outputs[0]):
            return source
    return None


def _all_ones(array: Array | None) -> bool:
    return array is not None and bool((array == 1).all())


_FINDERS: dict[str, Callable[[ir.Node, Facts], ir.Value | None]] = {
    "Identity": _always,
    "Dropout": _dropout,
    "Cast": _cast,
    **dict.fromkeys(RESHAPES | {"Expand"}, _same_shape),
    **dict.fromkeys(("Concat", "Sum", "Max", "Min", "Mean"), _only_input),
    "Transpose": _transpose,
    "Tile": _tile,
    "Pad": _pad,
    "Slice": _slice,
    **dict.fromkeys(_NEUTRAL, _neutral),
}
