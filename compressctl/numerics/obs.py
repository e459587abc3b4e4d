"""Optimal brain surgery: zero or drop inputs of a linear layer so that its output changes least, and mend the rest.

A layer gives y = W x; in its place V z shall come close, on samples: least sum of |W x - V z|². With the second moments
H = Z^T Z and the targets T = (W X^T) Z that is least tr(V H V^T) - 2 tr(V T^T): no labels, no gradients. Rows of V are
independent and share H. Where only V changes, z is x, and T is W H.

Sources: Hassibi and Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon"; Frantar and
Alistarh 2023, SparseGPT (arXiv:2301.00774), which goes through the columns once for all rows; He et al. 2017
(arXiv:1707.06168) and Luo et al. 2017, ThiNet (arXiv:1707.06342), which fit what is left to the old output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compressctl.arrays import Array, Floats, Mask

Choose = Callable[[Floats, slice], Mask]
"""Which weights of these columns become zero: from scores [outputs, columns], and which columns they are."""

BLOCK = 128


def damped(moments: Array, damping: float) -> Floats:
    """Return the moments with `damping` times their mean added to the diagonal; with 1 where all inputs are silent."""
    result = np.array(moments, np.float64)
    mean = float(np.trace(result)) / max(len(result), 1)
    result[np.diag_indices_from(result)] += damping * mean if mean > 0 else 1.0
    return result


def refit(target: Array, moments: Array, prior: Array, *, damping: float = 0.01) -> Floats:
    """Return the V of least squared error: (T + d P) (H + d)^-1, where the damping d pulls V towards the prior P.

    Directions that no sample shows stay as P has them. Where inputs S of x remain, H[S, S] are the moments, W H[:, S]
    the target and W[:, S] the prior.

    Args:
        target: T, [outputs, inputs].
        moments: H, [inputs, inputs].
        prior: P, [outputs, inputs].
        damping: d, as a share of the mean of H's diagonal.
    """
    matrix = damped(moments, damping)
    added = np.diag(matrix) - np.diag(moments)
    return np.linalg.solve(matrix, (target + added * prior).T).T


def surgery(weight: Array, moments: Array, choose: Choose, *, block: int = BLOCK) -> Floats:
    """Zero weights, block of columns after block, letting the columns to the right make up for it.

    A weight scores w² / [H_F^-1]_jj, what zeroing it costs while the columns F from j on may move.

    Args:
        weight: [outputs, inputs].
        moments: H, [inputs, inputs], positive definite (see `damped`).
        choose: asked once a block, after the blocks before it.
        block: columns at once.

    Returns:
        the new weight, zero wherever `choose` said so.
    """
    result = np.array(weight, np.float64)
    factor = inverse_factor(moments)
    for start in range(0, result.shape[1], block):
        columns = slice(start, min(start + block, result.shape[1]))
        inside = factor[columns, columns]
        part = result[:, columns].copy()
        errors = np.zeros_like(part)
        zeros = choose((part / np.diag(inside)) ** 2, columns)
        for index in range(part.shape[1]):
            errors[:, index] = np.where(zeros[:, index], part[:, index] / inside[index, index], 0)
            part[:, index:] -= np.outer(errors[:, index], inside[index, index:])
        part[zeros] = 0
        result[:, columns] = part
        result[:, columns.stop :] -= errors @ factor[columns, columns.stop :]
    return result


def settle(weight: Array, optimum: Array, moments: Array, *, steps: int = 50, tolerance: float = 1e-3) -> Floats:
    """Move the weights that are not zero to where the error is least, by conjugate gradients for all rows at once.

    Surgery fixes a column before it knows what later ones will lose; this makes up for that. No step is worse.

    Args:
        weight: [outputs, inputs]; its zeros stay.
        optimum: what the weight would be without zeros.
        moments: H, [inputs, inputs], positive definite.
        steps: at most this many.
        tolerance: stop when the gradient has fallen to this share of its first norm.
    """
    kept = weight != 0
    result = np.array(weight, np.float64)
    scale = np.where(kept, 1 / np.diag(moments), 0)  # Jacobi preconditioner, and the mask
    residual = (optimum - result) @ moments
    first = float(np.square(residual * kept).sum())
    direction = scaled = residual * scale
    power = (residual * scaled).sum(axis=1)
    for _ in range(steps):
        if float(np.square(residual * kept).sum()) <= tolerance**2 * first:
            break
        bent = direction @ moments
        curvature = (direction * bent).sum(axis=1)
        length = np.divide(power, curvature, out=np.zeros_like(power), where=curvature > 0)
        result += length[:, None] * direction
        residual = residual - length[:, None] * bent
        scaled = residual * scale
        before, power = power, (residual * scaled).sum(axis=1)
        turn = np.divide(power, before, out=np.zeros_like(power), where=before > 0)
        direction = scaled + turn[:, None] * direction
    return result


def inverse_factor(moments: Array) -> Floats:
    """Return the upper triangular U with U^T U = H^-1; then U[j, j]² = [(H[j:, j:])^-1]_jj.

    Where rounding errors make H indefinite, it is damped until it is not.
    """
    damping = 0.0
    while True:
        try:
            flipped = np.linalg.cholesky((damped(moments, damping) if damping else moments)[::-1, ::-1])
        except np.linalg.LinAlgError:
            if damping > 1:
                raise
            damping = 10 * damping or 1e-6
        else:
            return np.ascontiguousarray(np.linalg.inv(flipped)[::-1, ::-1])
