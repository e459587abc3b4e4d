"""The axes of a graph's values, and what ties them: which positions can only be cut together.

An *axis* is one dimension of one value of the main graph, or a virtual one that stands for an inner index: the groups
of a grouped convolution, the hidden units of an LSTM. Operators relate axes in two ways:

- a *tie*: position `i` of one axis is position `j` of the other;
- a *factor*: one axis is the row-major product of others, as Reshape makes it from heads and their channels.

An axis may be *frozen*: all its positions stay, and so does whatever is tied to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from compressctl.arrays import Integers
from compressctl.structure.shapes import Shapes, Size, is_fixed, product

Positions = Integers
Role = Literal["makes", "reads", "follows"]
"""What a node does along an axis of its constant: rows make the units, columns read them, the rest goes with them."""


@dataclass(frozen=True)
class Axis:
    """The axis `index` of the value `of`, or the virtual axis `index` (a label) of the node that makes `of`."""

    of: str
    index: int | str


@dataclass(frozen=True, eq=False)
class Tie:
    """Position `here[k]` of one axis is position `there[k]` of the axis `other`; None: all, in order."""

    other: int
    here: Positions | None = None
    there: Positions | None = None


@dataclass(frozen=True)
class Factor:
    """The axis `whole` is the row-major product of `parts`."""

    whole: int
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Use:
    """A node uses a constant along an axis, in a role."""

    node: str
    axis: int
    role: Role


class UnknownShapeError(Exception):
    """The rank or a size of a value is not known."""


class Axes:
    """All axes of a graph by number, and their relations; operators' rules fill it (see `rules`).

    Attributes:
        axes: each axis's identity.
        sizes: its size at two input sizes.
        ties: those of each axis, in both directions.
        factors: those that each axis belongs to, as a whole or as a part.
        frozen: why an axis is frozen, by number.
        statistics: axes that a normalisation takes statistics across.
        heads: axes that index independent products of two computed values: attention heads.
        uses: where constants are used.
        stored: values that are computed from constants alone.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.axes: list[Axis] = []
        self.sizes: list[Size] = []
        self.ties: list[list[Tie]] = []
        self.factors: list[list[Factor]] = []
        self.frozen: dict[int, str] = {}
        self.statistics: set[int] = set()
        self.heads: set[int] = set()
        self.uses: list[Use] = []
        self.stored: set[ir.Value] = set()
        self._products: set[int] = set()
        self._shapes = shapes
        self._of: dict[ir.Value, tuple[int, ...]] = {}

    def of(self, value: ir.Value | None) -> tuple[int, ...]:
        """Return the axes of a value; empty for an omitted input.

        Raises:
            UnknownShapeError: its shape is not known.
        """
        if value is None:
            return ()
        if value not in self._of:
            sizes = self._shapes.of(value)
            if sizes is None:
                raise UnknownShapeError(value.name)
            self._of[value] = tuple(self._new(Axis(value.name or "", i), size) for i, size in enumerate(sizes))
        return self._of[value]

    def virtual(self, node: ir.Node, label: str, size: Size) -> int:
        """Return a new axis that no value has."""
        return self._new(Axis(node.outputs[0].name or "", label), size)

    def tie(self, one: int, other: int, here: Any = None, there: Any = None) -> None:
        """Tie positions `here` of `one` to positions `there` of `other`, pairwise; None: all, in order.

        Axes of dynamic size have no numbered positions: they are frozen where some are given.

        Raises:
            UnknownShapeError: all are to be tied, and the sizes differ.
        """
        every = here is None and there is None
        if one == other and every:
            return
        if every and self.sizes[one] != self.sizes[other]:
            raise UnknownShapeError(f"axes of {self.sizes[one][0]} and {self.sizes[other][0]} positions are one")
        if not every and not (self.is_fixed(one) and self.is_fixed(other)):
            self.freeze([one, other], "positions of an axis of dynamic size are picked")
            return
        mine, theirs = (None if p is None else np.asarray(p, np.int64) for p in (here, there))
        if mine is None and theirs is not None:
            mine = np.arange(len(theirs))
        if theirs is None and mine is not None:
            theirs = np.arange(len(mine))
        self.ties[one].append(Tie(other, mine, theirs))
        self.ties[other].append(Tie(one, theirs, mine))

    def factor(self, whole: int, parts: tuple[int, ...]) -> None:
        """Declare `whole` the row-major product of `parts`; parts of size 1 do not count.

        Raises:
            UnknownShapeError: the sizes contradict that.
        """
        if self.sizes[whole] != product(self.sizes[part] for part in parts):
            raise UnknownShapeError(f"{self.sizes[whole][0]} positions do not divide so")
        parts = tuple(part for part in parts if self.sizes[part] != (1, 1))
        if len(parts) == 1:
            self.tie(whole, parts[0])
        elif parts:
            self._products.add(whole)
            for axis in (whole, *parts):
                self.factors[axis].append(Factor(whole, parts))

    def freeze(self, axes: tuple[int, ...] | list[int], reason: str) -> None:
        """Freeze axes; the first reason stays."""
        for axis in axes:
            self.frozen.setdefault(axis, reason)

    def use(self, node: ir.Node, axis: int, role: Role) -> None:
        """Note what `node` does along an axis of its operand."""
        self.uses.append(Use(node.name or "", axis, role))

    def is_product(self, axis: int) -> bool:
        """Whether the axis is the product of others, which are cut instead."""
        return axis in self._products

    def is_fixed(self, axis: int) -> bool:
        """Whether the axis has the same size whatever the inputs' sizes."""
        return is_fixed(self.sizes[axis])

    def _new(self, axis: Axis, size: Size) -> int:
        self.axes.append(axis)
        self.sizes.append(size)
        self.ties.append([])
        self.factors.append([])
        return len(self.axes) - 1
