"""What must be cut together with each position of an axis: the closure of one axis under ties and factors."""

from __future__ import annotations

from collections import deque

import numpy as np

from compressctl.structure.axes import Axes, Factor, Positions

NONE = -1  # a position that belongs to no unit


class Closure:
    """Numbers the positions of a seed axis as units and follows them to every axis they reach.

    Where two units meet in one position they become one. Where an axis is a product of others, a unit that covers it
    unevenly grows to whole rows of one factor.

    Attributes:
        maps: for each axis that is reached, the unit at each position, -1 where there is none.
        loose: whether units met a product of dynamic size, such that where they lie may depend on that size.
    """

    def __init__(self, axes: Axes, seed: int, units: Positions, *, at: int = 0) -> None:
        """Follow a seed.

        Args:
            axes: the axes and what ties them.
            seed: the axis to begin with.
            units: the unit at each of its positions, -1 where there is none.
            at: 0 or 1: at the first or at the second input sizes.
        """
        self._axes = axes
        self._at = at
        self._root = np.arange(units.max() + 1)  # of each unit, the unit that it has become a part of
        self._merged = False
        self.maps: dict[int, Positions] = {}
        self.loose = False
        self._along: dict[Factor, int] = {}  # the part that units have grown along
        self._waiting: deque[int] = deque()
        self._merge(seed, units)
        while self._waiting:
            axis = self._waiting.popleft()
            for tie in axes.ties[axis]:
                here = self._map(axis)
                if tie.here is None or tie.there is None:
                    self._merge(tie.other, here)
                    continue
                there = np.full(self._size(tie.other), NONE)
                self._scatter(there, tie.there, here[tie.here])
                self._merge(tie.other, there)
            for factor in axes.factors[axis]:
                if factor.whole == axis:
                    self._split(factor)
                else:
                    self._join(factor, axis)

    @property
    def units(self) -> int:
        """The number of different units."""
        return len(np.unique(self._root))

    def numbered(self) -> dict[int, Positions]:
        """Return the maps with units numbered 0, 1, … in the order of the seed's positions."""
        number = np.unique(self._root, return_inverse=True)[1]
        return {axis: np.where(units == NONE, NONE, number[units]) for axis, units in self.maps.items()}

    def equals(self) -> set[int]:
        """Return the axes that have each unit once and nothing else: following one of them leads to the same axes.

        Where units met, or grew along a part of a product, it may not.
        """
        if self._merged or self._along:
            return set()
        count = len(self._root)
        return {axis for axis, map_ in self.maps.items() if len(map_) == count and NONE not in map_}

    def _size(self, axis: int) -> int:
        return self._axes.sizes[axis][self._at]

    def _map(self, axis: int) -> Positions:
        """Return the map of an axis in terms of the units as merged so far."""
        return self._canonical(self.maps[axis])

    def _canonical(self, units: Positions) -> Positions:
        return np.where(units == NONE, NONE, self._root[units]) if self._merged else units

    def _union(self, one: Positions, other: Positions) -> None:
        """Make units one, pairwise."""
        while True:
            one, other = self._root[one], self._root[other]
            low, high = np.minimum(one, other), np.maximum(one, other)
            if (low == high).all():
                return
            self._merged = True
            np.minimum.at(self._root, high, low)
            while (self._root != self._root[self._root]).any():
                self._root = self._root[self._root]

    def _scatter(self, target: Positions, places: Positions, units: Positions) -> None:
        """Write units at places; units that meet in one place become one."""
        member = units != NONE
        places, units = places[member], units[member]
        target[places] = units
        self._union(target[places], units)

    def _merge(self, axis: int, units: Positions) -> None:
        """Add units to the map of an axis, which waits to be followed if it gained positions."""
        member = units != NONE
        if not member.any():
            return
        if axis not in self.maps:
            self.maps[axis] = units
            self._waiting.append(axis)
            return
        current = self.maps[axis]
        both = member & (current != NONE)
        self._union(current[both], units[both])
        if (new := member & (current == NONE)).any():
            self.maps[axis] = np.where(new, units, current)
            if axis not in self._waiting:
                self._waiting.append(axis)

    def _split(self, factor: Factor) -> None:
        """From the whole to the one part that the units vary along."""
        sizes = [self._size(part) for part in factor.parts]
        whole = self._map(factor.whole).reshape(sizes)
        varying = [k for k in range(len(sizes)) if (whole != whole.take([0], axis=k)).any()]
        if len(varying) > 1:
            part = self._along.setdefault(factor, min(varying, key=lambda k: self._reluctance(factor.parts[k])))
        else:  # one unit everywhere takes all positions of the first part
            part = varying[0] if varying else 0
        rows = np.moveaxis(whole, part, 0).reshape(sizes[part], -1)
        if len(varying) > 1 or not self._axes.is_fixed(factor.parts[part]):
            self.loose |= not self._axes.is_fixed(factor.whole)
        if len(varying) > 1:
            rows = self._whole_rows(rows)
            shape = [sizes[part], *(size for k, size in enumerate(sizes) if k != part)]
            self._merge(factor.whole, np.moveaxis(rows.reshape(shape), 0, part).reshape(-1))
        self._merge(factor.parts[part], rows[:, 0].copy())

    def _reluctance(self, part: int) -> tuple[bool, bool, bool, int]:
        """Rank a part for units to grow along: best one that may be cut and leaves many units."""
        axes, reached = (
            self._axes,
            {part, *(factor.whole for factor in self._axes.factors[part] if factor.whole != part)},
        )
        return (
            not reached.isdisjoint(axes.frozen),
            not axes.is_fixed(part),
            not reached.isdisjoint(axes.statistics),
            -self._size(part),
        )

    def _whole_rows(self, rows: Positions) -> Positions:
        """Make every row one unit, or none where no position of it has one."""
        first = rows.max(axis=1, keepdims=True)
        wide = np.broadcast_to(first, rows.shape)
        apart = (rows != NONE) & (rows != wide)
        self._union(wide[apart], rows[apart])
        return np.broadcast_to(self._canonical(first), rows.shape)

    def _join(self, factor: Factor, part: int) -> None:
        """From one part to the whole."""
        sizes = [self._size(p) for p in factor.parts]
        shape = [1] * len(sizes)
        place = factor.parts.index(part)
        shape[place] = sizes[place]
        self._merge(factor.whole, np.broadcast_to(self._map(part).reshape(shape), sizes).reshape(-1))
