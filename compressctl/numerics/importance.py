"""How much each unit of a layer matters (a channel, a neuron, a head), from arrays alone.

A unit is a set of positions along one axis of an array: `units` [size of the axis] gives the unit at each position, -1
where the position belongs to none. Everything is float64, whatever the arrays are.
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Array, Floats, Integers

Units = Integers


def unit_sums(array: Array, axis: int, units: Units, count: int) -> Floats:
    """Return the sum of the elements of each unit, [count]."""
    others = tuple(i for i in range(array.ndim) if i != axis % array.ndim)
    positions = array.sum(axis=others, dtype=np.float64)
    member = units >= 0
    return np.bincount(units[member], weights=positions[member], minlength=count).astype(np.float64)


def unit_elements(shape: tuple[int, ...], axis: int, units: Units, count: int) -> Integers:
    """Return how many elements of an array of this shape each unit has, [count]."""
    each = int(np.prod(shape, dtype=np.int64)) // max(shape[axis], 1)
    return each * np.bincount(units[units >= 0], minlength=count)


def unit_rows(array: Array, axis: int, units: Units, count: int) -> Floats:
    """Return the elements of each unit as a row, [count, elements]; units with fewer elements end in zeros."""
    rows = np.moveaxis(np.asarray(array, np.float64), axis, 0).reshape(array.shape[axis], -1)
    order = np.argsort(units, kind="stable")
    order = order[units[order] >= 0]
    sizes = np.bincount(units[order], minlength=count)
    places = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found = np.zeros((count, int(sizes.max(initial=0)), rows.shape[1]))
    found[units[order], places] = rows[order]
    return found.reshape(count, -1)


def distances_to_others(rows: Floats) -> Floats:
    """Return the sum of the Euclidean distances of each row to all others, [rows].

    The row with the smallest sum is the one nearest to the geometric median, which the others can best stand in for.
    Source: He et al. 2019, "Filter Pruning via Geometric Median" (arXiv:1811.00250), equation 4.
    """
    centred = rows - rows.mean(axis=0)  # distances stay, and cancel less in the products below
    squares = np.einsum("ij,ij->i", centred, centred)
    between = squares[:, None] + squares[None, :] - 2 * (centred @ centred.T)
    np.fill_diagonal(between, 0)
    return np.asarray(np.sqrt(np.maximum(between, 0)).sum(axis=1))


def share_of_sum(scores: Floats) -> Floats:
    """Return scores, none of them negative, divided by their sum; equal shares where all are zero."""
    total = float(scores.sum())
    return scores / total if total > 0 else np.full(len(scores), 1 / max(len(scores), 1))
