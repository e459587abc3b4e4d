"""The groups of a graph: units (channels, neurons, heads) that the same nodes make, each of which can be cut out.

Method: every weight axis along which a node makes something, and every inner axis of a product, is a seed; the closure
of the seed under all ties (see `closure`) says what goes with each of its positions. This is the dependency graph of
Fang et al. 2023 (arXiv:2301.12900), drawn between positions of axes instead of between layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Mask
from compressctl.model.graph import bodies
from compressctl.model.ops import CONVOLUTIONS
from compressctl.structure.axes import Axes, Axis, Positions, Role, UnknownShapeError
from compressctl.structure.closure import NONE, Closure
from compressctl.structure.rules import RULES
from compressctl.structure.rules.common import is_constant
from compressctl.structure.shapes import Shapes

Kind = Literal["channel", "neuron", "head", "width"]
_REASONS = 3  # to tell of a group
_TOGETHER = "its units hang together with units of several other axes"


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
    fixed: Mask
    reasons: tuple[str, ...]
    weights: tuple[Weight, ...]
    axes: dict[Axis, Positions]

    @property
    def plural(self) -> str:
        """What its units are called."""
        return "channels" if self.kind == "width" else f"{self.kind}s"

    @property
    def makers(self) -> tuple[str, ...]:
        """The nodes that make the units, in graph order."""
        return tuple(dict.fromkeys(weight.node for weight in self.weights if weight.role == "makes"))

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that use the weights."""
        return tuple(dict.fromkeys(weight.node for weight in self.weights))


def find_groups(model: ir.Model, shapes: Shapes | None = None) -> tuple[Group, ...]:
    """Return the groups of the main graph in graph order, those included whose units must all stay.

    No two of them share a unit that may be cut. Whatever units are cut, so long as one of each group stays, every axis
    keeps a position. `model` is not changed.

    Args:
        model: float, or integer with DequantizeLinear; what is not understood freezes what it touches. Its nodes have
            names, as `load_model` sees to.
        shapes: of its values, if known.
    """
    axes = relate(model, shapes or Shapes(model))
    order = {node.name or "": index for index, node in enumerate(model.graph)}
    convolutions = {node.name or "" for node in model.graph if node.op_type in CONVOLUTIONS}
    uses: dict[int, list[tuple[str, Role]]] = {}
    for use in dict.fromkeys(axes.uses):
        uses.setdefault(use.axis, []).append((use.node, use.role))
    made = {use.axis for use in axes.uses if use.role == "makes"}
    taken: dict[int, Mask] = {}
    hindered: dict[int, tuple[str, ...]] = {}  # why an axis cannot be cut along one that it is a product of
    barren: set[int] = set()  # axes that lead to where nothing was found, position by position
    groups = []
    for seed in _seeds(axes, order):
        free = ~taken.get(seed, np.zeros(axes.sizes[seed][0], bool))
        if not free.any() or (seed in barren and seed not in made and free.all()):
            continue
        units = np.where(free, np.cumsum(free) - 1, NONE)
        closure = Closure(axes, seed, units)
        maps = closure.numbered() if closure.units > 1 else {seed: units}
        overlaps = any((taken[axis] & (map_ != NONE)).any() for axis, map_ in maps.items() if axis in taken)
        if seed not in made and (overlaps or closure.units < 2):
            barren |= closure.equals()
            continue  # what lies along it may be cut along another axis
        group = _group(axes, maps, uses, order, convolutions)
        if group is None:
            barren |= closure.equals()
            continue
        if seed not in made and group.fixed.all():
            hindered |= {axis: group.reasons for axis in maps if axis not in hindered}
            barren |= closure.equals()
            continue
        if axes.is_product(seed) and (overlaps or group.fixed.all()):
            alone = _group(axes, {seed: units}, uses, order, convolutions)
            group = _frozen(alone or group, *(hindered.get(seed) or group.reasons or (_TOGETHER,)))
            maps = {seed: units}
        elif closure.units < 2:
            group = _frozen(group, "its units can only go all together")
        elif overlaps:
            group = _frozen(group, _TOGETHER)
        elif closure.loose and _differs(closure, Closure(axes, seed, units, at=1), axes):
            group = _frozen(group, "a reshape mixes its units, differently at different sizes of the input")
        groups.append(group)
        for axis, map_ in maps.items():
            taken[axis] = taken.get(axis, False) | (map_ != NONE)
    groups.sort(key=lambda group: order.get(group.name, -1))
    return tuple(_keep_one(_named_apart(groups)))


