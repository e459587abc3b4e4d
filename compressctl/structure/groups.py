"""The groups of a graph: units (channels, neurons, heads) that the same nodes make, each of which can be cut out.

Method: every weight axis along which a node makes something, and every inner axis of a product, is a seed; the closure
of the seed under all ties (see `closure`) says what goes with each of its positions. This is the dependency graph of
Fang et al. 2023 (arXiv:2301.12900), drawn between positions of axes instead of between layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from compressctl.model.graph import bodies
from compressctl.structure.axes import Axes, Axis, Positions, Role, UnknownShapeError
from compressctl.structure.closure import NONE, Closure
from compressctl.structure.rules import NO_AXES, RULES
from compressctl.structure.shapes import Shapes
from compressctl.structure.sizes import freeze_numbers

Kind = Literal["channel", "neuron", "head", "width"]
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_REASONS = 3  # to tell of a group


@dataclass(frozen=True, eq=False)
class Weight:
    """An axis of a constant that is cut with a group, once for each node that uses the constant.

    Attributes:
        name: of the initializer, or of the Constant node's output.
        axis: which of its axes.
        units: [size of the axis], the unit at each position, -1 where there is none of this group.
        node: the node that uses it.
        role: makes: rows that compute the units; reads: columns that consume them; follows: biases, scales of norms.
    """

    name: str
    axis: int
    units: Positions
    node: str
    role: Role


@dataclass(frozen=True, eq=False)
class Group:
    """Units that can be cut out of a graph one by one.

    Attributes:
        name: the first node that makes them.
        kind: channel: made by a convolution; neuron: by another layer; head: of attention; width: of either, where a
            normalisation takes statistics across them, so that the rest changes a little when one goes.
        size: how many units.
        fixed: [size], the units that must stay.
        reasons: why units must stay.
        weights: the constants that are cut.
        axes: the unit at each position of every axis that is cut, virtual ones included.
    """

    name: str
    kind: Kind
    size: int
    fixed: NDArray[np.bool_]
    reasons: tuple[str, ...]
    weights: tuple[Weight, ...]
    axes: dict[Axis, Positions]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that use the weights."""
        return tuple(dict.fromkeys(weight.node for weight in self.weights))


def find_groups(model: ir.Model, shapes: Shapes | None = None) -> tuple[Group, ...]:
    """Return the groups of the main graph in graph order, those included whose units must all stay.

    No two of them share a unit that may be cut. `model` is not changed.

    Args:
        model: float, or integer with DequantizeLinear; what is not understood freezes what it touches.
        shapes: of its values, if known.
    """
    axes = relate(model, shapes or Shapes(model))
    order = {node.name or "": index for index, node in enumerate(model.graph)}
    convolutions = {node.name or "" for node in model.graph if node.op_type in _CONVOLUTIONS}
    uses: dict[int, list[tuple[str, Role]]] = {}
    for use in dict.fromkeys(axes.uses):
        uses.setdefault(use.axis, []).append((use.node, use.role))
    taken: dict[int, Positions] = {}
    groups = []
    for seed in _seeds(axes, order):
        units = np.arange(axes.sizes[seed][0])
        if seed in taken:
            free = taken[seed] == NONE
            units = np.where(free, np.cumsum(free) - 1, NONE)
        if not (units != NONE).any():
            continue
        closure = Closure(axes, seed, units)
        maps = closure.numbered()
        if closure.units < 2 or any(
            axis in taken and ((taken[axis] != NONE) & (m != NONE)).any() for axis, m in maps.items()
        ):
            continue
        group = _group(axes, maps, uses, order, convolutions)
        if group is None:
            continue
        if group.fixed.all() and _is_inner(axes, maps):
            continue
        groups.append(group)
        for axis, units in maps.items():
            before = taken.get(axis, np.full(len(units), NONE))
            taken[axis] = np.where(units != NONE, 0, before)
    return tuple(sorted(groups, key=lambda group: order.get(group.name, -1)))


