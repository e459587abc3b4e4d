"""What must be cut together with each position of an axis: the closure of one axis under ties and factors."""

from __future__ import annotations

from collections import deque

import numpy as np

from compressctl.structure.axes import Axes, Factor, Positions

NONE = -1  # a position that belongs to no unit


class Closure:
    """Numbers the positions of a seed axis as units and follows them to every axis they reach.

    Where two units meet in one position they become one. Where an axis is a product of others, a unit that covers it
    unevenly grows to whole rows of the first factor it varies along.

    Attributes:
        maps: for each axis that is reached, the unit at each position, -1 where there is none.
    """

    def __init__(self, axes: Axes, seed: int, units: Positions) -> None:
        self._axes = axes
        self._parent = np.arange(units.max() + 1)
        self.maps: dict[int, Positions] = {}
        self._waiting: deque[int] = deque()
        self._merge(seed, units)
        while self._waiting:
            axis = self._waiting.popleft()
            for tie in axes.ties[axis]:
                here = self._map(axis)
                if tie.here is None or tie.there is None:
                    self._merge(tie.other, here)
                    continue
                there = np.full(axes.sizes[tie.other][0], NONE)
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
        return int((self._find(np.arange(len(self._parent))) == np.arange(len(self._parent))).sum())

    def numbered(self) -> dict[int, Positions]:
        """Return the maps with units numbered 0, 1, … in the order of the seed's positions."""
        roots = np.unique(self._find(np.arange(len(self._parent))))
        number = np.full(len(self._parent) + 1, NONE)
        number[roots] = np.arange(len(roots))
        return {axis: number[self._map(axis)] for axis in self.maps}

    def _find(self, units: Positions) -> Positions:
        while True:
            parents = self._parent[units]
            if np.array_equal(parents, units):
                return parents
            units = parents

    def _map(self, axis: int) -> Positions:
        """Return the map of an axis in terms of the units as merged so far."""
        return self._canonical(self.maps[axis])

    def _union(self, one: Positions, other: Positions) -> None:
        for a, b in np.unique(np.stack([one, other], axis=1), axis=0):
            low, high = sorted((int(self._find(np.array([a]))[0]), int(self._find(np.array([b]))[0])))
            self._parent[high] = low

    def _scatter(self, target: Positions, places: Positions, units: Positions) -> None:
        """Write units at places; units that meet in one place become one."""
        member = units != NONE
        places, units = places[member], units[member]
        target[places] = units
        clash = target[places] != units
        self._union(target[places][clash], units[clash])

    def _merge(self, axis: int, units: Positions) -> None:
        if not (units != NONE).any():
            return
        if axis not in self.maps:
            self.maps[axis] = units
            self._waiting.append(axis)
            return
        current, units = self._map(axis), self._canonical(units)
        member = units != NONE
        clash = member & (current != NONE) & (current != units)
        new = member & (current == NONE)
        if clash.any():
            self._union(current[clash], units[clash])
        if new.any():
            self.maps[axis] = np.where(new, units, current)
            if axis not in self._waiting:
                self._waiting.append(axis)

    def _canonical(self, units: Positions) -> Positions:
        current = units.copy()
        member = units != NONE
        current[member] = self._find(units[member])
        return current

    def _split(self, factor: Factor) -> None:
        """From the whole to the one part that the units vary along."""
        sizes = [self._axes.sizes[part][0] for part in factor.parts]
        whole = self._map(factor.whole).reshape(sizes)
        varying = [k for k in range(len(sizes)) if (whole != whole.take([0], axis=k)).any()]
        if not varying:  # one unit everywhere: it takes all positions of the first part
            varying = [0]
        part = varying[0]
        rows = np.moveaxis(whole, part, 0).reshape(sizes[part], -1)
        if len(varying) > 1:
            rows = self._whole_rows(rows)
            shape = [sizes[part], *(size for k, size in enumerate(sizes) if k != part)]
            self._merge(factor.whole, np.moveaxis(rows.reshape(shape), 0, part).reshape(-1))
        self._merge(factor.parts[part], rows[:, 0].copy())

    def _whole_rows(self, rows: Positions) -> Positions:
        """Make every row one unit, or none where no position of it has one."""
        for row in rows:
            units = np.unique(row[row != NONE])
            if len(units) > 1:
                self._union(np.full(len(units) - 1, units[0]), units[1:])
        first = rows.max(axis=1)
        member = first != NONE
        first[member] = self._find(first[member])
        return np.repeat(first[:, None], rows.shape[1], axis=1)

    def _join(self, factor: Factor, part: int) -> None:
        """From one part to the whole."""
        sizes = [self._axes.sizes[p][0] for p in factor.parts]
        shape = [1] * len(sizes)
        place = factor.parts.index(part)
        shape[place] = sizes[place]
        self._merge(factor.whole, np.broadcast_to(self._map(part).reshape(shape), sizes).reshape(-1).copy())