def _differs(first: Closure, second: Closure, axes: Axes) -> bool:
    """Whether a seed's closure is another at the second input sizes, as far as axes of fixed size tell."""
    one, other = first.numbered(), second.numbered()
    return one.keys() != other.keys() or any(
        axes.is_fixed(axis) and not np.array_equal(units, other[axis]) for axis, units in one.items()
    )


def _frozen(group: Group, *reasons: str) -> Group:
    together = tuple(dict.fromkeys((*group.reasons, *reasons)))
    return replace(group, fixed=np.ones(group.size, bool), reasons=together[:_REASONS])


def _named_apart(groups: list[Group]) -> list[Group]:
    """Number the groups of nodes that make several."""
    seen: Counter[str] = Counter()
    result = []
    for group in groups:
        seen[group.name] += 1
        number = seen[group.name]
        result.append(group if number == 1 else replace(group, name=f"{group.name}#{number}"))
    return result


def _keep_one(groups: list[Group]) -> list[Group]:
    """Fix a unit on each axis that could lose all its positions though a unit of each group stays."""
    holders: dict[Axis, list[int]] = {}
    for number, group in enumerate(groups):
        for axis in group.axes:
            holders.setdefault(axis, []).append(number)
    for axis, numbers in holders.items():
        maps = {number: groups[number].axes[axis] for number in numbers}
        if np.any(np.all([units == NONE for units in maps.values()], axis=0)):
            continue
        there = ((groups[number], np.unique(units[units != NONE])) for number, units in maps.items())
        if any(len(units) == group.size or group.fixed[units].any() for group, units in there):
            continue
        group, units = groups[numbers[0]], maps[numbers[0]]
        fixed = group.fixed.copy()
        fixed[units[units != NONE].min()] = True
        reason = f"one position at least of '{axis.of}' must stay"
        groups[numbers[0]] = replace(group, fixed=fixed, reasons=(*group.reasons, reason)[:_REASONS])
    return groups


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
        if rule is None:
            _freeze(axes, [*values, *captured], f"{node.op_type} '{node.name}' is not understood")
            continue
        if all(value in axes.stored or is_constant(value) for value in node.inputs if value is not None):
            axes.stored.update(node.outputs)
        try:
            rule(node, axes)
        except (UnknownShapeError, ValueError, IndexError, KeyError) as error:
            _freeze(axes, values, f"this use of {node.op_type} '{node.name}' is not understood ({error})")
    return axes


def _freeze(axes: Axes, values: Sequence[ir.Value], reason: str) -> None:
    for value in values:
        try:
            axes.freeze(axes.of(value), reason)
        except UnknownShapeError:
            continue  # nothing else can be tied to it either


def _seeds(axes: Axes, order: dict[str, int]) -> list[int]:
    """Return heads first, then inner axes of products, larger ones before smaller ones, then what layers make.

    A head of keys that several queries share comes before the heads of the queries: all that goes with it does.
    """
    place = {
        part: k for factors in axes.factors for factor in factors for k, part in reversed([*enumerate(factor.parts)])
    }
    made = {use.axis: order.get(use.node, 0) for use in reversed(axes.uses) if use.role == "makes"}
    heads = _tied(axes, axes.heads)
    several = _same(axes, {axis for axis in heads if axes.is_product(axis)})

    def rank(axis: int) -> tuple[int, ...]:
        node = made.get(axis, len(order))
        if axes.is_product(axis):
            return 3, 0, node, axis
        if axis not in place:
            return 2, 0, node, axis
        return (0, axis in several, place[axis], node, axis) if axis in heads else (1, -axes.sizes[axis][0], node, axis)

    return sorted(
        (
            axis
            for axis in place.keys() | made.keys()
            if axes.is_fixed(axis) and axes.sizes[axis][0] > 1 and (axis in made or not axes.is_product(axis))
        ),
        key=rank,
    )


def _same(axes: Axes, start: set[int]) -> set[int]:
    """Return the axes that are the same as those of `start`, position by position."""
    found, waiting = set(start), list(start)
    while waiting:
        others = {tie.other for tie in axes.ties[waiting.pop()] if tie.here is None} - found
        waiting.extend(others)
        found |= others
    return found


def _tied(axes: Axes, start: set[int]) -> set[int]:
    """Return the axes that are the same as those of `start`, position by position, and those they are products of."""
    found, waiting = set(start), list(start)
    while waiting:
        axis = waiting.pop()
        others = {tie.other for tie in axes.ties[axis] if tie.here is None}
        others.update(part for factor in axes.factors[axis] if factor.whole == axis for part in factor.parts)
        waiting.extend(others - found)
        found |= others
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