def relate(model: ir.Model, shapes: Shapes) -> Axes:
    """Return all axes of the main graph and what ties them."""
    axes = Axes(shapes)
    for value in model.graph.inputs:
        _freeze(axes, [value], f"'{value.name}' is an input of the model")
    for value in model.graph.outputs:
        _freeze(axes, [value], f"'{value.name}' is an output of the model")
    for node in model.graph:
        values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.name]
        captured = [value for body in bodies(node) for inner in body.all_nodes() for value in inner.inputs if value]
        rule = RULES.get((node.domain if node.domain != "ai.onnx" else "", node.op_type))
        if not node.domain and node.op_type in NO_AXES:
            continue
        if rule is None:
            _freeze(axes, [*values, *captured], f"{node.op_type} '{node.name}' is not understood")
            continue
        try:
            rule(node, axes)
        except (UnknownShapeError, ValueError, IndexError, KeyError) as error:
            _freeze(axes, values, f"this use of {node.op_type} '{node.name}' is not understood ({error})")
    freeze_numbers(model.graph, axes)
    return axes


def _freeze(axes: Axes, values: Sequence[ir.Value], reason: str) -> None:
    for value in values:
        try:
            axes.freeze(axes.of(value), reason)
        except UnknownShapeError:
            continue  # nothing else can be tied to it either


def _seeds(axes: Axes, order: dict[str, int]) -> list[int]:
    """Return heads first, then inner axes of products, larger ones before smaller ones, then what layers make."""
    parts = {part for factors in axes.factors for factor in factors for part in factor.parts}
    made = {use.axis: order.get(use.node, 0) for use in reversed(axes.uses) if use.role == "makes"}
    heads = _tied(axes, axes.heads)

    def rank(axis: int) -> tuple[int, ...]:
        kind = 0 if axis in parts and axis in heads else 1 if axis in parts else 2
        return kind, -axes.sizes[axis][0] if kind == 1 else 0, made.get(axis, 0), axis

    return sorted(
        (
            axis
            for axis in parts | made.keys()
            if axes.is_fixed(axis) and axes.sizes[axis][0] > 1 and not axes.is_product(axis)
        ),
        key=rank,
    )


def _tied(axes: Axes, start: set[int]) -> set[int]:
    """Return the axes that are the same as those of `start`, position by position."""
    found, waiting = set(start), list(start)
    while waiting:
        others = {tie.other for tie in axes.ties[waiting.pop()] if tie.here is None} - found
        found |= others
        waiting.extend(others)
    return found


def _group(
    axes: Axes,
    maps: dict[int, Positions],
    uses: dict[int, list[tuple[str, Role]]],
    order: dict[str, int],
    convolutions: set[str],
) -> Group | None:
    """Return the group of a closure, None where no weight makes its units."""
    size = 1 + max(int(units.max()) for units in maps.values())
    fixed = np.zeros(size, bool)
    reasons: Counter[str] = Counter()
    weights = []
    for axis, units in maps.items():
        touched = units[units != NONE]
        if axis in axes.frozen:
            fixed[touched] = True
            reasons[axes.frozen[axis]] += 1
        for node, role in uses.get(axis, ()):
            identity = axes.axes[axis]
            assert isinstance(identity.index, int)
            weights.append(Weight(identity.of, identity.index, units, node, role))
    makers = sorted((order.get(weight.node, 0), weight.node) for weight in weights if weight.role == "makes")
    if not makers:
        return None
    kind: Kind = "channel" if any(name in convolutions for _, name in makers) else "neuron"
    if axes.statistics & maps.keys():
        kind = "width"
    elif axes.heads & maps.keys():
        kind = "head"
    return Group(
        name=makers[0][1],
        kind=kind,
        size=size,
        fixed=fixed,
        reasons=tuple(reason for reason, _ in reasons.most_common(_REASONS)),
        weights=tuple(sorted(weights, key=lambda weight: (order.get(weight.node, 0), weight.name, weight.axis))),
        axes={axes.axes[axis]: units for axis, units in maps.items()},
    )


def _is_inner(axes: Axes, maps: dict[int, Positions]) -> bool:
    """Whether the axes are parts of products, whose other parts may yet be cut."""
    return any(factor.whole != axis for axis in maps for factor in axes.factors[axis])
