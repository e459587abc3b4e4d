"""What the rules of several operators share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from compressctl.model.ops import FORMS
from compressctl.structure.axes import Axes, Role

Rule = Callable[[ir.Node, Axes], None]
"""Relates the axes of a node's inputs and outputs. Raises UnknownShapeError where a shape it needs is not known."""


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is an initializer that cannot be fed, or a Constant's output, in whatever form."""
    return value is not None and origin(value) is not None


def origin(value: ir.Value) -> ir.Value | None:
    """Return the constant that `value` holds, behind nodes that bring it into another form; None where it is none."""
    while (node := value.producer()) is not None and node.op_type in FORMS and not node.domain:
        source = node.inputs[0]
        if source is None:
            return None
        value = source
    if value.is_graph_input() or ir.convenience.get_const_tensor(value) is None:
        return None
    return value


def result(node: ir.Node, index: int) -> ir.Value | None:
    """Return an output of a node, None where it is omitted or absent."""
    value = node.outputs[index] if index < len(node.outputs) else None
    return None if value is None or value.name == "" else value


def tie_all(axes: Axes, one: Sequence[int], other: Sequence[int]) -> None:
    """Tie the axes of two values pairwise."""
    if len(one) != len(other):
        raise ValueError(f"ranks {len(one)} and {len(other)} cannot be tied")
    for a, b in zip(one, other, strict=True):
        axes.tie(a, b)


def tie_broadcast(axes: Axes, small: Sequence[int], large: Sequence[int]) -> None:
    """Tie the axes of a value to those it is broadcast to, from the last backwards; those of size 1 are repeated."""
    for a, b in zip(reversed(small), reversed(large), strict=False):
        if axes.sizes[a] == axes.sizes[b]:
            axes.tie(a, b)
        elif axes.sizes[a] != (1, 1):
            axes.freeze([a, b], "sizes that do not broadcast")


def freeze_sums(axes: Axes, node: ir.Node, operands: Sequence[ir.Value | None], summed: Sequence[int]) -> None:
    """Freeze axes that a node sums over constants alone: no unit that is switched off makes those zero."""
    if all(value is None or value in axes.stored or is_constant(value) for value in operands):
        axes.freeze(list(summed), f"{node.op_type} '{node.name}' adds up constants along it")


def weigh(axes: Axes, node: ir.Node, value: ir.Value | None, axis: int, role: Role) -> None:
    """Note a constant operand's role along one of its axes; nothing where it is no constant."""
    if value is not None and is_constant(value):
        for place in _at_origin(axes, value, axes.of(value)[axis]):
            axes.use(node, place, role)


def follow(axes: Axes, node: ir.Node, value: ir.Value | None) -> None:
    """Note that all axes of a constant operand, such as a bias, follow what it is added to or scales."""
    if value is not None:
        for axis in range(len(axes.of(value)) if is_constant(value) else 0):
            weigh(axes, node, value, axis, "follows")


def _at_origin(axes: Axes, value: ir.Value, axis: int) -> list[int]:
    """Return the axes of the stored constant that an axis of one of its forms comes from."""
    found = {axis}
    while (node := value.producer()) is not None and node.op_type in FORMS:
        assert node.inputs[0] is not None
        value = node.inputs[0]
        reached = {tie.other for each in found for tie in axes.ties[each]}
        products = {factor.whole for each in found for factor in axes.factors[each]}
        parts = {part for whole in products for factor in axes.factors[whole] for part in factor.parts}
        found = set(axes.of(value)) & (reached | products | parts)
    return sorted(found)
