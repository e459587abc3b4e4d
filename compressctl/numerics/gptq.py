"""GPTQ: round a linear layer's weights column by column, each time letting the columns to come make up for it.

A layer gives y = W x. With the second moments H of x, rounding column j by e changes the output least if the columns F
that are not rounded yet move by -e [H_F^-1]_j / [H_F^-1]_jj. The Cholesky factor of H^-1 holds all that is needed; rows
of W are independent and go together. Groups of columns get their levels when their turn comes, from the weights as they
are by then.

Source: Frantar et al. 2022 (arXiv:2210.17323). With groups, columns are ordered inside their groups, and groups as a
whole, so that a group stays one block of the stored weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from compressctl.arrays import Array, Bytes, Floats, Floats32, Integers, Mask
from compressctl.numerics.obs import BLOCK, inverse_factor


class Rounding(Protocol):
    """What rounds columns of a weight; `levels.Levels` is one."""

    def codes(self, rows: Array) -> Bytes:
        """Return the codes of `rows` [outputs, columns], rounded to nearest."""
        ...

    def values(self, codes: Bytes) -> Floats32:
        """Return the weights that codes stand for."""
        ...


_R = TypeVar("_R", bound=Rounding)


def gptq(
    weight: Array,
    moments: Array,
    fit: Callable[[Floats], _R],
    *,
    group: int | None = None,
    order: bool = True,
    block: int = BLOCK,
    fixed: Mask | None = None,
) -> tuple[Bytes, list[_R]]:
    """Round `weight` so that the layer's output changes little.

    Args:
        weight: [outputs, inputs].
        moments: H, [inputs, inputs], positive definite (see `obs.damped`).
        fit: returns what rounds a group, from its columns as they are when their turn comes; asked once a group.
        group: inputs of a group, which must divide them; None: all are one group.
        order: round inputs of large moments first.
        block: columns between updates of those beyond; makes a difference in speed alone.
        fixed: [outputs, inputs], where the code is 0 whatever the weight: zeros, with a rounding whose code 0 is zero.

    Returns:
        codes [outputs, inputs], and what rounded each group, in the order of the inputs.
    """
    inputs = weight.shape[1]
    group = group or inputs
    places = _order(np.diag(moments), group) if order else np.arange(inputs)
    left = np.array(weight[:, places], np.float64)
    factor = inverse_factor(moments[np.ix_(places, places)])
    codes = np.empty(left.shape, np.uint8)
    roundings: dict[int, _R] = {}
    for start in range(0, inputs, group):
        rounding = roundings[int(places[start]) // group] = fit(left[:, start : start + group])
        for first in range(start, start + group, block):
            columns = slice(first, min(first + block, start + group))
            held = None if fixed is None else fixed[:, places[columns]]
            codes[:, columns] = _round(left, factor, columns, rounding, held)
    result = np.empty_like(codes)
    result[:, places] = codes
    return result, [roundings[number] for number in sorted(roundings)]


def _round(left: Floats, factor: Floats, columns: slice, rounding: Rounding, fixed: Mask | None) -> Bytes:
    """Return the codes of some columns; move those to the right of them in `left`."""
    part, inside = left[:, columns].T.copy(), factor[columns, columns]  # transposed: a column lies in one piece
    errors = np.empty_like(part)
    codes = np.empty(part.shape, np.uint8)
    for index, column in enumerate(part):
        codes[index] = rounding.codes(column[:, None])[:, 0]
        if fixed is not None:
            codes[index, fixed[:, index]] = 0
        rounded = rounding.values(codes[index][:, None])[:, 0]
        errors[index] = (column - rounded) / inside[index, index]
        part[index + 1 :] -= np.outer(inside[index, index + 1 :], errors[index])
    left[:, columns.stop :] -= errors.T @ factor[columns, columns.stop :]
    return codes.T


def _order(sizes: Array, group: int) -> Integers:
    """Return the columns, groups of large sums first, in each the large ones first."""
    grouped = sizes.reshape(-1, group)
    groups = np.argsort(-grouped.sum(axis=1), kind="stable")
    inside = np.argsort(-grouped, axis=1, kind="stable")
    return (groups[:, None] * group + inside[groups]).reshape(-1)
